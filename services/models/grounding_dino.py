"""Grounding DINO (arXiv 2303.05499, https://github.com/IDEA-Research/GroundingDINO): loading, and passes in batches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from services.core.errors import SkillFailed
from services.core.types import Box
from services.models.aspect import within_ratio
from services.models.grounding_dino_original import load_original
from services.models.grouping import grouped
from services.models.original_files import is_original_file
from services.models.pixels import byte_tensors

TEXT_POSITIONS = "text_positions"
AS_LIBRARY = "library"

PHRASE_ENDS = {"[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}
"""Tokens between phrases; transformers' model has these numbers written in."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a box needs to be reported, and a word to be part of its phrase.

    Attributes:
        box, text: scores to exceed.
        one_phrase: words come from the phrase of the strongest word alone (`remove_combined` in the original).
    """

    box: float
    text: float
    one_phrase: bool = False


@dataclass(frozen=True, slots=True)
class Grounding:
    """A box and the words of the caption that it was found for."""

    box: Box
    score: float
    phrase: str


@dataclass(frozen=True, slots=True)
class Pass:
    """One picture with one caption: a row of a batch. `picture` is an index, so that pictures are prepared once."""

    picture: int
    caption: str
    thresholds: Thresholds


@dataclass(frozen=True, slots=True)
class Words:
    """A caption and where its tokens stand in it, without those that only separate phrases.

    Attributes:
        spans: token's position to (start, end) in characters.
    """

    caption: str
    spans: Mapping[int, tuple[int, int]]

    def phrase(self, scores: Sequence[float], thresholds: Thresholds) -> str:
        """The words that score over the threshold; where none does, the phrase of the strongest one.

        They are cut from the caption, so that words which the tokenizer does not know keep their name.
        """
        strongest = self._phrase_around(max(self.spans, key=lambda position: scores[position]))
        candidates = strongest if thresholds.one_phrase else self.spans
        chosen = [position for position in candidates if scores[position] > thresholds.text] or strongest
        text, written = "", -1
        for start, end in (self.spans[position] for position in chosen):
            text += ("" if start == written else " ") + self.caption[start:end]
            written = end
        return text.strip()

    def _phrase_around(self, position: int) -> list[int]:
        first = last = position
        while first - 1 in self.spans:
            first -= 1
        while last + 1 in self.spans:
            last += 1
        return list(range(first, last + 1))


def load_detector(source: str, tokenizer: str) -> tuple[Any, Any]:
    """A `GroundingDinoForObjectDetection` and its `GroundingDinoProcessor`.

    Args:
        source: hub id, folder, or original `.pth`.
        tokenizer: hub id or folder of BERT's tokenizer; original files do not carry one.

    Raises:
        SkillFailed: the file holds another model.
    """
    from transformers import (
        AutoTokenizer,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
    )

    if is_original_file(source):
        model = load_original(source)
        processor = GroundingDinoProcessor(GroundingDinoImageProcessor(), AutoTokenizer.from_pretrained(tokenizer))
    else:
        model = GroundingDinoForObjectDetection.from_pretrained(source)
        processor = GroundingDinoProcessor.from_pretrained(source)
    if len(processor.tokenizer) > model.config.text_config.vocab_size:
        raise SkillFailed(
            "The tokenizer has more words than the model: give the one that the weights were trained with."
        )
    if getattr(model.config, TEXT_POSITIONS, None) != AS_LIBRARY:
        restore_text_positions(model)
    return model, processor


def restore_text_positions(model: Any) -> None:
    """Number the words inside each phrase as the original does, from 0 up to and including the full stop.

    transformers 5.19 puts the full stop at 0 and rounds the text's sinusoidal embeddings to whole numbers, which
    moves logits by several units; with this the outputs equal the original's. Weights that were trained without it
    say so in their config: `"text_positions": "library"`.
    """

    def for_text_backbone(_module: Any, args: Any, kwargs: Any) -> Any:
        input_ids, attention, token_types, _ = args
        return (input_ids, attention, token_types, _positions(attention[:, 0])), kwargs

    def for_encoder(_module: Any, args: Any, kwargs: Any) -> Any:
        # This mask is True where a word does not see another.
        positions = _positions(~kwargs["text_self_attention_masks"])
        return args, kwargs | {"text_position_ids": positions.to(kwargs["text_features"].dtype)}

    model.model.text_backbone.register_forward_pre_hook(for_text_backbone, with_kwargs=True)
    model.model.encoder.register_forward_pre_hook(for_encoder, with_kwargs=True)


def _positions(attention: Any) -> Any:
    """Each token's number inside its phrase; `attention` [batch, tokens, tokens] is True within a phrase."""
    return attention.tril().sum(dim=-1) - 1


class Grounder:
    """Runs passes through the model, those of equal picture size together.

    Args:
        model, processor: see `load_detector`.
        device: where the model is.
        dtype: precision of matrix products; weights and boxes stay in float32, since a box in half precision is off
            by several pixels.
        rows_max: most rows in one forward pass.
    """

    def __init__(self, model: Any, processor: Any, device: str, dtype: Any, rows_max: int) -> None:
        self._model = model
        self._processor = processor
        self._tokenizer = processor.tokenizer
        self._device = device
        self._dtype = dtype
        self._rows_max = rows_max
        self._ratio_max = ratio_max(model.config, processor.image_processor.size)
        self._separators = separators(processor.tokenizer)

    @property
    def tokens_max(self) -> int:
        """Most tokens of one caption, [CLS] and [SEP] included."""
        return int(self._model.config.max_text_len)

    @property
    def phrase_tokens_max(self) -> int:
        """Most tokens of one phrase: positions start anew at each full stop, which takes one too."""
        positions: int = self._model.config.text_config.max_position_embeddings
        return min(self.tokens_max - 2, positions) - 1

    def tokens_in(self, phrase: str) -> int:
        return len(self._tokenizer(phrase, add_special_tokens=False)["input_ids"])

    def run(self, pictures: Sequence[Image.Image], passes: Sequence[Pass]) -> list[list[Grounding]]:
        """What each pass found, in no particular order."""
        prepared = self._prepared(pictures)
        found: dict[int, list[Grounding]] = {}
        for members in grouped(tuple(prepared[row.picture].shape) for row in passes):
            for start in range(0, len(members), self._rows_max):
                chosen = members[start : start + self._rows_max]
                found.update(zip(chosen, self._forward(prepared, [passes[index] for index in chosen]), strict=True))
        return [found[index] for index in range(len(passes))]

    def _prepared(self, pictures: Sequence[Image.Image]) -> list[Any]:
        """Normalised pictures [3, height, width], each of its own size: padding would change the others' results."""
        tensors = byte_tensors([within_ratio(picture, self._ratio_max) for picture in pictures], self._device)
        prepared: dict[int, Any] = {}
        for members in grouped(tuple(tensor.shape) for tensor in tensors):
            batch = self._processor.image_processor(
                [tensors[index] for index in members], input_data_format="channels_first", return_tensors="pt"
            )
            prepared.update(zip(members, batch["pixel_values"], strict=True))
        return [prepared[index] for index in range(len(pictures))]

    def _forward(self, prepared: Sequence[Any], rows: Sequence[Pass]) -> list[list[Grounding]]:
        import torch

        captions = [row.caption for row in rows]
        text = self._tokenizer(captions, padding=True, return_offsets_mapping=True, return_tensors="pt")
        input_ids, offsets = text["input_ids"], text["offset_mapping"].tolist()
        pixels = torch.stack([prepared[row.picture] for row in rows])
        half = self._dtype != torch.float32
        with (
            torch.inference_mode(),
            torch.autocast(device_type=torch.device(self._device).type, dtype=self._dtype, enabled=half),
        ):
            output = self._model(
                pixel_values=pixels,
                input_ids=input_ids.to(self._device),
                attention_mask=text["attention_mask"].to(self._device),
            )
        scores = output.logits[..., : input_ids.shape[1]].float().sigmoid().cpu()
        boxes = _corners(output.pred_boxes.float()).cpu()
        return [
            _found(scores[index], boxes[index], self._words(row.caption, ids, spans), row.thresholds)
            for index, (row, ids, spans) in enumerate(zip(rows, input_ids.tolist(), offsets, strict=True))
        ]

    def _words(self, caption: str, input_ids: Sequence[int], spans: Sequence[Sequence[int]]) -> Words:
        inside = {
            position: (start, end)
            for position, (token, (start, end)) in enumerate(zip(input_ids, spans, strict=True))
            if token not in self._separators
        }
        return Words(caption, inside)


def _found(scores: Any, boxes: Any, words: Words, thresholds: Thresholds) -> list[Grounding]:
    """Boxes [queries, 4] whose best word, of scores [queries, tokens], is over the threshold."""
    best = scores.amax(dim=-1)
    return [
        Grounding(
            box=tuple(boxes[index].tolist()),
            score=float(best[index]),
            phrase=words.phrase(scores[index].tolist(), thresholds),
        )
        for index in (best > thresholds.box).nonzero()[:, 0].tolist()
    ]


def separators(tokenizer: Any) -> frozenset[int]:
    """Ids of tokens that are no part of a phrase. Unknown words are.

    Raises:
        SkillFailed: the model would not see where phrases end, since it knows these tokens by number.
    """
    ids = dict(zip(PHRASE_ENDS, tokenizer.convert_tokens_to_ids(list(PHRASE_ENDS)), strict=True))
    if ids != PHRASE_ENDS:
        raise SkillFailed(f"The tokenizer has other numbers than {PHRASE_ENDS}: Grounding DINO needs BERT's, uncased.")
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    return frozenset(special | set(ids.values()))


def _corners(boxes: Any) -> Any:
    """Centre, width and height to clipped xyxy, [..., 4] in 0..1."""
    import torch

    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1).clamp(0.0, 1.0)


def ratio_max(config: Any, size: Any) -> float:
    """Longest side over shortest that a picture may have at the model.

    The decoder takes its queries from the places of the feature maps; a picture that is resized to a longest edge must
    keep as many places as there are queries.
    """
    longest = getattr(size, "longest_edge", None)
    if not longest:
        return math.inf
    stride = 2 ** (min(config.backbone_config.out_indices) + 1)
    ratio: float = longest**2 / (stride**2 * config.num_queries)
    return max(1.0, ratio)
