"""The list of a planner's adapters, in a real Redis; what is no adapter is refused in words."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from planner.adapters import AdapterRefused, AdapterRegistry, checked_folder, checked_request


@pytest.fixture
async def registry(empty_redis_url: str) -> AsyncIterator[AdapterRegistry]:
    client = redis.asyncio.Redis.from_url(empty_redis_url)
    yield AdapterRegistry(client)
    await client.aclose()


async def put(registry: AdapterRegistry, name: str, *, active: bool = False) -> int:
    adapter = await registry.new(name, f"/adapters/{name}", 16, ("sam",))
    await registry.put(adapter, active=active)
    return adapter.number


async def test_adapters_stand_beside_each_other_and_one_of_them_is_in_use(registry: AdapterRegistry) -> None:
    await put(registry, "maps", active=True)
    await put(registry, "birds")
    assert [(adapter.name, adapter.active) for adapter in await registry.all()] == [("birds", False), ("maps", True)]
    chosen, named = await registry.get(None), await registry.get("birds")
    assert chosen is not None
    assert named is not None
    assert (chosen.name, named.name) == ("maps", "birds")


async def test_new_weights_under_an_old_name_are_another_adapter_to_the_engine(registry: AdapterRegistry) -> None:
    first, second = await put(registry, "maps"), await put(registry, "maps")
    (adapter,) = await registry.all()
    assert second > first
    assert adapter.engine_name == f"maps@{second}"


async def test_without_one_in_use_the_model_answers_alone(registry: AdapterRegistry) -> None:
    assert await registry.get(None) is None
    await put(registry, "maps", active=True)
    await registry.use(None)
    assert await registry.get(None) is None


async def test_a_removed_adapter_is_in_use_no_more(registry: AdapterRegistry) -> None:
    await put(registry, "maps", active=True)
    await registry.remove("maps")
    assert await registry.all() == []
    assert await registry.get(None) is None
    with pytest.raises(AdapterRefused, match="no adapter 'maps'"):
        await registry.get("maps")
    with pytest.raises(AdapterRefused, match="no adapter"):
        await registry.use("maps")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"do": "add"}, "needs a name"),
        ({"do": "add", "name": "../up"}, "name: String should match"),
        ({"do": "sell"}, "do: Input should be"),
        ({"do": "list", "more": 1}, "more: Extra inputs"),
    ],
)
def test_a_request_that_cannot_be_is_refused(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(AdapterRefused, match=message):
        checked_request(request_)


@pytest.mark.parametrize(
    ("config", "files", "message"),
    [
        (None, ["adapter_model.safetensors"], "has no adapter_config.json"),
        ("{", ["adapter_model.safetensors"], "is not a LoRA adapter's"),
        ({"r": 16}, [], "has no adapter_model.safetensors"),
        ({"r": 16, "modules_to_save": ["x"]}, ["adapter_model.safetensors"], "merge it into its model"),
        ({"r": 32}, ["adapter_model.safetensors"], "rank is 32; the planner was started for 16"),
    ],
)
def test_a_folder_that_vllm_could_not_serve_is_refused(
    tmp_path: Path, config: Any, files: list[str], message: str
) -> None:
    if config is not None:
        text = config if isinstance(config, str) else json.dumps(config)
        (tmp_path / "adapter_config.json").write_text(text)
    for name in files:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(AdapterRefused, match=message):
        checked_folder(str(tmp_path), 16, tmp_path / "none")


@pytest.mark.parametrize(("width", "fits"), [(16, True), (8, False)])
def test_an_adapter_of_another_model_is_refused(tmp_path: Path, width: int, fits: bool) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    (tmp_path / "model").mkdir()
    (tmp_path / "adapter").mkdir()
    module = "layers.0.mlp.up_proj"
    save_file({f"language_model.model.{module}.weight": torch.zeros(32, 16)}, tmp_path / "model" / "model.safetensors")
    prefix = f"base_model.model.model.language_model.{module}"
    matrices = {f"{prefix}.lora_A.weight": torch.zeros(4, width), f"{prefix}.lora_B.weight": torch.zeros(32, 4)}
    save_file(matrices, tmp_path / "adapter" / "adapter_model.safetensors")
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps({"r": 4}))
    if fits:
        assert checked_folder(str(tmp_path / "adapter"), 16, tmp_path / "model")[1] == 4
        return
    with pytest.raises(AdapterRefused, match="does not fit the model"):
        checked_folder(str(tmp_path / "adapter"), 16, tmp_path / "model")
