from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from services.models import semantic
from services.models.regions import tiles, whole
from services.models.semantic import Look, class_scores, semantic_map, semantic_map_of


def logits(
    seed: int, queries: int = 7, classes: int = 11, height: int = 8, width: int = 12
) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return (
        3 * torch.randn(queries, classes + 1, generator=generator),
        3 * torch.randn(queries, height, width, generator=generator),
    )


def test_maps_equal_those_of_the_image_processor() -> None:
    from transformers import Mask2FormerImageProcessor

    classes, masks = logits(0)
    outputs = SimpleNamespace(class_queries_logits=classes[None], masks_queries_logits=masks[None])
    (expected,) = Mask2FormerImageProcessor().post_process_semantic_segmentation(outputs, target_sizes=[(50, 70)])
    assert torch.equal(semantic_map(classes, masks, (384, 384), (50, 70)), expected)


@pytest.mark.parametrize("size", [(90, 61), (3, 200), (1, 1), (16, 24)])
def test_a_large_map_is_the_same_when_made_in_parts(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(5):
        classes, masks = logits(seed)
        scores = class_scores(classes, masks, (16, 24))
        whole = semantic_map(classes, masks, (16, 24), size)
        with monkeypatch.context() as patched:
            patched.setattr(semantic, "SCORES_MAX", 2 * size[0] * size[1])
            assert torch.equal(semantic._argmax_in_parts(scores, size), whole)


def test_few_classes_contend_where_masks_are_clear() -> None:
    classes = torch.full((2, 101), -10.0)
    classes[0, 3] = classes[1, 7] = 10.0
    masks = torch.full((2, 8, 8), -10.0)
    masks[0, :, :4] = masks[1, :, 4:] = 10.0
    assert semantic._contenders(class_scores(classes, masks, (32, 32))).tolist() == [3, 7]


def test_scores_of_a_huge_input_are_formed_at_a_smaller_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semantic, "SCORES_MAX", 1200)
    classes, masks = logits(0)
    assert class_scores(classes, masks, (200, 50)).numel() <= 1200
    assert semantic_map(classes, masks, (200, 50), (200, 50)).shape == (200, 50)


def flat(best: int, sureness: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of one query that sees the class `best` everywhere."""
    classes = torch.zeros(1, 4)
    classes[0, best] = sureness
    return classes, torch.full((1, 8, 8), 9.0)


@pytest.mark.parametrize("most", [semantic.SCORES_MAX, 300])
def test_a_closer_look_counts_where_it_looks(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semantic, "SCORES_MAX", most)
    size = (40, 30)
    looks = [Look(whole(size), *flat(0, 2.0), (8, 8))]
    assert (semantic_map_of(looks, (30, 40)) == 0).all()
    sure = (9.0, 0.0, 0.0, 0.0)
    looks += [Look(part, *flat(2, sureness), (8, 8)) for part, sureness in zip(tiles(size, 2), sure, strict=True)]
    found = semantic_map_of(looks, (30, 40))
    assert found.shape == (30, 40)
    assert (found[:8, :10] == 2).all()
    assert (found[-8:, -10:] == 0).all()
