"""OME-Zarr: what a group says of its images, versions 0.4 and 0.5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neuropil.volumes.metadata import JSON, Metadata, nanometres, parse_voxel_size


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
