"""Metadata of OME-Zarr images, versions 0.4 and 0.5: axes, voxel size and position of the arrays of a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from neuropil.errors import NeuropilError, tell
from neuropil.geometry import Triple, VoxelSize
from neuropil.volumes.arrangement import Arrangement
from neuropil.volumes.formats.groups import Group
from neuropil.volumes.metadata import JSON, Metadata, parse_voxel_size
from neuropil.volumes.naming import kind
from neuropil.volumes.units import nanometres


def ome_images(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The multiscale images that a group's attributes describe, of OME-Zarr 0.4 or 0.5; none in most groups."""
    inside = attributes.get("ome", attributes)
    images = inside.get("multiscales", []) if isinstance(inside, Mapping) else []
    return [image for image in images if isinstance(image, dict) and image.get("datasets")]


def finest_level(image: Mapping[str, Any]) -> str:
    """The path of the array with the smallest voxels; the first one where there are no scales."""

    def voxel(dataset: Mapping[str, Any]) -> float:
        steps = dataset.get("coordinateTransformations") or ()
        return prod(float(n) for step in steps if step.get("type") == "scale" for n in step.get("scale") or ())

    return str(min(image["datasets"], key=voxel).get("path"))


@dataclass(frozen=True)
class OmePlace:
    """Axes and transformations that an OME group gives one of its arrays.

    Args:
        axes: names of the axes.
        units: one for each axis, None where none is given.
        steps: transformations, in the order in which they are applied.
    """

    axes: list[str]
    units: list[Any]
    steps: list[Mapping[str, Any]]

    def completing(self, own: Metadata, arrangement: Arrangement, path: str, placed: bool = False) -> Metadata:
        """Add voxel size and position from the group where the array's own metadata lack them.

        Args:
            own: metadata of the array.
            arrangement: the order of its axes.
            path: names the array in errors.
            placed: whether the array stores its position, even if that is zero.

        Raises:
            NeuropilError: as :meth:`metadata`; array and group have different voxel sizes or positions.
        """
        told = self.metadata(replace(own, voxel_size=None, origin=None, shift=None), arrangement, path)
        if told.voxel_size is None:
            return own
        size = own.voxel_size or told.voxel_size
        if any(abs(a - b) > 1e-3 * b for a, b in zip(told.voxel_size, size, strict=True)):
            given, other = (" × ".join(f"{n:g}" for n in one) for one in (size, told.voxel_size))
            raise NeuropilError(
                f"{path} has voxels of {given} nm (z, y, x) by its {own.found_in}, and of {other} nm by the OME scale "
                "of its group; correct one of them"
            )
        if own.origin is None and not (placed and own.voxel_size):
            return told if own.voxel_size is None else replace(told, voxel_size=size, found_in=own.found_in)
        sized = replace(own, voxel_size=size, found_in=own.found_in or told.found_in)
        self._check_place(sized, told, path)
        return sized

    def _check_place(self, own: Metadata, told: Metadata, path: str) -> None:
        """Refuse an array whose own position differs from the translation, if there is one."""
        places = [one.position or (0.0, 0.0, 0.0) for one in (own, told)]
        near = (abs(a - b) <= 1e-2 * n for a, b, n in zip(*places, own.voxel_size or (), strict=True))
        if any(step.get("type") == "translation" for step in self.steps) and not all(near):
            given, other = (", ".join(f"{n:g}" for n in one) for one in places)
            raise NeuropilError(
                f"{path} begins at {given} nm (z, y, x) by its origin or offset, and at {other} nm by the OME "
                "translation of its group; correct one of them"
            )

    def metadata(self, own: Metadata, arrangement: Arrangement, path: str) -> Metadata:
        """The metadata ``own`` with voxel size and position (nm) from the group.

        Raises:
            NeuropilError: an unknown unit, or a transformation that is no scale, translation or identity.
        """
        scale, shift, known = [1.0] * len(self.axes), [0.0] * len(self.axes), False
        for step in self.steps:
            name = step.get("type")
            values = step.get(str(name))
            if name == "identity":
                continue
            if name not in ("scale", "translation") or not isinstance(values, list) or len(values) != len(self.axes):
                raise NeuropilError(
                    f"expected a scale or translation of {len(self.axes)} numbers, got {dict(step)}, "
                    f"in the group of {path}"
                )
            numbers = [float(n) for n in values]
            if name == "scale":
                scale, known = [a * b for a, b in zip(scale, numbers, strict=True)], True
                shift = [a * b for a, b in zip(shift, numbers, strict=True)]
            else:
                shift = [a + b for a, b in zip(shift, numbers, strict=True)]
        pairs = zip(self.axes, self.units, strict=True)
        space = [unit if kind(axis) in "zyx" else None for axis, unit in pairs]
        lengths = arrangement.zyx([nanometres(unit, f"the OME axes of {path}") for unit in space]) or [None]
        if not known or len(lengths) != 3 or None in lengths:
            if known:
                tell(f"{path}: its OME scale has no unit of length, so the size of a voxel in nm is not known")
            return own
        turned = [(arrangement.zyx(values) or [1.0] * 3) for values in (scale, shift)]
        size, position = ([n * (u or 1) for n, u in zip(values, lengths, strict=True)] for values in turned)
        return own.placed(parse_voxel_size(size, "scale"), position, path, "OME scale")


def ome_place(attributes: Mapping[str, Any], name: str) -> OmePlace | None:
    """What a group's attributes say about an array; None where they say nothing. ``name`` is relative to the group.

    Raises:
        NeuropilError: they contradict each other, or are of OME-Zarr 0.6 or later.
    """
    found: OmePlace | None = None
    for image in ome_images(attributes):
        for dataset in image["datasets"]:
            if str(dataset.get("path")).removeprefix("./").strip("/") == name:
                if not image.get("axes") and "transform" in dataset:
                    continue  # of COSEM
                if "coordinateSystems" in image:
                    raise _later(attributes, name)
                steps = [*dataset.get("coordinateTransformations", []), *image.get("coordinateTransformations", [])]
                axes = image.get("axes", [])
                names = [_axis_name(axis) for axis in axes]
                units = [axis.get("unit") if isinstance(axis, Mapping) else None for axis in axes]
                place = OmePlace(names, units, steps)
                if found is not None and found != place:
                    raise NeuropilError(
                        f"two multiscales of its group give {name} different axes or transformations, {found.steps} "
                        f"and {steps}; keep one of them"
                    )
                found = place
    return found


def nearest_place(groups: Sequence[Group], path: str) -> OmePlace | None:
    """What the nearest group above an array says about it; None where none says anything. Other groups that differ are
    reported.

    Raises:
        NeuropilError: as :func:`ome_place`.
    """
    found = [(group, place) for group in groups if (place := ome_place(group.attributes, group.inside)) is not None]
    for group, place in found[1:]:
        if place != found[0][1]:
            tell(
                f"{path} is described by an OME image of the group {found[0][0].path}, {found[0][1].steps}, which is "
                f"used, and otherwise by one of {group.path}, {place.steps}"
            )
    return found[0][1] if found else None


def _later(attributes: Mapping[str, Any], name: str) -> NeuropilError:
    inside = attributes.get("ome", attributes)
    version = inside.get("version", "a later one")
    return NeuropilError(
        f"expected OME-Zarr 0.4 or 0.5, got {version}, with coordinateSystems, in the group of {name}; save it as 0.5, "
        "or copy the array alone"
    )


def _axis_name(axis: Any) -> str:
    """The name of an axis; its type if the name has no known meaning."""
    if not isinstance(axis, Mapping):
        return str(axis)
    name, known = str(axis.get("name")), str(axis.get("type"))
    return known if kind(name) in "?!" and known in ("channel", "time") else name


@dataclass(frozen=True)
class Level:
    """One array of a pyramid: its name, the size of a voxel and the place of the first one's middle (z, y, x).

    In nm, or in voxels of the finest level where the size of those is not known.
    """

    name: str
    size: VoxelSize
    place: VoxelSize
    known: bool

    @classmethod
    def of(cls, name: str, metadata: Metadata) -> Level:
        """The finest level."""
        z, y, x = metadata.position or metadata.start
        return cls(name, metadata.voxel_size or (1.0, 1.0, 1.0), (z, y, x), metadata.voxel_size is not None)

    def coarser(self, name: str, factors: Triple) -> Level:
        """The next level, downsampled by ``factors`` (z, y, x).

        >>> Level("0", (30.0, 6.0, 6.0), (0.0, 0.0, 0.0), True).coarser("1", (1, 2, 2)).place
        (0.0, 3.0, 3.0)
        """
        moved = [p + (f - 1) / 2 * s for p, f, s in zip(self.place, factors, self.size, strict=True)]
        size = [f * s for f, s in zip(factors, self.size, strict=True)]
        return replace(self, name=name, size=(size[0], size[1], size[2]), place=(moved[0], moved[1], moved[2]))


def ome_attributes(levels: Sequence[Level], channels: bool, method: str = "") -> dict[str, JSON]:
    """Attributes of a group by which OME-Zarr 0.5 readers find its arrays, finest first; ``method``: how coarser ones
    were made."""
    unit: dict[str, JSON] = {"unit": "nanometer"} if levels[0].known else {}
    axes: list[JSON] = [{"name": "c", "type": "channel"}] if channels else []
    axes += [{"name": axis, "type": "space", **unit} for axis in "zyx"]
    datasets: list[JSON] = []
    for level in levels:
        scale: list[JSON] = [*([1.0] if channels else []), *level.size]
        shift: list[JSON] = [*([0.0] if channels else []), *(float(n) for n in level.place)]
        steps: list[JSON] = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]
        datasets.append({"path": level.name, "coordinateTransformations": steps})
    image: dict[str, JSON] = {"name": "image", "axes": axes, "datasets": datasets}
    return {"ome": {"version": "0.5", "multiscales": [image | ({"type": method} if method else {})]}}
