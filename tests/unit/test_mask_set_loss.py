from __future__ import annotations

import pytest
import torch

from services.embedded.training.mask_set_loss import MaskTargets, _costs, mask_set_loss
from services.embedded.training.segments import ClassIoU, class_map


def targets() -> MaskTargets:
    classes = torch.zeros(2, 32, 32, dtype=torch.long)
    classes[0, :, 16:] = 2
    classes[1, 8:24, 8:24] = 1
    classes[1, 24:] = 3
    return MaskTargets.of(classes, torch.tensor([[0, 2, -1], [0, 1, 3]]), grid=8)


def perfect(wanted: MaskTargets, queries: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Two layers of logits in which query `queries[i]` shows the i-th mask and all others nothing."""
    class_logits = torch.zeros(2, 2, 5, 5)
    class_logits[..., 4] = 20
    mask_logits = torch.full((2, 2, 5, 8, 8), -20.0)
    small = torch.nn.functional.avg_pool2d(wanted.masks, 2)
    for picture, labels in enumerate(wanted.labels.tolist()):
        for index, label in enumerate(labels):
            if label >= 0:
                class_logits[:, picture, queries[index], label] = 40
                mask_logits[:, picture, queries[index]] = 40 * small[picture, index] - 20
    return class_logits, mask_logits


@pytest.mark.parametrize("queries", [[0, 1, 2], [4, 0, 3]])
def test_a_perfect_answer_costs_next_to_nothing_whichever_query_gives_it(queries: list[int]) -> None:
    wanted = targets()
    losses = mask_set_loss(*perfect(wanted, queries), wanted)
    assert float(losses["class"]) < 1e-3
    # Enlarging the logits blurs the edges a little.
    assert float(losses["dice"]) < 1.0


def test_a_wrong_class_costs_class_loss_alone() -> None:
    wanted = targets()
    class_logits, mask_logits = perfect(wanted, [0, 1, 2])
    right = mask_set_loss(class_logits, mask_logits, wanted)
    class_logits[:, 0, 1] = class_logits[:, 0, 1].roll(1, -1)
    wrong = mask_set_loss(class_logits, mask_logits, wanted)
    assert float(wrong["class"]) > float(right["class"]) + 1
    assert float(wrong["mask"]) == pytest.approx(float(right["mask"]))


def test_costs_are_those_of_the_definition() -> None:
    torch.manual_seed(0)
    wanted = targets()
    class_logits, mask_logits = torch.randn(2, 2, 5, 5), torch.randn(2, 2, 5, 8, 8)
    costs = _costs(class_logits, mask_logits, wanted)
    logits, truth = mask_logits[1, 1, 3], torch.nn.functional.avg_pool2d(wanted.masks, 2)[1, 2]
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)
    inside = logits.sigmoid()
    dice = 1 - (2 * (inside * truth).sum() + 1) / (inside.sum() + truth.sum() + 1)
    expected = -2 * class_logits[1, 1, 3].softmax(-1)[3] + 5 * entropy + 5 * dice
    assert float(costs[1, 1, 3, 2]) == pytest.approx(float(expected), abs=1e-5)


def test_the_loss_falls_when_it_is_followed() -> None:
    torch.manual_seed(0)
    wanted = targets()
    class_logits = torch.randn(2, 2, 5, 5, requires_grad=True)
    mask_logits = torch.randn(2, 2, 5, 8, 8, requires_grad=True)
    optimizer = torch.optim.Adam([class_logits, mask_logits], lr=0.2)
    history = []
    for _ in range(60):
        loss = torch.stack(list(mask_set_loss(class_logits, mask_logits, wanted).values())).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        history.append(float(loss.detach()))
    assert history[-1] < 0.3 * history[0]


def test_iou_counts_pixels_by_class_over_all_pictures() -> None:
    import numpy as np

    score = ClassIoU(4)
    score.add(np.array([[0, 0, 1, -1]]), np.array([[0, 1, 1, 1]]))
    score.add(np.array([[3]]), np.array([[0]]))
    assert score.by_class()[:2].tolist() == [1 / 3, 1 / 3]
    assert np.isnan(score.by_class()[2:]).all()
    assert score.mean() == pytest.approx(1 / 3)


def test_class_maps_show_objects_over_their_background() -> None:
    import numpy as np

    from services.embedded.training.segments import CLASSES
    from services.embedded.world.render import Rendered, SeenObject
    from services.embedded.world.scene import Scene

    seen = tuple(SeenObject(name, None, None, None, (0, 0, 1, 1), 0.1, 1.0) for name in ("dog", "cat"))
    instances = np.array([[0, 1, 2]], np.uint8)
    scene = Rendered(Scene("beach", 0, ()), np.zeros((1, 3, 3), np.uint8), instances, instances, seen)
    assert [CLASSES[index] for index in class_map(scene, instances)[0]] == ["beach", "dog", "cat"]
