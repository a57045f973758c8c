"""Prediction at another voxel size: tiles are resampled to the model's voxel size, affinities back to the image's grid.

Sampling is linear along each axis, at the centres of voxels. Affinities are sampled at the middle between the two
voxels of an edge. If the image is finer than the model, they are interpolated there. If it is coarser, its edge crosses
up to two edges of the model along its axis, and takes the lower one.

Shape suffixes: B batch, Z Y X space.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from neuropil.augment import edges_inside
from neuropil.errors import NeuropilError
from neuropil.geometry import Triple, VoxelSize
from neuropil.inference.engine import Engine
from neuropil.inference.symmetries import combine_views
from neuropil.models.checkpoint import Model
from neuropil.volumes import Volume

FARTHEST = 2.0
"""The largest factor between the voxel sizes of image and model, on any axis."""

Factors = tuple[float, float, float]
"""Voxels of the model's grid for one of the image's, (z, y, x)."""


def factors(image: VoxelSize | None, model: VoxelSize | None, path: str) -> Factors:
    """Voxels of the model's grid for one voxel of the image, on each axis.

    Raises:
        NeuropilError: one of the sizes is not known, or they differ by more than a factor of 2 on some axis.

    >>> factors((30, 9, 9), (30, 6, 6), "a.h5")
    (1.0, 1.5, 1.5)
    """
    if image is None or model is None:
        raise NeuropilError(
            f"--resample: expected the voxel sizes of image and model, got {image} and {model}, in {path}; "
            "`neuropil convert IMAGE COPY --voxel-size Z,Y,X` stores one"
        )
    z, y, x = (a / b for a, b in zip(image, model, strict=True))
    if not all(1 / FARTHEST <= f <= FARTHEST for f in (z, y, x)):
        raise NeuropilError(
            f"--resample: expected voxels within a factor of {FARTHEST:g} of the model's {_nm(model)}, got "
            f"{_nm(image)}, in {path}; take a model for such images (`neuropil models`), or train one"
        )
    return (z, y, x)


def resampling_line(image: Volume, model: Model) -> str:
    """A line that says how an image is resampled.

    Raises:
        NeuropilError: as :func:`factors`.
    """
    factors(image.metadata.voxel_size, model.voxel_size, image.path)
    size, own = (_nm(n) for n in (image.metadata.voxel_size, model.voxel_size) if n is not None)
    return f"resampled from {size} to the model's {own}; affinities are on the image's grid"


def _nm(size: VoxelSize) -> str:
    return "×".join(f"{n:g}" for n in size) + " nm"


@dataclass(frozen=True)
class ResamplingEngine(Engine):
    """An engine that resamples tiles to the model's voxel size, and affinities back.

    >>> from neuropil.geometry import NEAREST
    >>> same = ResamplingEngine(lambda i: i.expand(-1, 3, -1, -1, -1), NEAREST, NEAREST, factor=(1, 1.5, 1.5))
    >>> tuple(same.affinities(torch.rand(2, 4, 10, 12)).shape)
    (2, 3, 4, 10, 12)
    """

    factor: Factors = (1.0, 1.0, 1.0)

    @torch.inference_mode()
    def affinities(self, image_BZYX: Tensor) -> Tensor:
        """Affinities of a batch of tiles on the grid of the image: float32 ``[B, len(keep), Z, Y, X]``."""
        shape = image_BZYX.shape[1:]
        image = self.shown(image_BZYX)
        there = [max(round(n * f), 2) for n, f in zip(shape, self.factor, strict=True)]
        for axis, (n, m) in enumerate(zip(shape, there, strict=True), start=1):
            if n != m:
                image = _sampled(image, axis, (torch.arange(m, device=self.device) + 0.5) * n / m - 0.5)
        found = combine_views(image, self._probabilities, self.offsets, self.keep, self.tta, self.mode)
        self.check(found)
        back = [_returned(found[:, e], offset, shape) for e, offset in enumerate(self.keep)]
        return torch.stack(back, dim=1)


def _returned(found_BZYX: Tensor, offset: Triple, shape: torch.Size) -> Tensor:
    """Resample one channel from the model's grid to the image's; edges that leave the image are 0."""
    inside = edges_inside(offset, found_BZYX.shape[1:])
    out = found_BZYX
    for axis, (n, o) in enumerate(zip(shape, offset, strict=True)):
        m, valid = out.shape[axis + 1], inside[axis]
        if n == m:
            continue
        scale = m / n
        # The position on the model's grid whose edge has the same middle as the image's edge.
        places = (torch.arange(n, device=out.device) + 0.5) * scale - 0.5 + o * (scale - 1) / 2
        half = abs(o) * max(scale - 1, 0.0) / 2
        ends = [_sampled(out, axis + 1, (places + d).clamp(valid.start, valid.stop - 1)) for d in {-half, half}]
        out = ends[0] if len(ends) == 1 else torch.minimum(ends[0], ends[1])
    kept = torch.zeros_like(out)
    place = edges_inside(offset, shape)
    kept[:, *place] = out[:, *place]
    return kept


def _sampled(x_BZYX: Tensor, axis: int, places: Tensor) -> Tensor:
    """Linear interpolation along an axis; positions beyond its ends take the values of the ends."""
    last = x_BZYX.shape[axis] - 1
    places = places.clamp(0, last)
    low = places.floor().long()
    shape = [1] * x_BZYX.ndim
    shape[axis] = -1
    share = (places - low).to(x_BZYX.dtype).view(shape)
    high = (low + 1).clamp(max=last)
    return x_BZYX.index_select(axis, low) * (1 - share) + x_BZYX.index_select(axis, high) * share


def voxels_of_image(count: int, factor: Factors) -> int:
    """The number of image voxels with the volume of ``count`` model voxels; at least 1 unless ``count`` is 0.

    >>> voxels_of_image(400, (1, 2, 2))
    100
    """
    return max(round(count / prod(factor)), min(count, 1))
