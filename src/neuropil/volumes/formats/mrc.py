"""MRC files, as electron microscopes and tomography write them; lengths in Å."""

from __future__ import annotations

from neuropil.errors import NeuropilError
from neuropil.volumes.formats.base import Format, Location, list_one, stamp_file
from neuropil.volumes.formats.packaged import damage_told, presented, read_only_file
from neuropil.volumes.metadata import Metadata, parse_voxel_size
from neuropil.volumes.volume import Mode, Volume


def open_mrc(location: Location, mode: Mode = "r") -> Volume:
    """A volume of electron microscopy or tomography, mapped; its header has Å."""
    path = read_only_file(location, mode, "mrcfile")
    import mrcfile

    with damage_told(path), mrcfile.mmap(path, mode="r", permissive=False) as file:
        array, header = file.data, file.header
        order = [int(header[axis]) for axis in ("maps", "mapr", "mapc")]  # which axis sections, rows, columns are
        names = ["xyz"[n - 1] for n in order] if sorted(order) == [1, 2, 3] else None
        size = [float(file.voxel_size[axis]) / 10 for axis in "zyx"]
        place = [float(header["origin"][axis]) / 10 for axis in "zyx"]
        start = [int(header[f"n{axis}start"]) for axis in "zyx"]
    if names is None:
        raise NeuropilError(f"expected axes 1, 2, 3 in any order, got {order}, in the header of {path}")
    metadata = Metadata()
    if min(size) > 0:
        at = place if any(place) else [n * one for n, one in zip(start, size, strict=True)]
        metadata = metadata.placed(parse_voxel_size(size, "voxel_size"), at, path, "the header")
    return presented(path, array, names if array.ndim == 3 else None, metadata)


FORMAT = Format(
    name="mrc", title="MRC", suffixes=(".mrc", ".rec", ".map", ".st"), open=open_mrc, list=list_one, stamp=stamp_file
)
