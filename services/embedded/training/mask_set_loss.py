"""The set loss of Mask2Former (arXiv 2112.01527), for all decoder layers and pictures at once.

Each wanted mask is matched to one query by class, cross entropy and dice (Hungarian algorithm); what is not matched
shall say "no object". Masks are compared on dense grids and not at sampled points: the pictures are small. The loss of
transformers goes through layers and pictures one by one, which takes as long as the network itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import (
    avg_pool2d,
    binary_cross_entropy_with_logits,
    cross_entropy,
    interpolate,
    softplus,
)

from services.embedded.training.mask_loss import dice

CLASS_WEIGHT, MASK_WEIGHT, DICE_WEIGHT = 2.0, 5.0, 5.0
NO_OBJECT_WEIGHT = 0.1


@dataclass(frozen=True, slots=True)
class MaskTargets:
    """What the pictures of a batch show.

    Attributes:
        labels: [batch, most] class ids, -1 where a picture has fewer.
        masks: [batch, most, height, width] in 0..1, at twice the resolution of the network's masks.
    """

    labels: torch.Tensor
    masks: torch.Tensor

    @classmethod
    def of(cls, classes: torch.Tensor, labels: torch.Tensor, grid: int) -> MaskTargets:
        """From class maps.

        Args:
            classes: [batch, side, side] class ids.
            labels: [batch, most], see above.
            grid: side of the network's masks; `side` is a multiple of twice that.
        """
        masks = (classes[:, None] == labels[:, :, None, None]).float()
        return cls(labels, avg_pool2d(masks, classes.shape[-1] // (2 * grid)))


def mask_set_loss(
    class_logits: torch.Tensor, mask_logits: torch.Tensor, targets: MaskTargets
) -> dict[str, torch.Tensor]:
    """The weighted losses, summed over layers.

    Args:
        class_logits: [layers, batch, queries, classes + 1], the last being "no object".
        mask_logits: [layers, batch, queries, grid, grid].
    """
    class_logits, mask_logits = class_logits.float(), mask_logits.float()
    layers = len(class_logits)
    layer, picture, query, wanted = _matched(class_logits, mask_logits, targets)

    no_object = class_logits.shape[-1] - 1
    classes = torch.full(class_logits.shape[:3], no_object, device=class_logits.device)
    classes[layer, picture, query] = targets.labels[picture, wanted]
    weight = torch.ones(no_object + 1, device=class_logits.device)
    weight[no_object] = NO_OBJECT_WEIGHT
    by_class = cross_entropy(class_logits.flatten(0, 2), classes.flatten(), weight)

    found = interpolate(mask_logits[layer, picture, query][:, None], scale_factor=2, mode="bilinear")[:, 0]
    truth = targets.masks[picture, wanted]
    by_mask = binary_cross_entropy_with_logits(found, truth)
    return {
        "class": CLASS_WEIGHT * layers * by_class,
        "mask": MASK_WEIGHT * layers * by_mask,
        "dice": DICE_WEIGHT * layers * dice(found, truth).mean(),
    }


def _matched(class_logits: torch.Tensor, mask_logits: torch.Tensor, targets: MaskTargets) -> list[torch.Tensor]:
    """Index tensors (layer, picture, query, wanted mask) of all matched pairs."""
    from scipy.optimize import linear_sum_assignment

    with torch.no_grad():
        costs = _costs(class_logits, mask_logits, targets).cpu().numpy()
    counts = (targets.labels >= 0).sum(1).tolist()
    pairs: list[tuple[int, int, int, int]] = []
    for layer, of_layer in enumerate(costs):
        for picture, (cost, count) in enumerate(zip(of_layer, counts, strict=True)):
            queries, wanted = linear_sum_assignment(cost[:, :count])
            pairs.extend((layer, picture, q, w) for q, w in zip(queries.tolist(), wanted.tolist(), strict=True))
    return list(torch.tensor(pairs, device=class_logits.device).unbind(1))


def _costs(class_logits: torch.Tensor, mask_logits: torch.Tensor, targets: MaskTargets) -> torch.Tensor:
    """[layers, batch, queries, most]: what each query is charged for each wanted mask."""
    probabilities = class_logits.softmax(-1)
    labels = targets.labels.clamp(min=0)[None, :, None].expand(*probabilities.shape[:3], -1)
    by_class = -probabilities.gather(-1, labels)

    logits = mask_logits.flatten(3)
    truth = avg_pool2d(targets.masks, 2).flatten(2).transpose(1, 2)
    inside, area = logits.sigmoid(), truth.sum(1)
    # softplus(-x) is the cost of a pixel inside, softplus(x) = softplus(-x) + x that of one outside.
    outside = softplus(logits)
    by_mask = (outside.sum(-1, keepdim=True) - logits @ truth) / logits.shape[-1]
    by_dice = 1 - (2 * (inside @ truth) + 1) / (inside.sum(-1, keepdim=True) + area[:, None] + 1)
    return CLASS_WEIGHT * by_class + MASK_WEIGHT * by_mask + DICE_WEIGHT * by_dice
