"""Set prediction loss of Grounding DINO (arXiv 2303.05499, section 3.4): Hungarian matching, focal loss over tokens,
L1 and generalised IoU over boxes; for every decoder layer, and for the encoder's proposals, which
transformers' own loss leaves without a gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torchvision.ops import generalized_box_iou

CLASS_COST, BOX_COST, GIOU_COST = 2.0, 5.0, 2.0
CLASS_WEIGHT, BOX_WEIGHT, GIOU_WEIGHT = 1.0, 5.0, 2.0
ALPHA, GAMMA = 0.25, 2.0


@dataclass(frozen=True, slots=True)
class Targets:
    """What one picture shows of the phrases that were asked for.

    Attributes:
        boxes: [objects, 4], normalised centre x, centre y, width, height.
        phrases: [objects], index of each object's phrase.
    """

    boxes: torch.Tensor
    phrases: torch.Tensor


def set_loss(
    logits: torch.Tensor, boxes: torch.Tensor, targets: list[Targets], tokens_of_phrase: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Classification, L1 and GIoU loss of one layer's predictions, normalised by the number of objects.

    Args:
        logits: [batch, queries, tokens].
        boxes: [batch, queries, 4], normalised centre form.
        tokens_of_phrase: [phrases, tokens], 1 where a token belongs to the phrase.
    """
    matches = match(logits.detach(), boxes.detach(), targets, tokens_of_phrase)
    positive = torch.zeros_like(logits)
    for index, (queries, objects) in enumerate(matches):
        positive[index, queries] = tokens_of_phrase[targets[index].phrases[objects]]
    count = max(sum(len(target.phrases) for target in targets), 1)
    classification = _focal(logits, positive).sum() / count
    found = torch.cat([boxes[index, queries] for index, (queries, _) in enumerate(matches)])
    wanted = torch.cat([targets[index].boxes[objects] for index, (_, objects) in enumerate(matches)])
    l1 = (found - wanted).abs().sum() / count
    giou = (1 - torch.diag(generalized_box_iou(corners(found), corners(wanted)))).sum() / count
    return classification, l1, giou


def match(
    logits: torch.Tensor, boxes: torch.Tensor, targets: list[Targets], tokens_of_phrase: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The cheapest assignment of queries to objects, for each picture: (query indices, object indices)."""
    probability = logits.float().sigmoid()
    negative = (1 - ALPHA) * probability**GAMMA * -(1 - probability + 1e-8).log()
    positive = ALPHA * (1 - probability) ** GAMMA * -(probability + 1e-8).log()
    weights = tokens_of_phrase / tokens_of_phrase.sum(1, keepdim=True).clamp(min=1)
    cost_of_phrase = (positive - negative) @ weights.T
    matches = []
    for index, target in enumerate(targets):
        cost = CLASS_COST * cost_of_phrase[index][:, target.phrases]
        cost = cost + BOX_COST * torch.cdist(boxes[index].float(), target.boxes, p=1)
        cost = cost - GIOU_COST * generalized_box_iou(corners(boxes[index].float()), corners(target.boxes))
        queries, objects = linear_sum_assignment(cost.cpu().numpy())
        matches.append((torch.as_tensor(queries, device=logits.device), torch.as_tensor(objects, device=logits.device)))
    return matches


def corners(boxes: torch.Tensor) -> torch.Tensor:
    """Centre form to corners, last dimension 4."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def _focal(logits: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, positive, reduction="none")
    probability = logits.sigmoid()
    right = probability * positive + (1 - probability) * (1 - positive)
    alpha = ALPHA * positive + (1 - ALPHA) * (1 - positive)
    loss: torch.Tensor = alpha * (1 - right) ** GAMMA * entropy
    return loss


def detection_loss(output: Any, targets: list[Targets], tokens_of_phrase: torch.Tensor) -> dict[str, torch.Tensor]:
    """Loss of a `GroundingDinoForObjectDetection`'s output: all decoder layers and the encoder's proposals.

    Args:
        output: made with `layer_predictions`.
    """
    total: dict[str, torch.Tensor] = {}
    for name, (logits, boxes) in output.items():
        classification, l1, giou = set_loss(logits, boxes, targets, tokens_of_phrase)
        total[name] = CLASS_WEIGHT * classification + BOX_WEIGHT * l1 + GIOU_WEIGHT * giou
    return {"loss": torch.stack(list(total.values())).sum(), **total}


def layer_predictions(model: Any, output: Any, tokens: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Logits [batch, queries, tokens] and boxes (centre form) of each decoder layer, and of the encoder.

    Args:
        model: the `GroundingDinoForObjectDetection` that gave `output`.
        tokens: length of the prompt; what lies beyond is padding.
    """
    hidden, text = output.intermediate_hidden_states, output.encoder_last_hidden_state_text
    found: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for layer in range(hidden.shape[1]):
        before = output.init_reference_points if layer == 0 else output.intermediate_reference_points[:, layer - 1]
        logits = hidden[:, layer] @ text.transpose(-1, -2)
        boxes = (model.bbox_embed[layer](hidden[:, layer]) + torch.special.logit(before, eps=1e-5)).sigmoid()
        found[f"layer{layer}"] = (logits[..., :tokens], boxes)
    inside = torch.isfinite(output.enc_outputs_coord_logits).all(-1)
    boxes = torch.where(inside[..., None], output.enc_outputs_coord_logits, 0.0).sigmoid()
    logits = torch.where(inside[..., None], output.enc_outputs_class[..., :tokens], -20.0)
    found["encoder"] = (logits, boxes)
    return found
