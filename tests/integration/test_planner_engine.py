"""The planner's deployment class on the real vLLM, with a tiny model: adapters come and go, prefixes are used again."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm")
pytest.importorskip("torch")

import pytest_asyncio

from planner.wire import EngineChunk, EngineRequest
from tests import tiny_llava

pytestmark = pytest.mark.asyncio(loop_scope="module")


def write_adapter(folder: Path, model: Path, seed: int) -> Path:
    """An adapter strong enough to change what a tiny model says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlavaForConditionalGeneration

    from planner.train.models import LINEARS

    torch.manual_seed(seed)
    base = LlavaForConditionalGeneration.from_pretrained(model, local_files_only=True)
    adapted = get_peft_model(base, LoraConfig(r=8, lora_alpha=64, target_modules=LINEARS))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    adapted.save_pretrained(folder)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> AsyncIterator[tuple[Any, Path]]:
    folder = tmp_path_factory.mktemp("planner")
    with tiny_llava.served(folder, redis_url, max_model_len=1024, max_num_seqs=4) as server:
        yield server, folder


def asked(text: str) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
        "schema": None,
        "max_tokens": 12,
        "temperature": 0.0,
        "seed": None,
        "request_id": f"t-{time.monotonic_ns()}",
    }


async def said(server: Any, text: str, **changes: Any) -> tuple[str, EngineChunk]:
    """What the planner writes, and the last chunk."""
    request = EngineRequest(**asked(text) | changes)
    chunks = [EngineChunk.from_wire(w) async for w in server.generate(request.to_wire())]
    return "".join(chunk.text for chunk in chunks), chunks[-1]


async def test_a_reader_that_leaves_ends_the_generation(served: tuple[Any, Path]) -> None:
    server, _ = served
    engine = server._text.engine
    stream = server.generate(EngineRequest(**asked("Hello") | {"max_tokens": 900}).to_wire())
    await anext(stream)
    assert engine.get_num_unfinished_requests() == 1
    await stream.aclose()
    assert engine.get_num_unfinished_requests() == 0


async def test_adapters_are_loaded_used_and_dropped_while_the_planner_runs(served: tuple[Any, Path]) -> None:
    server, folder = served
    model = folder / "model"
    first, second = (write_adapter(folder / name, model, seed) for seed, name in enumerate(("first", "second")))
    bare, end = await said(server, "Hello")
    assert end.final

    added = await server.adapters({"do": "add", "name": "first", "folder": str(first), "skills": ["sam"]})
    assert [(one["name"], one["rank"], one["active"]) for one in added["adapters"]] == [("first", 8, False)]
    await server.adapters({"do": "add", "name": "second", "folder": str(second)})
    with_first, _ = await said(server, "Hello", adapter="first")
    with_second, _ = await said(server, "Hello", adapter="second")
    assert len({bare, with_first, with_second}) == 3
    assert (await said(server, "Hello"))[0] == bare

    await server.adapters({"do": "use", "name": "first"})
    assert (await said(server, "Hello"))[0] == with_first
    await server.adapters({"do": "add", "name": "first", "folder": str(second)})  # other weights, the same name
    assert (await said(server, "Hello"))[0] == with_second

    left = await server.adapters({"do": "remove", "name": "first"})
    assert [one["name"] for one in left["adapters"]] == ["second"]
    assert (await said(server, "Hello"))[0] == bare
    _, refused = await said(server, "Hello", adapter="first")
    assert (refused.error, refused.message) == (
        "adapter_not_found",
        "The planner has no adapter 'first'. Known: second.",
    )


async def test_an_adapter_that_does_not_fit_never_enters_the_list(served: tuple[Any, Path], tmp_path: Path) -> None:
    server, _ = served
    other = tiny_llava.write(tmp_path / "other", hidden=32)
    wrong = write_adapter(tmp_path / "wrong", other, seed=3)
    before = await server.adapters({"do": "list"})
    answer = await server.adapters({"do": "add", "name": "wrong", "folder": str(wrong)})
    assert answer["refused"].startswith("The adapter does not fit the model: ")
    assert await server.adapters({"do": "list"}) == before
    assert (await said(server, "Still there?"))[1].final


async def test_the_next_turn_of_a_session_finds_its_prompt_in_vllms_prefix_cache(served: tuple[Any, Path]) -> None:
    server, _ = served
    question = "What do you see? " * 24
    _, first = await said(server, question)
    asked: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": question}]},
        {"role": "assistant", "content": "Nothing."},
        {"role": "user", "content": [{"type": "text", "text": "And now?"}]},
    ]
    _, second = await said(server, "", messages=asked)
    assert first.cached_tokens == 0
    # Whole blocks are kept, of 128 tokens on a CPU and fewer on GPUs.
    assert 0 < first.prompt_tokens - second.cached_tokens < 128


async def test_scoring_asks_the_same_engine_with_the_dialects_schema(served: tuple[Any, Path]) -> None:
    from planner.conversation import UserTurn
    from planner.dialects import dialect
    from planner.eval.command import offered
    from planner.eval.in_process import InProcessEngine
    from services.core.context import CallContext

    form, tools = dialect("json"), offered(["blip2"])
    asked = EngineRequest(
        messages=form.messages((UserTurn(text="What is this?", images=("noise:1",)),), tools),
        schema=form.schema(tools),
        max_tokens=24,
        temperature=0.0,
        seed=None,
        request_id=f"t-{time.monotonic_ns()}",
    )
    context = CallContext(asked.request_id, "scoring", time.time() + 300)
    chunks = [chunk async for chunk in InProcessEngine(served[0]._text).generate(asked, context)]
    assert "".join(chunk.text for chunk in chunks).startswith('{"thoughts":')
    assert chunks[-1].final
    assert chunks[-1].completion_tokens == 24
