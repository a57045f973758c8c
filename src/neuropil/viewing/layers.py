"""The layers of the viewer: volumes, how each is shown, and the voxels that Neuroglancer requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from threading import Lock
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuropil.errors import NeuropilError
from neuropil.geometry import NEAREST, Box, VoxelSize
from neuropil.viewing.colours import affinity_rgb
from neuropil.volumes import Volume

LayerKind = Literal["image", "affinities", "segmentation"]
"""An image in grey, affinities as RGB, ids in colours."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One volume and how it is shown."""

    name: str
    kind: LayerKind
    volume: Volume
    is_truth: bool = False
    """Labels that segmentations are compared with."""

    @property
    def voxel_size(self) -> VoxelSize:
        """nm, z y x; 1 if none is stored."""
        return self.volume.metadata.voxel_size or (1.0, 1.0, 1.0)


def layers_of(
    volumes: Sequence[Volume], labels: Volume | None = None, voxel_size: VoxelSize | None = None
) -> list[Layer]:
    """Decide for each volume whether it is an image, affinities or a segmentation.

    A volume with four axes is affinities. The first volume of floats or of integers of one or two bytes is the image;
    all other integers are segmentations.

    Args:
        volumes: in the order in which they are shown.
        labels: the truth, of any integer type; shown last.
        voxel_size: nm, z y x, for volumes that store none; by default that of another volume.

    Raises:
        NeuropilError: nothing to show, affinities without the nearest edges, or a second volume of floats.

    >>> from neuropil.volumes import array_volume
    >>> volumes = [array_volume(np.zeros((2, 8, 8), kind)) for kind in ("u1", "u2", "u8")]
    >>> [layer.kind for layer in layers_of(volumes)]
    ['image', 'segmentation', 'segmentation']
    """
    if not volumes and labels is None:
        raise NeuropilError("nothing to show: name an image, affinities, segmentations, or --labels")
    given = [*volumes, *([labels] if labels else [])]
    known = voxel_size or next((v.metadata.voxel_size for v in given if v.metadata.voxel_size), None)
    layers: list[Layer] = []
    for volume in given:
        sized = replace(volume, metadata=replace(volume.metadata, voxel_size=volume.metadata.voxel_size or known))
        kind: LayerKind = "segmentation" if volume is labels else _kind(sized, [layer.kind for layer in layers])
        layers.append(Layer(_name(volume, layers), kind, _checked(sized, kind), volume is labels))
    return layers


def _middle(volume: Volume) -> NDArray[Any]:
    """The centre of the middle section, at most 1024² voxels."""
    start, (depth, high, wide) = volume.box.start, volume.box.shape
    part = Box.at((depth // 2, max(0, high // 2 - 512), max(0, wide // 2 - 512)), (1, min(high, 1024), min(wide, 1024)))
    return volume.read(part.shift(start))


def _kind(volume: Volume, before: Sequence[LayerKind]) -> LayerKind:
    if len(volume.shape) == 4:
        return "affinities"
    grey = volume.dtype.kind == "f" or (volume.dtype.kind in "ui" and volume.dtype.itemsize <= 2)
    if grey and "image" not in before:
        return "image"
    if volume.dtype.kind == "f":
        raise NeuropilError(f"{volume.path} holds {volume.dtype}: a segmentation has integers, and one image is enough")
    return "segmentation"


def _checked(volume: Volume, kind: LayerKind) -> Volume:
    """The volume after checks; affinities get default offsets, which their colours need."""
    if kind == "segmentation" and (len(volume.shape) != 3 or volume.dtype.kind not in "bui"):
        raise NeuropilError(f"expected integer ids [z, y, x], got {volume.dtype} {volume.shape}, in {volume.path}")
    if kind == "affinities":
        if volume.metadata.offsets is None and volume.shape[0] == len(NEAREST):
            volume = replace(volume, metadata=replace(volume.metadata, offsets=NEAREST))
        probe = np.zeros((volume.shape[0], 1, 1, 1), np.uint8)
        affinity_rgb(probe, 0, volume.metadata.offsets)  # refuses what has no nearest edges
    return volume


def _name(volume: Volume, layers: Sequence[Layer]) -> str:
    """A unique name: the last part of the path that is not the default array's name, with a number if it is taken."""
    parts = [part for part in PurePosixPath(volume.path).parts if part not in ("main", "/", "0")]
    name = parts[-1] if parts else volume.path
    taken = {layer.name for layer in layers}
    return next(n for n in (name, *(f"{name} ({k})" for k in range(2, len(taken) + 3))) if n not in taken)


class LayerVoxels:
    """A layer as the array ``[x, y, z]`` or ``[x, y, z, 3]`` that Neuroglancer slices; only these voxels are read.

    Ids are unsigned integers, images as stored (int64 and all floats as float32), affinities uint8 RGB.

    >>> from neuropil.volumes import array_volume
    >>> ids = array_volume(np.arange(24, dtype=np.uint32).reshape(2, 3, 4))
    >>> voxels = LayerVoxels(layers_of([ids])[0])
    >>> voxels.shape, voxels[1:3, 2:3, 0:1].tolist()
    ((4, 3, 2), [[[9]], [[10]]])
    """

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._lock = Lock()  # not every format can be read by several threads at once
        z, y, x = layer.volume.box.shape
        self.shape: tuple[int, ...] = (x, y, z, 3) if layer.kind == "affinities" else (x, y, z)
        self.dtype = _served(layer.volume.dtype, layer.kind)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """The voxels of slices with start and stop."""
        x, y, z = index[:3]
        volume = self._layer.volume
        box = Box((z.start, y.start, x.start), (z.stop, y.stop, x.stop)).shift(volume.metadata.start)
        with self._lock:
            voxels = volume.read(box)
        if self._layer.kind == "affinities":
            encoding = volume.metadata.encoding
            decoded = encoding.decode(voxels) if encoding else voxels
            colours = affinity_rgb(decoded, None, volume.metadata.offsets)
            return colours.transpose(2, 1, 0, 3)[..., index[3]]
        return voxels.astype(self.dtype, copy=False).transpose(2, 1, 0)


def _served(dtype: np.dtype[Any], kind: LayerKind) -> np.dtype[Any]:
    """The dtype that is sent to the browser."""
    if kind == "affinities" or dtype.kind == "b":
        return np.dtype(np.uint8)
    if kind == "segmentation":
        return np.dtype(f"u{dtype.itemsize}")
    return np.dtype(np.float32) if dtype.kind == "f" or dtype.itemsize == 8 else dtype


def grey_range(layer: Layer) -> tuple[float, float]:
    """The values shown as black and white: 0 and 255 of uint8, else two percentiles (0.5, 99.5) of the middle section.

    >>> from neuropil.volumes import array_volume
    >>> grey_range(layers_of([array_volume(np.zeros((2, 8, 8), np.uint8))])[0])
    (0.0, 255.0)
    """
    if layer.volume.dtype == np.uint8:
        return (0.0, 255.0)
    low, top = np.nanpercentile(_middle(layer.volume).astype(np.float32), [0.5, 99.5]).tolist()
    return (low, top if top > low else low + 1.0)
