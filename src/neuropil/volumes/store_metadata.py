"""Metadata as Zarr, OME-Zarr, N5 and Neuroglancer precomputed store it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from neuropil.geometry import Triple, VoxelSize
from neuropil.volumes.metadata import JSON, Metadata, nanometres, parse_voxel_size

_KEY = "neuropil"  # where formats with a fixed layout keep our attributes
_AXES = "axes"


def ome_images(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The multiscale images that a group's attributes describe, of OME-Zarr 0.4 or 0.5; none in most groups."""
    inside = attributes.get("ome", attributes)
    images = inside.get("multiscales", []) if isinstance(inside, Mapping) else []
    return [image for image in images if isinstance(image, dict) and image.get("datasets")]


def ome_metadata(attributes: Mapping[str, Any], name: str) -> Metadata | None:
    """Voxel size and origin that a group's attributes give to its array ``name``; None where they say nothing of it.

    A scale without a unit of length stays unknown.
    """
    for image in ome_images(attributes):
        for dataset in image["datasets"]:
            if dataset.get("path") == name:
                every = [*dataset.get("coordinateTransformations", []), *image.get("coordinateTransformations", [])]
                return _ome_place(image.get("axes", []), every)
    return None


def _ome_place(axes: Sequence[Any], transformations: Sequence[Any]) -> Metadata:
    units = [nanometres(axis.get("unit")) if isinstance(axis, Mapping) else None for axis in axes[-3:]]
    scale, shift = [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]
    known = False
    for step in transformations:
        values = [float(n) for n in step.get("scale", step.get("translation", []))[-3:]]
        if step.get("type") == "scale" and len(values) == 3:
            scale, known = [a * b for a, b in zip(scale, values, strict=True)], True
            shift = [a * b for a, b in zip(shift, values, strict=True)]
        elif step.get("type") == "translation" and len(values) == 3:
            shift = [a + b for a, b in zip(shift, values, strict=True)]
    if not known or len(units) != 3 or None in units:
        return Metadata()
    size = [n * unit for n, unit in zip(scale, units, strict=True) if unit is not None]
    voxels = [a / b for a, b in zip(shift, scale, strict=True)]
    whole = all(abs(n - round(n)) < 1e-3 for n in voxels)
    origin = (round(voxels[0]), round(voxels[1]), round(voxels[2])) if whole and any(voxels) else None
    return Metadata(voxel_size=parse_voxel_size(size, "scale"), origin=origin)


def ome_attributes(metadata: Metadata, name: str, channels: bool) -> dict[str, JSON]:
    """Attributes of a group by which OME-Zarr 0.5 readers find its one array ``name``."""
    size = metadata.voxel_size or (1.0, 1.0, 1.0)
    unit: dict[str, JSON] = {"unit": "nanometer"} if metadata.voxel_size else {}
    lead: list[JSON] = [1.0] if channels else []
    axes: list[JSON] = [{"name": "c", "type": "channel"}] if channels else []
    axes += [{"name": axis, "type": "space", **unit} for axis in "zyx"]
    scale: list[JSON] = [*lead, *size]
    shift: list[JSON] = [*([0.0] if channels else []), *(n * o for n, o in zip(size, metadata.start, strict=True))]
    steps: list[JSON] = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]
    image: dict[str, JSON] = {
        "name": "image",
        "axes": axes,
        "datasets": [{"path": name, "coordinateTransformations": steps}],
    }
    return {"ome": {"version": "0.5", "multiscales": [image]}}


def n5_metadata(attributes: Mapping[str, Any], path: str) -> Metadata:
    """Metadata of an N5 dataset: ours as in Zarr, or ``pixelResolution`` or ``resolution``, which count x, y, z."""
    layout = ("dimensions", "blockSize", "dataType", "compression", "axes", "units", "n5", "pixelResolution")
    plain = {key: value for key, value in attributes.items() if key not in layout}
    found = attributes.get("pixelResolution", plain.get("resolution"))
    sizes = found.get("dimensions") if isinstance(found, Mapping) else found
    unit = nanometres(found.get("unit", "nm")) if isinstance(found, Mapping) else 1.0
    if "voxel_size" not in plain and isinstance(sizes, Sequence) and unit is not None:
        plain["voxel_size"] = [float(n) * unit for n in reversed(sizes)]
    plain.pop("resolution", None)
    return Metadata.from_attributes(plain, path)


def n5_attributes(metadata: Metadata) -> dict[str, JSON]:
    """What is stored beside the layout of an N5 dataset."""
    attributes = metadata.to_attributes()
    if metadata.voxel_size is not None:
        attributes["pixelResolution"] = {"dimensions": list(reversed(metadata.voxel_size)), "unit": "nm"}
    return attributes


def precomputed_metadata(info: Mapping[str, Any], scale: Mapping[str, Any], path: str) -> Metadata:
    """Metadata of one scale: its resolution (nm) and offset (voxels), x, y, z, and what we keep in the info file."""
    ours = info.get(_KEY)
    kept = {key: value for key, value in ours.items() if key != _AXES} if isinstance(ours, Mapping) else {}
    metadata = Metadata.from_attributes(kept, path)
    unknown = isinstance(ours, Mapping) and metadata.voxel_size is None
    size = None if unknown else parse_voxel_size(list(reversed(scale["resolution"])), "resolution")
    x, y, z = scale.get("voxel_offset", (0, 0, 0))
    # The format always has an offset; whether one of zero was meant is kept beside it.
    return replace(metadata, voxel_size=size, origin=(int(z), int(y), int(x)) if z or y or x else metadata.origin)


def precomputed_info(metadata: Metadata, axes: int) -> dict[str, JSON]:
    """What is stored in the info file beside what Neuroglancer reads; an array of 3 or 4 axes."""
    return {_KEY: {**metadata.to_attributes(), _AXES: "czyx"[-axes:]}}


def precomputed_axes(info: Mapping[str, Any]) -> int:
    """3 or 4: volumes of one channel have no axis of channels, unless they were written here with one."""
    ours = info.get(_KEY)
    written = ours.get(_AXES) if isinstance(ours, Mapping) else None
    return 4 if info.get("num_channels", 1) > 1 or written == "czyx" else 3


def precomputed_resolution(metadata: Metadata) -> VoxelSize:
    """Voxel size as x, y, z; the format wants one, so 1 nm where it is unknown."""
    z, y, x = metadata.voxel_size or (1.0, 1.0, 1.0)
    return (x, y, z)


def precomputed_offset(metadata: Metadata) -> Triple:
    """Origin as x, y, z."""
    z, y, x = metadata.start
    return (x, y, z)
