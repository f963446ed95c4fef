"""LoRA adapters that a running planner can answer with: which there are, and which answers when nobody says.

The list is kept in Redis, so that all replicas, and those that are started later, know the same adapters. A replica
loads one when it is first used, and vLLM drops the least used when there are more than it has room for.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from planner.conversion.source import TensorFiles

if TYPE_CHECKING:
    from redis.asyncio import Redis

_ADAPTERS, _NUMBER, _ACTIVE = "planner:adapters", "planner:adapters:number", "planner:adapters:active"
CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"

_LAYER = re.compile(r"layers\.\d+\.\w+\.\w+")

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]


class AdapterRefused(ValueError):
    """An adapter cannot be taken or found; the message says what to do."""


class AdapterRequest(BaseModel):
    """What an administrator asks of the planner.

    Attributes:
        folder: of the adapter in PEFT's layout, on a disk that all replicas see.
        skills: those that it was trained for; for people to read.
        active: whether it answers from now on when a call names none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    do: Literal["add", "remove", "use", "list"]
    name: Name | None = None
    folder: str = ""
    skills: tuple[str, ...] = ()
    active: bool = False


class Adapter(BaseModel):
    """A known adapter; `number` is never given twice, so that new weights under an old name are other weights."""

    model_config = ConfigDict(frozen=True)

    name: Name
    number: int = Field(ge=1)
    folder: str
    rank: int
    skills: tuple[str, ...] = ()
    active: bool = False

    @property
    def engine_name(self) -> str:
        """What vLLM knows it by: its cached prefixes belong to this name."""
        return f"{self.name}@{self.number}"


class AdapterRegistry:
    """The adapters of one deployment."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis

    async def all(self) -> list[Adapter]:
        active = await self._active()
        stored = await self._redis.hvals(_ADAPTERS)
        adapters = [Adapter.model_validate_json(value) for value in stored]
        return sorted((_marked(adapter, active) for adapter in adapters), key=lambda adapter: adapter.name)

    async def get(self, name: str | None) -> Adapter | None:
        """The adapter of that name; without one the active one, or None where there is none.

        Raises:
            AdapterRefused: there is no adapter of that name.
        """
        wanted = name or await self._active()
        if wanted is None:
            return None
        stored = await self._redis.hget(_ADAPTERS, wanted)
        if stored is not None:
            return Adapter.model_validate_json(stored)
        if name is None:  # removed at this moment
            return None
        known = ", ".join(adapter.name for adapter in await self.all()) or "none"
        raise AdapterRefused(f"The planner has no adapter {name!r}. Known: {known}.")

    async def new(self, name: str, folder: str, rank: int, skills: tuple[str, ...]) -> Adapter:
        """An adapter with a number of its own, not stored yet."""
        return Adapter(name=name, number=await self._redis.incr(_NUMBER), folder=folder, rank=rank, skills=skills)

    async def put(self, adapter: Adapter, *, active: bool) -> None:
        """Store it in the place of one of the same name."""
        await self._redis.hset(_ADAPTERS, adapter.name, adapter.model_dump_json(exclude={"active"}))
        if active:
            await self._redis.set(_ACTIVE, adapter.name)

    async def use(self, name: str | None) -> None:
        """Let this adapter answer where a call names none; None for the bare model.

        Raises:
            AdapterRefused: there is no adapter of that name.
        """
        if name is None:
            await self._redis.delete(_ACTIVE)
            return
        await self.get(name)
        await self._redis.set(_ACTIVE, name)

    async def remove(self, name: str) -> Adapter:
        """Forget an adapter; calls that run with it end as they began.

        Raises:
            AdapterRefused: there is no adapter of that name.
        """
        adapter = await self.get(name)
        assert adapter is not None
        if await self._active() == name:
            await self._redis.delete(_ACTIVE)
        await self._redis.hdel(_ADAPTERS, name)
        return adapter

    async def _active(self) -> str | None:
        name = await self._redis.get(_ACTIVE)
        return name.decode() if isinstance(name, bytes) else name


def _marked(adapter: Adapter, active: str | None) -> Adapter:
    return adapter.model_copy(update={"active": adapter.name == active})


def checked_request(data: dict[str, Any]) -> AdapterRequest:
    """The administrator's request.

    Raises:
        AdapterRefused: it lacks something, or the name is not one.
    """
    try:
        request = AdapterRequest.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise AdapterRefused(f"{first['loc'][0] if first['loc'] else 'request'}: {first['msg']}.") from None
    if request.do in ("add", "remove") and request.name is None:
        raise AdapterRefused("An adapter needs a name.")
    return request


def checked_folder(given: str, rank_max: int, model: Path) -> tuple[Path, int]:
    """An adapter's folder, absolute, and its rank.

    Args:
        model: folder of the model that it must fit; not looked at where it is none, as of a model from a hub.

    Raises:
        AdapterRefused: it holds no LoRA adapter that vLLM can serve beside others.
    """
    folder = Path(given).expanduser().resolve()
    try:
        settings = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        rank = TypeAdapter(int).validate_python(settings["r"])
    except OSError:
        raise AdapterRefused(f"{folder} has no {CONFIG_FILE}: name the folder of a LoRA adapter.") from None
    except (ValueError, KeyError, TypeError):
        raise AdapterRefused(f"{folder / CONFIG_FILE} is not a LoRA adapter's.") from None
    if not (folder / WEIGHTS_FILE).is_file():
        raise AdapterRefused(f"{folder} has no {WEIGHTS_FILE}.")
    if settings.get("modules_to_save"):
        raise AdapterRefused("The adapter brings whole modules along, such as a projector: merge it into its model.")
    if rank > rank_max:
        raise AdapterRefused(f"The adapter's rank is {rank}; the planner was started for {rank_max} at most.")
    if model.is_dir():
        _check_fit(folder, model)
    return folder, rank


def _check_fit(folder: Path, model: Path) -> None:
    """Compare shapes: vLLM takes an adapter of another model without a word."""
    shapes = {_module(name): info.shape for name, info in TensorFiles(model).tensors.items() if info.shape[1:]}
    for name, info in TensorFiles(folder).tensors.items():
        down = ".lora_A." in name
        if not down and ".lora_B." not in name:
            raise AdapterRefused(f"{folder / WEIGHTS_FILE} has {name}: only LoRA's matrices can be served.")
        shape = shapes.get(_module(name))
        if shape is None or info.shape[1 if down else 0] != shape[1 if down else 0]:
            raise AdapterRefused(f"The adapter does not fit the model: {name} is {info.shape} for {shape}.")


def _module(name: str) -> str:
    """The layer and module that a tensor of the language model belongs to, whatever its file calls it."""
    found = _LAYER.search(name)
    return found[0] if found and "vision_tower" not in name else name
