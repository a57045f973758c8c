"""Judge a prediction while training: binary cross-entropy on valid edges, balanced per channel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def class_weights(target_BEZYX: Tensor, validity_BEZYX: Tensor, cap: float) -> tuple[Tensor, Tensor]:
    """Weights of positive and negative edges of each channel, so that both classes count alike in the sum.

    A class that is ``cap`` times rarer than its share or more is not raised further, and a class that is absent
    leaves the other at weight 1. Returns two float tensors ``[E]``; computed from the valid edges of the whole batch.

    >>> target = torch.tensor([1, 1, 1, 0]).bool().reshape(1, 1, 1, 1, 4)
    >>> [w.item() for w in class_weights(target, torch.ones_like(target), cap=10.0)]
    [0.6666666865348816, 2.0]
    """
    axes = (0, 2, 3, 4)
    positive = (target_BEZYX & validity_BEZYX).sum(axes).float()
    total = validity_BEZYX.sum(axes).float()
    negative = total - positive
    both = (positive > 0) & (negative > 0)

    def weight(count: Tensor) -> Tensor:
        return torch.where(both, (total / (2 * count.clamp(min=1))).clamp(max=cap), torch.ones_like(count))

    return weight(positive), weight(negative)


def balanced_bce(
    logits_BEZYX: Tensor,
    target_BEZYX: Tensor,
    validity_BEZYX: Tensor,
    *,
    class_balance: bool = True,
    weight_cap: float = 10.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean binary cross-entropy over valid edges, positive and negative ones balanced per channel.

    Args:
        logits_BEZYX: float, before the sigmoid.
        target_BEZYX: bool, whether the edge joins two voxels of one neuron.
        validity_BEZYX: bool, which edges count; the others do not touch the loss at all.
        class_balance: weigh the classes of each channel equally (see :func:`class_weights`).
        weight_cap: largest weight of the rarer class.
        label_smoothing: train towards s and 1 − s instead of 0 and 1.

    Returns:
        A float32 scalar; 0 where no edge is valid.

    >>> logits = torch.zeros(1, 3, 2, 4, 4)
    >>> mask = torch.ones(1, 3, 2, 4, 4, dtype=torch.bool)
    >>> round(balanced_bce(logits, mask, mask).item(), 4)
    0.6931
    """
    # z > 0 where the network is wrong. Cross-entropy against t is softplus(z), and against 1 − t it is softplus(z) − z,
    # which in this form costs half the passes over memory of the library's function with a weight.
    logits = logits_BEZYX.float()
    z = torch.where(target_BEZYX, -logits, logits)
    loss = F.softplus(z)
    if label_smoothing:
        loss = loss - label_smoothing * z
    weight = validity_BEZYX.float()
    if class_balance:
        up, down = (w[:, None, None, None] for w in class_weights(target_BEZYX, validity_BEZYX, weight_cap))
        weight = weight * torch.where(target_BEZYX, up, down)
    return torch.dot(loss.flatten(), weight.flatten()) / validity_BEZYX.sum().clamp(min=1)
