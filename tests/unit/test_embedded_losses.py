"""Losses, prompts, views and scores that embedded recipes train with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.embedded.training.average_precision import mean_average_precision
from services.embedded.training.detection_loss import Targets, match, set_loss
from services.embedded.training.mask_loss import dice, focal, soft_iou
from services.embedded.training.phrases import Prompt, Wording, bert_tokenizer
from services.embedded.training.pictures import boxes_of, normalised, varied_view
from services.embedded.world.concepts import CONCEPTS

TOKENS_OF_PHRASE = torch.tensor([[0, 1, 0, 0, 0], [0, 0, 0, 1, 0]], dtype=torch.float32)
TARGETS = [Targets(torch.tensor([[0.3, 0.3, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2]]), torch.tensor([1, 0]))]


def predictions(boxes: list[list[float]], tokens: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    logits = torch.full((1, len(boxes), 5), -8.0)
    for query, token in enumerate(tokens):
        logits[0, query, token] = 8.0
    return logits, torch.tensor([boxes])


def test_each_object_is_matched_with_the_query_that_has_its_place_and_its_phrase() -> None:
    logits, boxes = predictions([[0.7, 0.7, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9], [0.3, 0.3, 0.2, 0.2]], [1, 0, 3])
    ((queries, objects),) = match(logits, boxes, TARGETS, TOKENS_OF_PHRASE)
    assert dict(zip(queries.tolist(), objects.tolist(), strict=True)) == {0: 1, 2: 0}


def test_the_set_loss_is_nothing_for_perfect_predictions_and_grows_with_each_mistake() -> None:
    right = set_loss(*predictions([[0.3, 0.3, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2]], [3, 1]), TARGETS, TOKENS_OF_PHRASE)
    assert all(float(part) < 1e-3 for part in right)
    swapped = set_loss(*predictions([[0.3, 0.3, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2]], [1, 3]), TARGETS, TOKENS_OF_PHRASE)
    assert float(sum(swapped)) > 1
    moved = set_loss(*predictions([[0.4, 0.3, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2]], [3, 1]), TARGETS, TOKENS_OF_PHRASE)
    assert float(moved[1]) == pytest.approx(0.05)
    assert float(moved[2]) > 0.2


def test_a_batch_without_any_object_has_a_loss_that_teaches_silence() -> None:
    logits = torch.zeros(1, 3, 5, requires_grad=True)
    nothing = [Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))]
    classification, l1, giou = set_loss(logits, torch.rand(1, 3, 4), nothing, TOKENS_OF_PHRASE)
    (classification + l1 + giou).backward()
    assert float(l1) == float(giou) == 0.0
    assert logits.grad is not None
    assert bool((logits.grad > 0).all())


def test_average_precision_counts_a_second_box_on_the_same_object_as_wrong() -> None:
    box = np.array([0.0, 0.0, 1.0, 1.0])
    wanted = [(0, 0, box), (1, 0, box)]
    assert mean_average_precision([(0, 0, 0.9, box), (1, 0, 0.8, box)], wanted, iou=0.5) == pytest.approx(1.0)
    assert mean_average_precision([(0, 0, 0.9, box), (0, 0, 0.8, box)], wanted, iou=0.5) == pytest.approx(0.5)
    twice = [(0, 0, 0.9, box), (0, 0, 0.8, box), (1, 0, 0.7, box)]
    assert mean_average_precision(twice, wanted, iou=0.5) == pytest.approx((1 + 2 / 3) / 2)
    assert mean_average_precision([], wanted, iou=0.5) == 0.0


def test_mask_losses_are_small_for_the_right_mask_alone() -> None:
    wanted = torch.zeros(1, 8, 8)
    wanted[:, 2:6, 2:6] = 1
    right, wrong = (wanted - 0.5) * 20, (0.5 - wanted) * 20
    for loss in (focal, dice):
        assert float(loss(right, wanted)) < 1e-3
        assert float(loss(wrong, wanted)) > 0.5
    assert float(soft_iou(right, wanted)) == 1.0
    assert float(soft_iou(wrong, wanted)) == 0.0


def test_a_prompt_marks_the_tokens_of_each_phrase_and_keeps_berts_special_numbers() -> None:
    tokenizer = bert_tokenizer()
    prompt = Prompt.of(["dog", "red car"], tokenizer)
    words = tokenizer.convert_ids_to_tokens(prompt.input_ids.tolist())
    assert words == ["[CLS]", "dog", ".", "red", "car", ".", "[SEP]"]
    assert prompt.input_ids[[0, 2, -1]].tolist() == [101, 1012, 102]
    assert prompt.tokens_of_phrase.tolist() == [[0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0, 0]]


def test_no_word_of_the_world_is_unknown_to_the_tokenizer() -> None:
    tokenizer = bert_tokenizer()
    for concept in CONCEPTS:
        for words in (concept.name, concept.singular, concept.plural):
            assert tokenizer.unk_token not in tokenizer.tokenize(words), words


def test_one_wording_asks_for_all_things_of_a_kind_in_the_same_way() -> None:
    wording = Wording(plural=frozenset({"dog"}), coloured=frozenset({"car"}))
    assert wording.phrase("dog", None) == "dogs"
    assert wording.phrase("car", "red") == "red car"
    assert wording.phrase("cat", None) == "cat"


def test_a_view_shows_the_same_pixels_in_picture_and_map() -> None:
    rng = np.random.default_rng(3)
    image = np.zeros((64, 64, 3), np.uint8)
    instances = np.zeros((64, 64), np.uint8)
    image[10:40, 20:50], instances[10:40, 20:50] = 255, 1
    for _ in range(20):
        view = varied_view(image, instances, 48, rng)
        assert view.image.shape == (48, 48, 3)
        bright = view.image.astype(int).sum(-1) > 380
        assert (bright == (view.instances == 1)).mean() > 0.93


def test_boxes_are_tight_and_what_cannot_be_seen_has_none() -> None:
    instances = np.zeros((100, 200), np.uint8)
    instances[10:30, 50:100] = 2
    assert boxes_of(instances, 2) == pytest.approx(np.array([[0, 0, 0, 0], [0.25, 0.1, 0.5, 0.3]]))


def test_normalised_pictures_are_channels_last_and_centred() -> None:
    pictures = normalised(torch.full((2, 4, 6, 3), 118, dtype=torch.uint8))
    assert pictures.shape == (2, 3, 4, 6)
    assert pictures.is_contiguous(memory_format=torch.channels_last)
    assert float(pictures.abs().max()) < 0.3
