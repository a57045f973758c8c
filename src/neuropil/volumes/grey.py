"""Grey values of an image of any type scaled to [0, 1], the same for every box, block and worker."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError, tell
from neuropil.geometry import Box
from neuropil.volumes.volume import Index, Volume, WrappedStore

Scale = Literal["auto", "type", "range", "percentiles", "bytes"] | tuple[float, float]
"""auto: 8-bit images by their type, others by their range. type: from 0 to the largest value of an unsigned integer,
all of a signed one, 0 to 1 of a float. range: from the smallest to the largest value. percentiles: from the 0.5th to
the 99.5th. bytes: 8-bit images by their type, others from the smallest to the largest of all values, truncated to 256
steps, as in PyTorch Connectomics. Two numbers: the values that become 0 and 1."""

_SAMPLED = 2**22
"""Voxels up to which an image is read whole; of a larger one as many are read, in blocks on a grid."""

_BLOCK = (8, 64, 64)

_STEPS = 32
"""Steps of a histogram."""
_FLAT, _MOVED, _DISTANT = 0.05, 0.25, 0.2
"""Spread below which an image is flat; how far its middle, and its values on average, may lie from those trained on.
Sections of one stack differ by 0.15 on average."""

_SECTIONS = 16
"""Most sections that are sampled in formats that decompress whole sections."""


@dataclass(frozen=True, eq=False)
class ScaledStore(WrappedStore):
    """An image as float32 in [0, 1]; values beyond low and high are clipped."""

    low: float
    high: float
    path: str
    steps: bool = False
    """Truncate to 256 steps: uint8, which networks divide by 255."""

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8 if self.steps else np.float32)

    def read(self, index: Index) -> npt.NDArray[Any]:
        found = np.asarray(self.inner.read(index), np.float64)
        if not np.isfinite(found).all():
            raise NeuropilError(f"expected finite grey values, got NaN or infinity, in {self.path}; fill them first")
        if self.steps:
            # 1e-6 is added as in PyTorch Connectomics, so that the truncated values are the same.
            return (np.clip((found - self.low) / (self.high - self.low + 1e-6), 0, 1) * 255).astype(np.uint8)
        unit = (found - self.low) / ((self.high - self.low) or 1.0)
        return np.clip(unit, 0, 1).astype(np.float32)

    def write(self, index: Index, array: npt.NDArray[Any]) -> None:
        raise NeuropilError(f"a scaled image is read-only; open {self.path} itself to write")


def scaled_image(image: Volume, scale: Scale = "auto") -> Volume:
    """An image as networks see it: uint8, which they divide by 255, or float32 in [0, 1].

    Raises:
        NeuropilError: values that are not finite where they are sampled, or a scale that does not ascend.

    >>> from neuropil.volumes import array_volume
    >>> bytes_in_16_bits = array_volume(np.arange(256, dtype=np.uint16).reshape(1, 16, 16))
    >>> float(scaled_image(bytes_in_16_bits).read()[0, 0, 1] * 255)
    1.0
    """
    if isinstance(image.store, ScaledStore):
        return image
    found = find_scale(image, scale)
    return image if found is None else scaled_between(image, *found, steps=scale == "bytes")


def scaled_between(image: Volume, low: float, high: float, steps: bool = False) -> Volume:
    """An image as float32, of which ``low`` becomes 0 and ``high`` 1; with ``steps`` as uint8, truncated.

    >>> from neuropil.volumes import array_volume
    >>> scaled_between(array_volume(np.full((1, 1, 1), 30)), 20, 40).read().item()
    0.5
    """
    return Volume(image.path, ScaledStore(image.store, low, high, image.path, steps), image.metadata)


def find_scale(image: Volume, scale: Scale = "auto") -> tuple[float, float] | None:
    """The values that become 0 and 1; None for a uint8 image that stays as it is.

    Raises:
        NeuropilError: as :func:`scaled_image`.

    >>> from neuropil.volumes import array_volume
    >>> find_scale(array_volume(np.linspace(20000, 30000, 8).astype(np.uint16).reshape(2, 2, 2)))
    (20000.0, 30000.0)
    """
    if isinstance(scale, tuple):
        low, high = scale
        if not low < high:
            raise NeuropilError(f"expected a scale of two ascending numbers, got {scale}; see data.intensity.scale")
        return scale
    if scale == "type" or (scale == "auto" and image.dtype in (np.uint8, np.int8, np.bool_)):
        return _of_type(image.dtype)
    if scale == "bytes":
        return None if image.dtype == np.uint8 else _extremes(image)
    values = sample_values(image)
    if scale == "percentiles":
        low, high = (float(n) for n in np.percentile(values, (0.5, 99.5)))
    else:
        low, high = float(values.min()), float(values.max())
    known = _known_depth(values, low, high, image.dtype) if scale == "auto" else (low, high)
    if known is not None and known[0] == known[1]:
        tell(f"all grey values of {image.path} that were sampled are {known[0]:g}")
    return known


def sample_values(image: Volume) -> npt.NDArray[np.float64]:
    """A fixed sample of the whole image: all of a small one, of a large one blocks on a regular grid.

    Raises:
        NeuropilError: NaN or infinity among them.
    """
    paged = image.chunks is not None and image.chunks[-3:] == (1, *image.shape[-2:])
    boxes = [image.box] if image.box.size <= _SAMPLED else _grid(image.box, paged)
    values = np.concatenate([image.read(box).ravel() for box in boxes]).astype(np.float64)
    if not np.isfinite(values).all():
        raise NeuropilError(f"expected finite grey values, got NaN or infinity, in {image.path}; fill them first")
    return values


@dataclass(frozen=True)
class GreyValues:
    """Percentiles and histogram of an image's grey values, scaled to [0, 1] as networks see them.

    Args:
        levels: the 1st, 50th and 99th percentile.
        histogram: share of the voxels in each of 32 even steps from 0 to 1; empty where it is not known.
    """

    levels: tuple[float, float, float]
    histogram: tuple[float, ...] = ()

    @classmethod
    def of(cls, image: Volume) -> GreyValues:
        """Those of a fixed sample of an image, which is as :func:`scaled_image` returns it.

        >>> from neuropil.volumes import array_volume
        >>> GreyValues.of(array_volume(np.full((1, 2, 2), 51, np.uint8))).levels
        (0.2, 0.2, 0.2)
        """
        values = sample_values(image) / (255 if image.dtype == np.uint8 else 1)
        counts = np.histogram(values, _STEPS, (0, 1))[0]
        low, middle, high = (float(n) for n in np.percentile(values, (1, 50, 99)))
        return cls((low, middle, high), tuple(float(n) for n in counts / values.size))

    @classmethod
    def mean(cls, several: Sequence[GreyValues]) -> GreyValues:
        """The mean over volumes."""
        low, middle, high = (float(n) for n in np.mean([one.levels for one in several], axis=0))
        return cls((low, middle, high), tuple(float(n) for n in np.mean([one.histogram for one in several], axis=0)))

    @classmethod
    def stored(cls, info: Mapping[str, Any]) -> GreyValues | None:
        """The grey values of the training images, as a checkpoint stores them; None where it does not."""
        levels, histogram = info.get("grey_levels"), info.get("grey_histogram") or ()
        if levels is None:
            return None
        return cls((float(levels[0]), float(levels[1]), float(levels[2])), tuple(float(n) for n in histogram))

    def to_info(self) -> dict[str, list[float]]:
        """The form that checkpoints store; read by :meth:`stored`."""
        shares = [round(n, 5) for n in self.histogram]
        return {"grey_levels": [round(n, 5) for n in self.levels], "grey_histogram": shares}

    def distance(self, other: GreyValues) -> float | None:
        """Wasserstein distance (earth mover's distance) of the two histograms: 0 equal, 1 black against white. None
        where a histogram is not known.

        >>> GreyValues((0, 0, 0), (1.0, *[0.0] * 31)).distance(GreyValues((1, 1, 1), (*[0.0] * 31, 1.0)))
        0.96875
        """
        if not self.histogram or len(self.histogram) != len(other.histogram):
            return None
        return float(np.abs(np.cumsum(self.histogram) - np.cumsum(other.histogram)).mean())


def far_from(image: GreyValues, trained: GreyValues | None) -> str | None:
    """In words, how grey values differ from those of the training, or that they hardly vary; None where all is well.

    Args:
        image: of the image as the network would see it.
        trained: of the training volumes; None where the checkpoint does not store them.
    """
    (low, middle, high), told = image.levels, f"grey values from {image.levels[0]:.2f} to {image.levels[2]:.2f}"
    if trained is not None:
        spread = max(trained.levels[2] - trained.levels[0], 1e-6)
        narrow = not 0.4 < max(high - low, 1e-6) / spread < 2.5
        moved = image.distance(trained)
        if narrow or abs(middle - trained.levels[1]) > _MOVED or (moved is not None and moved > _DISTANT):
            far = "" if moved is None else f", on average {moved:.2f} away"
            return (
                f"{told}, middle {middle:.2f}; the model was trained on {trained.levels[0]:.2f} to "
                f"{trained.levels[2]:.2f}, middle {trained.levels[1]:.2f}{far}"
            )
    return f"{told} only" if high - low < _FLAT else None


def warn_of_grey(image: Volume, trained: GreyValues | None) -> None:
    """Warn where the grey values that a network would see differ much from those of its training.

    Args:
        image: as :func:`scaled_image` returns it.
        trained: of the training volumes; None where the checkpoint does not store them.
    """
    why = far_from(GreyValues.of(image), trained)
    if why is not None:
        warnings.warn(
            f"{image.path} has, of the range from 0 to 1, {why}: expect worse results; data.intensity.scale says how "
            "grey values are read, `neuropil check` shows them",
            stacklevel=2,
        )


def _extremes(image: Volume) -> tuple[float, float]:
    """The smallest and the largest of all values, read some sections at a time."""
    low, high = np.inf, -np.inf
    step = image.chunks[-3] if image.chunks is not None else 16
    for z in range(0, image.shape[-3], step):
        start, stop = image.box.start, image.box.stop
        part = image.read(Box((start[0] + z, *start[1:]), (min(start[0] + z + step, stop[0]), *stop[1:])))
        low, high = min(low, float(part.min())), max(high, float(part.max()))
    if not np.isfinite([low, high]).all():
        raise NeuropilError(f"expected finite grey values, got NaN or infinity, in {image.path}; fill them first")
    return low, high


def _of_type(dtype: np.dtype[Any]) -> tuple[float, float] | None:
    if dtype == np.uint8:
        return None
    if dtype.kind in "ui":
        return float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    return (0.0, 1.0)


def _known_depth(values: npt.NDArray[np.float64], low: float, high: float, dtype: np.dtype[Any]) -> tuple[float, float]:
    """0 to 1 for floats within it, 0 to 255 for bytes in a wider type (-128 to 127 if signed), else the range found."""
    if dtype.kind == "f" and low >= 0 and high <= 1:
        return (0.0, 1.0)
    if low >= 0 and high <= 255 and bool((values == np.rint(values)).all()):
        return (0.0, 255.0)
    if dtype.kind == "i" and low >= -128 and high <= 127:
        return (-128.0, 127.0)
    return (low, high)


def _grid(whole: Box, paged: bool) -> list[Box]:
    """Blocks at equal distances, together about as many voxels as are sampled."""
    shape = [min(n, b) for n, b in zip(whole.shape, (1, *_BLOCK[1:]) if paged else _BLOCK, strict=True)]
    blocks = _SAMPLED // int(np.prod(shape))
    most = [n // b for n, b in zip(whole.shape, shape, strict=True)]
    most[0] = min(most[0], _SECTIONS) if paged else most[0]
    counts = [1, 1, 1]
    while np.prod(counts) < blocks and counts != most:
        axis = min((a for a in range(3) if counts[a] < most[a]), key=lambda a: counts[a] / most[a])
        counts[axis] += 1
    starts = [
        [a + round(i * (n - b) / max(count - 1, 1)) for i in range(count)]
        for a, n, b, count in zip(whole.start, whole.shape, shape, counts, strict=True)
    ]
    return [Box.at((z, y, x), shape) for z in starts[0] for y in starts[1] for x in starts[2]]
