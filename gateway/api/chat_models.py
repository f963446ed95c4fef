"""OpenAI's chat request, as far as it is taken, and the answer's documented shape."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from gateway.api.answer_pictures import AnswerPicture
from gateway.api.visual_prompts import VisualPart
from gateway.state.models import Mode, StepRecord


def _utf8(text: str) -> str:
    """JSON may hold half a surrogate pair, which can be neither stored nor passed on."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text has half a surrogate pair, which is not valid Unicode") from None
    return text


Utf8 = Annotated[str, AfterValidator(_utf8)]


class TextPart(BaseModel):
    """A piece of text."""

    type: Literal["text"]
    text: Utf8


class ImageUrl(BaseModel):
    """Where a picture is: an https URL, a data: URL (base64) or a handle (`img_...`)."""

    url: str
    detail: str | None = Field(None, description="Accepted and not used.")
    name: Utf8 | None = Field(
        None, min_length=1, max_length=64, description="Your name for it, by which later questions may call it."
    )


class ImagePart(BaseModel):
    """A picture."""

    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart | VisualPart, Field(discriminator="type")]


def _as_parts(content: Any) -> Any:
    if content is None:
        return []
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


Content = Annotated[list[Part], BeforeValidator(_as_parts, json_schema_input_type=str | list[Part] | None)]


class Message(BaseModel):
    """One message; `content` is text or parts."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Content = Field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(part.text for part in self.content if isinstance(part, TextPart))

    @property
    def visual_parts(self) -> list[tuple[int, VisualPart]]:
        """Points, boxes, masks and reference pictures with their position among the parts."""
        return [(index, part) for index, part in enumerate(self.content) if not isinstance(part, TextPart | ImagePart)]

    @property
    def picture_names(self) -> list[str | None]:
        """The client's names of the pictures, in their order."""
        return [part.image_url.name for part in self.content if isinstance(part, ImagePart)]

    @property
    def picture_urls(self) -> list[tuple[int, str]]:
        """Position among the parts and reference of every picture."""
        return [(index, part.image_url.url) for index, part in enumerate(self.content) if isinstance(part, ImagePart)]


class StreamOptions(BaseModel):
    include_usage: bool = Field(False, description="Send the token counts in a chunk of their own before the end.")


class ChatRequest(BaseModel):
    """OpenAI's request plus `session_id`, `mode`, `inline_images` and `debug`.

    Fields of OpenAI's that are not listed are accepted and not used (`metadata`, `store`, ...); those
    that would change what the answer means (`tools`, `response_format`, `stop`, ...) are refused.
    """

    model_config = ConfigDict(extra="ignore")

    model: str | None = Field(
        None,
        description="`llava-plus:NAME` asks for the planner with an adapter (GET /v1/models lists them); any other "
        "name means the deployment's one planner.",
    )
    messages: list[Message] = Field(min_length=1)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0.0, le=2.0, allow_inf_nan=False, description="0 (greedy) by default.")
    max_tokens: int | None = Field(
        None,
        ge=1,
        description="Longest planner reply, tokens. Thoughts and calls of tools count too, so that a low one may leave "
        "no answer; `finish_reason` is then `length`.",
    )
    max_completion_tokens: int | None = Field(None, ge=1, description="OpenAI's newer name of max_tokens.")
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    top_p: float | None = Field(
        None, gt=0.0, le=1.0, allow_inf_nan=False, description="Sample from the likeliest tokens of this probability."
    )
    n: int | None = Field(
        None,
        ge=1,
        description="How many answers; a setting bounds it. Those after the first are sampled where temperature is "
        "left out.",
    )
    user: Utf8 | None = Field(None, description="Accepted and not used: OpenAI's name of a client's user.")
    stop: Any = Field(None, description="Not supported: leave it out.")
    tools: Any = Field(None, description="Not supported: the planner has its own; see GET /v1/tools.")
    tool_choice: Any = Field(None, description='Not supported, except "auto" and "none".')
    functions: Any = Field(None, description="Not supported.")
    response_format: Any = Field(None, description='Only {"type": "text"}.')
    logprobs: bool | None = Field(None, description="Not supported.")
    session_id: Utf8 | None = Field(None, description="Continue this conversation: only the last message is taken.")
    mode: Mode | None = Field(
        None,
        description="fly: the planner calls what it wants; all_tools: all tools that understand pictures run first.",
    )
    inline_images: bool = Field(False, description="Return the bytes of pictures too, as data: URLs.")
    debug: bool = Field(False, description="Return the steps too: thoughts, actions, results, timings.")


class AnswerMessage(BaseModel):
    role: Literal["assistant"]
    content: str
    refusal: None = None


class Choice(BaseModel):
    index: int
    message: AnswerMessage
    logprobs: None = None
    finish_reason: Literal["stop", "length"]
    pictures: list[AnswerPicture] = Field(description="What skills made for this answer, oldest first.")


class TokenUsage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Debug(BaseModel):
    """What is hidden otherwise: every planner call and what its skills gave."""

    steps: list[StepRecord]


class ChatCompletion(BaseModel):
    """OpenAI's answer plus `session_id`, `images`, `produced_images`, `cached` and, when asked for, `debug`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: TokenUsage
    session_id: str = Field(description="Send it with the next question to go on.")
    images: list[str] = Field(description="Handles of the pictures that came with the question.")
    produced_images: list[str] = Field(description="Handles of the pictures that skills made for the first answer.")
    cached: list[str] = Field(description="Skills whose results came from the cache.")
    debug: Debug | None = None
