"""``TestAugmentor``: test-time augmentation, a network's output combined over several views of its input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neuropil.augment import apply_symmetry, undone
from neuropil.choices import TtaMode
from neuropil.compat.connectomics.config import Cfg
from neuropil.compat.pytc.inference import VIEWS
from neuropil.errors import NeuropilError
from neuropil.inference.symmetries import symmetries


class TestAugmentor:
    """The mean, minimum or maximum of a network's outputs in 1, 4, 8 or 16 views.

    Views are undone voxel by voxel, as in PyTorch Connectomics, although a flip moves affinities to the other end of
    their edge. ``neuropil predict`` undoes views edge by edge.

    Args:
        mode: ``mean``, ``min`` or ``max``.
        do_2d: inputs are [batch, channel, y, x]; at most 8 views.
        num_aug: 4, 8, 16, or None or 0 for one view.
        scale_factors: [1, 1, 1].
        inference_act: activation applied to each output; None: none (the classic class then runs the network twice).

    Raises:
        NeuropilError: another mode or number, or a scale.

    >>> augmentor = TestAugmentor(num_aug=8)
    >>> augmentor(torch.nn.Identity(), torch.rand(1, 1, 4, 8, 8)).shape, augmentor.update_name("result.h5")
    ((1, 1, 4, 8, 8), 'result_txy.h5')
    """

    __test__ = False  # pytest would take it for a test

    def __init__(
        self,
        mode: TtaMode = "mean",
        do_2d: bool = False,
        num_aug: int | None = None,
        scale_factors: Sequence[float] = (1.0, 1.0, 1.0),
        inference_act: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        if mode not in ("mean", "min", "max"):
            raise NeuropilError(f"TestAugmentor: expected mode mean, min or max, got {mode!r}")
        if num_aug not in (None, 0, 4, 8, 16):
            raise NeuropilError(f"TestAugmentor: expected num_aug 4, 8, 16 or None, got {num_aug}")
        if any(factor != 1 for factor in scale_factors):
            raise NeuropilError(f"TestAugmentor: expected scale_factors of 1, got {list(scale_factors)}")
        self.mode, self.do_2d, self.inference_act = mode, do_2d, inference_act
        self.num_aug = min(num_aug, 8) if do_2d and num_aug else num_aug or None

    def __call__(self, model: Callable[[Tensor], Any], data: Tensor) -> npt.NDArray[np.float32]:
        """The output for a batch [batch, channel, z, y, x], or in 2-D [batch, channel, y, x], on the CPU."""
        if data.ndim != (4 if self.do_2d else 5):
            raise NeuropilError(f"expected a batch of {'four' if self.do_2d else 'five'} axes, got {tuple(data.shape)}")
        whole = data[:, :, None] if self.do_2d else data
        out: Tensor | None = None
        views = symmetries(self.num_aug or 1)
        for view in views:
            turned = apply_symmetry(whole, view)
            answer = model(turned[:, :, 0] if self.do_2d else turned)
            answer = next(iter(answer.values())) if isinstance(answer, dict) else answer
            answer = answer if self.inference_act is None else self.inference_act(answer)
            found = undone(answer[:, :, None] if self.do_2d else answer, view).detach().float().cpu()
            out = found if out is None else _joined(out, found, self.mode)
        assert out is not None
        out = out / len(views) if self.mode == "mean" else out
        return (out[:, :, 0] if self.do_2d else out).numpy()

    def update_name(self, name: str) -> str:
        """The file name for predictions in these views: ``result_xy.h5``, ``_txy``, ``_txyz``."""
        path = Path(name)
        return str(path.with_name(f"{path.stem}{VIEWS.get(self.num_aug or 1, '')}{path.suffix}"))

    @classmethod
    def build_from_cfg(cls, cfg: Cfg, activation: bool = True) -> TestAugmentor:
        """The augmentor of section ``INFERENCE``; ``activation`` applies a sigmoid to outputs."""
        act = torch.sigmoid if activation else None
        return cls(cfg.INFERENCE.AUG_MODE, bool(cfg.DATASET.DO_2D), cfg.INFERENCE.AUG_NUM, inference_act=act)


def _joined(one: Tensor, other: Tensor, mode: TtaMode) -> Tensor:
    if mode == "mean":
        return one + other
    return torch.minimum(one, other) if mode == "min" else torch.maximum(one, other)
