"""Captions and answers with BLIP-2 (arXiv 2301.12597, https://github.com/salesforce/LAVIS)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from services.core.errors import BadArguments, SkillError
from services.core.skill import SkillCall
from services.core.types import ImageSize, SkillArgs, SkillResult
from services.models.torch_skill import TorchOptions, TorchSkill

CAPTION_WHEN_SILENT = "a picture"
ANSWER_WHEN_SILENT = "unknown"
IMAGE_TOKEN = "<image>"
VOCABULARY_MULTIPLE = 64


class Blip2Args(SkillArgs):
    """Arguments of blip2."""

    prompt: str = Field(
        default="", max_length=300, description="A question about the picture; without one it is described."
    )


class Blip2Result(SkillResult):
    """What the model says: a description, or the answer to the question. Never empty."""

    caption: str = Field(min_length=1)
    size: ImageSize

    def observation(self, *, brief: bool) -> dict[str, Any]:
        return {"caption": self.caption} if brief else super().observation(brief=False)


class Blip2Options(TorchOptions):
    """Settings of blip2."""

    max_new_tokens: int = Field(30, ge=1, le=256, description="Longest text, tokens.")
    num_beams: int = Field(1, ge=1, le=8, description="Beams of the search; 1 is greedy.")
    length_penalty: float = Field(
        1.0,
        ge=-2.0,
        le=2.0,
        description="With beams: the log-likelihood of a text is divided by its length to this power. At 0 the "
        "likeliest text wins; more than 0 prefers longer ones, less than 0 shorter ones.",
    )


class Blip2(TorchSkill[Blip2Args, Blip2Result]):
    """Describes a picture in one sentence, or answers a question about it.

    Questions are put as BLIP-2 was evaluated on them: "Question: ... Answer:". A prompt that is already in that form
    goes in unchanged. Where the model says nothing, the caption is "a picture" and the answer "unknown".
    """

    name = "blip2"
    default_checkpoint = "Salesforce/blip2-opt-2.7b"
    Args = Blip2Args
    Result = Blip2Result
    Options = Blip2Options

    def setup(self) -> None:
        from transformers import Blip2ForConditionalGeneration, Blip2Processor

        self._processor = Blip2Processor.from_pretrained(self.source)
        self._processor.tokenizer.padding_side = "left"
        model = Blip2ForConditionalGeneration.from_pretrained(self.source)
        with_image_token(model, self._processor)
        self._model = self.place(model)
        # The Q-Former's own precision is float32: its authors ran it so beside half-precision neighbours.
        self._model.qformer.float()
        self._model.query_tokens.data = self._model.query_tokens.data.float()
        if self.settings.compile:
            # `generate` calls the parts and not `forward`, which is what `place` compiles.
            self._model.vision_model.compile()
        self._stop_ids = stop_ids(self._model)

    @property
    def _generation(self) -> Blip2Options:
        assert isinstance(self.settings, Blip2Options)
        return self.settings

    def _search(self) -> dict[str, Any]:
        """What `generate` takes; it warns of a length penalty where there is one beam."""
        options = self._generation
        beams = {"num_beams": options.num_beams}
        return beams if options.num_beams == 1 else {**beams, "length_penalty": options.length_penalty}

    def predict(self, batch: Sequence[SkillCall[Blip2Args]]) -> Sequence[Blip2Result | SkillError]:
        prompts = [question(self._plain(call.args.prompt)) for call in batch]
        answers: list[Blip2Result | SkillError] = [
            BadArguments("The question has too many words for this model: shorten it.", argument="prompt")
        ] * len(batch)
        fitting = [index for index, prompt in enumerate(prompts) if self._fits(prompt)]
        if fitting:
            texts = self._generate([batch[index] for index in fitting], [prompts[index] for index in fitting])
            for index, text in zip(fitting, texts, strict=True):
                width, height = batch[index].image.size
                silent = ANSWER_WHEN_SILENT if prompts[index] else CAPTION_WHEN_SILENT
                answers[index] = Blip2Result(caption=text or silent, size=ImageSize(width=width, height=height))
        return answers

    def _plain(self, prompt: str) -> str:
        """The prompt without the tokenizer's special tokens, which must stay the program's own."""
        for token in self._processor.tokenizer.all_special_tokens:
            prompt = prompt.replace(token, " ")
        return " ".join(prompt.split())

    def _fits(self, prompt: str) -> bool:
        config = self._model.config
        positions: int | None = getattr(config.text_config, "max_position_embeddings", None)
        if positions is None:  # relative positions, as in T5
            return True
        words = len(self._processor.tokenizer(prompt)["input_ids"])
        needed: int = config.num_query_tokens + words + self._generation.max_new_tokens
        return needed <= positions

    def _generate(self, calls: Sequence[SkillCall[Blip2Args]], prompts: list[str]) -> list[str]:
        """One text a call, "" where the model said nothing."""
        import torch

        inputs = self._processor(
            images=[call.image for call in calls],
            text=prompts,
            padding=True,
            return_tensors="pt",
            # Told, not guessed: of a picture one pixel wide the processor cannot know which side is the colours'.
            input_data_format="channels_first",
        )
        prompt_ids = inputs["input_ids"].to(self.device)
        with torch.inference_mode():
            written = self._model.generate(
                pixel_values=self.pixels(inputs["pixel_values"]),
                input_ids=prompt_ids,
                attention_mask=inputs["attention_mask"].to(self.device),
                max_new_tokens=self._generation.max_new_tokens,
                **self._search(),
                do_sample=False,
                eos_token_id=self._stop_ids,
                pad_token_id=self._processor.tokenizer.pad_token_id,
            )
        if not self._model.config.is_encoder_decoder:
            written = written[:, prompt_ids.shape[1] :]
        texts = self._processor.tokenizer.batch_decode(written, skip_special_tokens=True)
        return [first_line(text) for text in texts]


def question(prompt: str) -> str:
    """The text that the language model continues: "" for a caption."""
    if not prompt or prompt.lower().startswith("question:"):
        return prompt
    return f"Question: {prompt} Answer:"


def first_line(text: str) -> str:
    """What BLIP-2's OPT means to say: it goes on with another question after a line break."""
    lines = text.strip().splitlines()
    return " ".join(lines[0].split()) if lines else ""


def stop_ids(model: Any) -> list[int]:
    """Tokens that end a text: the published OPT checkpoints name the line break in one of two places."""
    found: set[int] = set()
    for generation in (model.generation_config, model.language_model.generation_config):
        ids = generation.eos_token_id
        found |= set(ids if isinstance(ids, list) else [] if ids is None else [ids])
    return sorted(found)


def with_image_token(model: Any, processor: Any) -> None:
    """Bring a checkpoint saved before BLIP-2 had image tokens to today's form; others are left alone."""
    processor.num_query_tokens = model.config.num_query_tokens
    if model.config.image_token_index is None:
        model.resize_token_embeddings(len(processor.tokenizer), pad_to_multiple_of=VOCABULARY_MULTIPLE)
        model.config.image_token_index = processor.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
