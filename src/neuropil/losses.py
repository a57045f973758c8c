"""Loss functions: cross-entropy, Dice, focal and squared error over valid edges, and those of PyTorch Connectomics.

All but :func:`classic_loss` are quotients of sums. ``across`` adds the sums of all devices before the division, so
that two devices with a batch of b give the same gradient as one device with 2b.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from neuropil import _native

Across = Callable[[Tensor], Tensor]
"""From a sum over this device's batch to the sum over all devices; the gradient is that of this device's part."""


def alone(total: Tensor) -> Tensor:
    """``across`` for a single device: the sum itself.

    >>> alone(torch.tensor(3)).item()
    3
    """
    return total


def class_weights(
    target_BEZYX: Tensor, validity_BEZYX: Tensor, cap: float, across: Across = alone
) -> tuple[Tensor, Tensor]:
    """Weights of positive and negative edges of each channel that give both classes the same total weight.

    A weight is (all edges) / (2 · edges of the class), at most ``cap``; if a class is absent both weights are 1.
    Returns two float tensors ``[E]``, computed from the valid edges of the whole batch.

    >>> target = torch.tensor([1, 1, 1, 0]).bool().reshape(1, 1, 1, 1, 4)
    >>> [w.item() for w in class_weights(target, torch.ones_like(target), cap=10.0)]
    [0.6666666865348816, 2.0]
    """
    return _weights_of(across(_counts(target_BEZYX, validity_BEZYX)), cap)


def _counts(target_BEZYX: Tensor, validity_BEZYX: Tensor) -> Tensor:
    """Number of positive and of all valid edges of each channel: ``[2, E]``."""
    parts = (target_BEZYX & validity_BEZYX, validity_BEZYX)
    if target_BEZYX.device.type != "cpu":
        return _by_sums(*parts)
    # Per channel, because count_nonzero is twenty times faster than the sum of booleans over several axes.
    counts = [part[:, e].count_nonzero() for part in parts for e in range(part.shape[1])]
    return torch.stack(counts).view(2, -1)


def _by_sums(*parts: Tensor) -> Tensor:
    """Number of True in each channel: ``[parts, E]``, in few kernels, for GPUs."""
    return torch.stack([part.sum((0, 2, 3, 4)) for part in parts])


def _weights_of(counts_2E: Tensor, cap: float) -> tuple[Tensor, Tensor]:
    """Weights of positive and negative edges, from the numbers of positive and of all edges."""
    positive, total = counts_2E.float()
    both = torch.stack([positive, total - positive])
    weights = (total / (2 * both.clamp(min=1))).clamp(max=cap)
    up, down = torch.where(both.amin(0) > 0, weights, torch.ones_like(weights))
    return up, down


class _Wrong(torch.autograd.Function):
    """Weighted cross-entropy: the sum over valid edges of weight · (softplus(z) - smoothing · z).

    z is the logit of a negative edge, and minus the logit of a positive one, so that z > 0 where the network is wrong:
    cross-entropy against the target is softplus(z), against the opposite softplus(z) − z. ``weights_2E`` are the
    weights of positive and of negative edges. The gradient is computed in the forward pass and saved, which takes less
    memory than saving what it depends on.
    """

    @staticmethod
    def forward(
        ctx: Any, logits_BEZYX: Tensor, target_BEZYX: Tensor, validity_BEZYX: Tensor, weights_2E: Tensor, smooth: float
    ) -> Tensor:
        there_EZYX, not_there_EZYX = weights_2E[..., None, None, None]
        weight = torch.where(validity_BEZYX, torch.where(target_BEZYX, there_EZYX, not_there_EZYX), 0.0)
        side = torch.where(target_BEZYX, -1.0, 1.0)
        z = logits_BEZYX.to(torch.float32, memory_format=torch.contiguous_format, copy=True).mul_(side)
        cost = F.softplus(z)
        if smooth:
            cost.sub_(z, alpha=smooth)
        total = torch.dot(cost.view(-1), weight.view(-1))
        if ctx.needs_input_grad[0]:
            slope = torch.sigmoid_(z)
            slope = slope.sub_(smooth) if smooth else slope
            ctx.save_for_backward(slope.mul_(side).mul_(weight))
            ctx.kind = logits_BEZYX.dtype
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return torch.mul(slope, gradient, out=torch.empty_like(slope, dtype=ctx.kind)), None, None, None, None


class _WrongOnProcessor(torch.autograd.Function):
    """The same on the CPU, by native loops for the loss and the gradient: faster, without intermediate tensors."""

    @staticmethod
    def forward(
        ctx: Any, logits_BEZYX: Tensor, target_BEZYX: Tensor, validity_BEZYX: Tensor, weights_2E: Tensor, smooth: float
    ) -> Tensor:
        known = logits_BEZYX.dtype in (torch.float32, torch.bfloat16)
        given = (logits_BEZYX if known else logits_BEZYX.float(), target_BEZYX, validity_BEZYX)
        logits, target, validity = (part.detach().flatten(2).contiguous() for part in given)
        weights = weights_2E.float()
        ctx.save_for_backward(logits, target, validity, weights)
        ctx.kind, ctx.shape, ctx.smooth = logits_BEZYX.dtype, logits_BEZYX.shape, smooth
        edges, threads = (target.numpy(), validity.numpy(), weights.numpy()), torch.get_num_threads()
        return torch.tensor(_native.edge_cost(_array(logits), *edges, smooth, threads))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        logits, target, validity, weights = ctx.saved_tensors
        slope, factor, threads = torch.empty_like(logits), gradient.item(), torch.get_num_threads()
        edges = target.numpy(), validity.numpy(), weights.numpy()
        _native.edge_slopes(_array(logits), *edges, ctx.smooth, factor, _array(slope), threads)
        return slope.to(ctx.kind).reshape(ctx.shape), None, None, None, None


def _array(logits: Tensor) -> Any:
    """Logits on the CPU as a NumPy array; bfloat16, which NumPy does not have, as uint16."""
    return (logits.view(torch.uint16) if logits.dtype == torch.bfloat16 else logits).numpy()


def balanced_bce(
    logits_BEZYX: Tensor,
    target_BEZYX: Tensor,
    validity_BEZYX: Tensor,
    *,
    class_balance: bool = True,
    weight_cap: float = 10.0,
    label_smoothing: float = 0.0,
    edge_weights: Tensor | None = None,
    across: Across = alone,
) -> Tensor:
    """Mean binary cross-entropy over valid edges, with classes balanced per channel.

    Args:
        logits_BEZYX: float, before the sigmoid.
        target_BEZYX: bool, whether the edge joins two voxels of one neuron.
        validity_BEZYX: bool, which edges count; the others do not affect the loss.
        class_balance: weigh the classes of each channel equally (see :func:`class_weights`).
        weight_cap: largest weight of the rarer class.
        label_smoothing: train towards s and 1 − s instead of 0 and 1.
        edge_weights: ``[E]``, weight of each channel; None: all equal.
        across: adds up over devices.

    Returns:
        A float32 scalar; 0 where no edge is valid.

    >>> logits = torch.zeros(1, 3, 2, 4, 4)
    >>> mask = torch.ones(1, 3, 2, 4, 4, dtype=torch.bool)
    >>> round(balanced_bce(logits, mask, mask).item(), 4)
    0.6931
    """
    counts = across(_counts(target_BEZYX, validity_BEZYX))
    both = _weights_of(counts, weight_cap) if class_balance else torch.ones_like(counts).float()
    weights_2E = torch.stack([*both])
    if edge_weights is not None:
        weights_2E = weights_2E * edge_weights
    wrong = _WrongOnProcessor if logits_BEZYX.device.type == "cpu" else _Wrong
    total: Tensor = wrong.apply(logits_BEZYX, target_BEZYX, validity_BEZYX, weights_2E, label_smoothing)  # type: ignore[no-untyped-call]
    return across(total) / counts[1].sum().clamp(min=1)


def soft_bce(logits_BEZYX: Tensor, soft_BEZYX: Tensor, validity_BEZYX: Tensor, across: Across = alone) -> Tensor:
    """Mean cross-entropy against the probabilities of another network (G. Hinton et al. 2015, arXiv:1503.02531).

    Classes are not balanced: the probabilities of a teacher trained with balanced classes are balanced already.

    Args:
        logits_BEZYX: float, before the sigmoid.
        soft_BEZYX: float in [0, 1].
        validity_BEZYX: bool, which edges the teacher has.
        across: adds up over devices.

    >>> half = torch.full((1, 1, 1, 2, 2), 0.5)
    >>> round(soft_bce(torch.zeros(half.shape), half, half > 0).item(), 4)
    0.6931
    """
    logits = logits_BEZYX.float()
    loss = F.softplus(logits) - soft_BEZYX * logits
    total = torch.dot(loss.flatten(), validity_BEZYX.float().flatten())
    return across(total) / across(validity_BEZYX.count_nonzero()).clamp(min=1)


def dice(logits_BEZYX: Tensor, target_BEZYX: Tensor, validity_BEZYX: Tensor, across: Across = alone) -> Tensor:
    """One minus the soft Dice overlap of each channel over its valid edges, averaged over channels.

    With squared probabilities in the denominator (F. Milletari et al. 2016, arXiv:1606.04797). A channel with no valid
    edge counts as perfect.

    >>> target = torch.ones(1, 2, 1, 2, 2, dtype=torch.bool)
    >>> round(dice(torch.full(target.shape, 20.0), target, target).item(), 4)
    0.0
    """
    axes = (0, 2, 3, 4)
    valid = validity_BEZYX.float()
    probability, truth = logits_BEZYX.float().sigmoid() * valid, target_BEZYX.float() * valid
    sums = [(probability * truth).sum(axes), (probability**2).sum(axes), truth.sum(axes)]
    both, predicted, true = across(torch.stack(sums))
    lost: Tensor = 1 - (2 * both + 1) / (predicted + true + 1)
    return lost.mean()


def focal(
    logits_BEZYX: Tensor, target_BEZYX: Tensor, validity_BEZYX: Tensor, gamma: float = 2.0, across: Across = alone
) -> Tensor:
    """Focal loss: mean cross-entropy over valid edges, each weighted by (1 − p)^gamma, p the probability of its target.

    T.-Y. Lin et al. 2017, arXiv:1708.02002.

    >>> target = torch.ones(1, 1, 1, 2, 2, dtype=torch.bool)
    >>> round(focal(torch.zeros(target.shape), target, target).item(), 4)
    0.1733
    """
    logits = logits_BEZYX.float()
    z = torch.where(target_BEZYX, -logits, logits)
    loss = z.sigmoid() ** gamma * F.softplus(z)
    total: Tensor = (loss * validity_BEZYX).sum()
    return across(total) / across(validity_BEZYX.count_nonzero()).clamp(min=1)


def squared_error(
    predicted_BCZYX: Tensor, target_BCZYX: Tensor, validity_BCZYX: Tensor, across: Across = alone
) -> Tensor:
    """Mean squared difference over valid voxels, of values that are already in the target's range.

    >>> seen = torch.tensor([True, False]).reshape(1, 1, 1, 1, 2)
    >>> squared_error(torch.full(seen.shape, 0.5), seen.float(), seen).item()
    0.25
    """
    difference = (predicted_BCZYX.float() - target_BCZYX.float()) ** 2
    return across((difference * validity_BCZYX).sum()) / across(validity_BCZYX.count_nonzero()).clamp(min=1)


ClassicLoss = Literal["bce", "focal", "mse", "mae", "dice", "ws_dice"]
LossActivation = Literal["none", "sigmoid", "tanh"]
Balance = Literal["none", "rare", "grown"]


def classic_weights(target_BCZYX: Tensor, validity_BCZYX: Tensor, balance: Balance = "rare") -> Tensor:
    """Weights of voxels as in PyTorch Connectomics: in each sample the rarer class gets the total weight of the other.

    The share of positives is taken over all channels and limited to 5 … 95 %; a sample of one class has weight 1.

    Args:
        target_BCZYX: bool.
        validity_BCZYX: bool; where it is False the weight is 0.
        balance: ``rare``: as above (``"1"`` in PyTorch Connectomics); ``grown``: positives are dilated by a voxel in
            each section first (``"1-1"``); ``none``: 1 where valid (``"0"``).

    >>> target = torch.tensor([1, 1, 1, 0]).bool().reshape(1, 1, 1, 1, 4)
    >>> classic_weights(target, torch.ones_like(target)).flatten().tolist()
    [1.0, 1.0, 1.0, 3.0]
    """
    valid = validity_BCZYX.float().expand(target_BCZYX.shape)
    if balance == "none":
        return valid
    axes = (1, 2, 3, 4)
    positive = (target_BCZYX & validity_BCZYX).sum(axes, keepdim=True).float()
    total = valid.sum(axes, keepdim=True)
    both = (positive > 0) & (positive < total)
    share = (positive / total.clamp(min=1)).clamp(0.05, 0.95)
    shown = target_BCZYX
    if balance == "grown":
        flat = target_BCZYX.flatten(0, 2).float()[:, None]
        shown = F.max_pool2d(flat, 3, 1, 1)[:, 0].reshape(target_BCZYX.shape) > 0
    rare = torch.where(shown, ((1 - share) / share).clamp(min=1), (share / (1 - share)).clamp(min=1))
    return torch.where(both, rare, torch.ones_like(rare)) * valid


def classic_loss(
    kind: ClassicLoss,
    logits_BCZYX: Tensor,
    target_BCZYX: Tensor,
    weight_BCZYX: Tensor | None = None,
    activation: LossActivation = "sigmoid",
) -> Tensor:
    """A loss of PyTorch Connectomics, on one target of one device; a scalar.

    Cross-entropies take logits, whatever the activation, because they include the sigmoid. ``mse`` sums over channels
    and averages over voxels; ``dice`` is computed per sample over all channels, with 100 added to numerator and
    denominator, and without weights; ``ws_dice`` (weighted squared Dice) is its form for values from -1 to 1.

    Args:
        kind: the loss.
        logits_BCZYX: float, before any activation.
        target_BCZYX: bool or float.
        weight_BCZYX: weight of each voxel; None: all 1.
        activation: applied to the logits first.

    >>> target = torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 1, 2)
    >>> round(classic_loss("bce", torch.zeros_like(target), target).item(), 4)
    0.6931
    """
    logits, target = logits_BCZYX.float(), target_BCZYX.float()
    weight = torch.ones_like(target) if weight_BCZYX is None else weight_BCZYX
    if kind == "bce":
        return F.binary_cross_entropy_with_logits(logits, target, weight)
    if kind == "focal":
        p = logits.sigmoid()
        fading = 0.75 * target * (1 - p) ** 2 + 0.25 * (1 - target) * p**2
        cost = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return (cost * fading * weight).mean()
    predicted = {"none": logits, "sigmoid": logits.sigmoid(), "tanh": logits.tanh()}[activation]
    if kind == "mse":
        return (weight * (predicted - target) ** 2).sum() * logits.shape[1] / logits.numel()
    if kind == "mae":
        return (weight * (predicted - target).abs()).mean()
    predicted, target = predicted.flatten(1), target.flatten(1)
    if kind == "dice":
        both, either = (predicted * target).sum(1), (predicted + target).sum(1)
        return (1 - (2 * both + 100) / (either + 100)).mean()
    share = 0.15 + 0.7 * target
    found, true = share * (2 * predicted - 1), share * (2 * target - 1)
    either = (found**2).sum(1) + (true**2).sum(1)
    return (1 - (2 * (found * true).sum(1) + 100) / (either + 100)).mean()
