"""What crosses the process border between the planner's client and its engine: plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """Chat messages (`planner.dialects.base.ChatMessage`), how to decode, and for whom.

    Attributes:
        schema: JSON schema that the reply must fit, or None.
        temperature: 0 is greedy; top_p: the share of probability that is sampled from, all by default.
        adapter: name of the LoRA adapter to answer with; None for the one in use.
        tools: for engines with native tool calls: OpenAI's functions; may_act: whether they may be called.
    """

    messages: list[dict[str, Any]]
    schema: dict[str, Any] | None
    max_tokens: int
    temperature: float
    seed: int | None
    request_id: str
    tools: list[dict[str, Any]] | None = None
    may_act: bool = True
    top_p: float | None = None
    adapter: str | None = None

    def to_wire(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> EngineRequest:
        return cls(**data)


@dataclass(frozen=True, slots=True)
class EngineChunk:
    """A piece of text, or the end (`final`), or an error (`error` is its kind).

    Attributes:
        cached_tokens: of the prompt, those whose keys and values were still there from an earlier call.
    """

    text: str = ""
    final: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    finish_reason: str = "stop"
    error: str | None = None
    message: str = ""

    def to_wire(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> EngineChunk:
        return cls(**data)
