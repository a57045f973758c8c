"""Muon: momentum for kernels whose update is made orthogonal; Adam for all other weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of one step of Newton-Schulz: p(s) = a s + b s³ + c s⁵ for each singular value s; those of Jordan."""

STEPS = 5
"""Steps after which singular values above a thousandth of the norm are between 0.68 and 1.13."""


RMS = 0.2
"""Root mean square of an update of a kernel, as a share of the learning rate."""


class Muon(torch.optim.AdamW):
    """Muon for groups with ``orthogonal=True``, AdamW for the others.

    A kernel is a matrix, its output channels by all else. Its update has the directions of the momentum of the gradient
    but all of equal length, where Adam's is ruled by few. It is scaled to a root mean square of 0.2 times the learning
    rate, about that of Adam's.

    Args:
        groups: groups of parameters; those with ``orthogonal`` need parameters with at least two axes.
        lr: learning rate.
        betas: of Adam, for the other groups.
        momentum: decay of the average of gradients, for orthogonal groups; Nesterov's.
        fused: Adam's, see :class:`torch.optim.AdamW`.

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the scale is that of Liu et
    al. 2025 (arXiv 2502.16982).

    >>> kernel = torch.nn.Parameter(torch.zeros(2, 2, 1, 1, 1))
    >>> kernel.grad = torch.tensor([100.0, 0, 0, 1]).view_as(kernel)
    >>> Muon([{"params": [kernel], "orthogonal": True, "weight_decay": 0}], lr=1).step()
    >>> [f"{length:.2f}" for length in torch.linalg.svdvals(kernel.detach().flatten(1))]
    ['0.20', '0.20']
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        momentum: float = 0.95,
        fused: bool | None = None,
    ) -> None:
        held = [{"orthogonal": False, "momentum": momentum, **group} for group in groups]
        super().__init__(held, lr=lr, betas=betas, fused=fused)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Change all parameters that have a gradient. Gradients of orthogonal groups are used up: they become None."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["orthogonal"]:
                self._step_orthogonal(group)
        super().step()
        return loss

    def _step_orthogonal(self, group: dict[str, Any]) -> None:
        """Kernels of one shape are made orthogonal together, which saves calls on a GPU."""
        alike: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
        for kernel in group["params"]:
            if kernel.grad is not None:
                alike[tuple(kernel.shape)].append(kernel)
        for kernels in alike.values():
            gradients = [kernel.grad for kernel in kernels if kernel.grad is not None]
            averages = []
            for kernel in kernels:
                state = self.state[kernel]
                if not state:
                    state["step"], state["average"] = torch.zeros(()), torch.zeros_like(kernel)
                state["step"] += 1  # not used, but AdamW expects it in a state that it loads
                averages.append(state["average"])
            torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
            ahead = torch._foreach_lerp(gradients, averages, group["momentum"])
            updates = orthogonal(torch.stack([one.flatten(1) for one in ahead]))
            scale = RMS * max(updates.shape[1:]) ** 0.5
            torch._foreach_mul_(kernels, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(
                kernels, [u.view_as(k) for u, k in zip(updates, kernels, strict=True)], alpha=-group["lr"] * scale
            )
            for kernel in kernels:
                kernel.grad = None


def orthogonal(matrices: Tensor) -> Tensor:
    """Nearly the nearest orthogonal matrix of each: its singular vectors, with singular values near 1.

    Newton-Schulz on the small product of the matrix with itself, so that the matrix itself is multiplied only twice.

    Args:
        matrices: [..., rows, columns] of floats.

    Returns:
        float32 of the same shape; singular values between 0.68 and 1.13 where the given ones are more than about a
        thousandth of their norm.

    >>> [f"{length:.1f}" for length in torch.linalg.svdvals(orthogonal(torch.diag(torch.tensor([3.0, 0.1, 0.0]))))]
    ['1.1', '0.7', '0.0']
    """
    if matrices.shape[-2] > matrices.shape[-1]:
        return orthogonal(matrices.mT).mT
    matrices = matrices.float()
    matrices = matrices / matrices.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-12)
    gram = matrices @ matrices.mT
    a, b, c = NEWTON_SCHULZ
    one = torch.eye(gram.shape[-1], device=gram.device)
    product = one
    for _ in range(STEPS):
        factor = a * one + b * gram + c * gram @ gram
        product = factor @ product
        gram = factor @ gram @ factor
    return product @ matrices
