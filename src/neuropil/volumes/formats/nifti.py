"""NIfTI files, whose axes are x, y, z; read only."""

from __future__ import annotations

import gzip
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError, tell
from neuropil.memory import expect_memory
from neuropil.volumes.formats.base import Format, Location, list_one, stamp_file
from neuropil.volumes.formats.packaged import damage_told, directed, presented, read_only_file
from neuropil.volumes.metadata import Metadata, parse_voxel_size
from neuropil.volumes.units import nanometres
from neuropil.volumes.volume import Mode, Volume

_ALIKE = 0.01
"""Share by which voxel sizes that mean the same may differ."""


def open_nifti(location: Location, mode: Mode = "r") -> Volume:
    """Open a NIfTI file. Rotated axes are refused; axes with a negative direction are read as stored."""
    path = read_only_file(location, mode, "nibabel")
    import nibabel
    from nibabel.imageglobals import LoggingOutputSuppressor
    from nibabel.openers import ImageOpener

    with damage_told(path), LoggingOutputSuppressor():
        image: Any = nibabel.load(path)
        with ImageOpener(path) as opened:  # the header as stored: `load` corrects it
            header = type(image.header).from_fileobj(opened, check=False)
        forms = {"sform": header.get_sform(coded=True), "qform": header.get_qform(coded=True)}
        zooms = [float(n) for n in header["pixdim"][1:4]]
        unit = nanometres(header.get_xyzt_units()[0], f"the header of {path}")
    steps = _steps({name: np.asarray(form, float) for name, (form, code) in forms.items() if code}, zooms, path)
    if unit is None and not all(n == 1 for n in zooms):
        told = " × ".join(f"{n:g}" for n in zooms[::-1])
        tell(f"{path} has voxels of {told} (z, y, x) but no unit, so the size of a voxel in nm is not known")
    metadata = Metadata()
    if len(image.shape) == 2 and zooms[2] <= 0:
        tell(f"{path} is one section of unknown thickness, so the size of a voxel is not known")
    elif unit is not None:
        size = parse_voxel_size([n * unit for n in zooms[::-1]], f"pixdim of {path}")
        metadata = Metadata(voxel_size=size, found_in="pixdim of the header")
    if steps is not None:
        metadata = directed(metadata, steps, "RAS", path)
    names = ["x", "y", "z", "t", "c"][: len(image.shape)]
    with damage_told(path):
        return presented(path, _array(image, path), names, metadata)


def _array(image: Any, path: str) -> npt.NDArray[Any]:
    """The values: memory-mapped if stored plainly, else read whole, and scaled as the header says."""
    scaled = (image.dataobj.slope, image.dataobj.inter) != (1, 0)  # nibabel removes them from the header
    packed = path.lower().endswith(".gz")
    end = int(image.dataobj.offset) + prod(image.shape) * image.header.get_data_dtype().itemsize
    size = _unpacked_size(path, end) if packed else Path(path).stat().st_size
    if size > end:
        raise NeuropilError(f"expected {end} bytes by its header, got {size}, in {path}")
    if not scaled and not packed:
        return np.asanyarray(image.dataobj.get_unscaled())
    voxel = 8 if scaled else image.header.get_data_dtype().itemsize
    expect_memory(prod(image.shape) * voxel, f"decompressing {path}", "store it without gzip and scl_slope")
    return np.asanyarray(image.dataobj if scaled else image.dataobj.get_unscaled())


def _unpacked_size(path: str, most: int) -> int:
    """Decompressed size of a gzip file in bytes; for a larger one, some number above ``most``. It is read to the end to
    verify the checksum there, which nibabel does not."""
    size = 0
    with gzip.open(path) as packed:
        while size <= most and (part := packed.read(1 << 22)):
            size += len(part)
    return size


def _steps(forms: dict[str, npt.NDArray[Any]], zooms: list[float], path: str) -> list[float] | None:
    """Signed steps between voxels along z, y, x, from the valid sform or qform; None where there is none.

    Raises:
        NeuropilError: the axes are rotated, or sform, qform and `pixdim` contradict each other.
    """
    found = None
    for name, form in forms.items():
        matrix = form[:3, :3]
        diagonal = np.diag(matrix)
        if np.abs(matrix - np.diag(diagonal)).max() > 1e-3 * np.abs(matrix).max():
            raise NeuropilError(f"expected axes x, y, z, got rotated ones in the {name} of {path}; resample it")
        if any(abs(abs(a) - b) > _ALIKE * max(abs(a), b) for a, b in zip(diagonal, zooms, strict=True)):
            raise NeuropilError(
                f"expected voxels of one size, got {np.abs(diagonal).tolist()} in the {name} and {zooms} in pixdim "
                f"(x, y, z), in the header of {path}; correct one"
            )
        if found is not None and (np.sign(found) != np.sign(diagonal)).any():
            raise NeuropilError(f"sform and qform of {path} have different axis directions; correct one")
        if np.abs(form[:3, 3]).max() > 0 and found is None:
            tell(f"{path}: the position in the scanner that its {name} gives is not used")
        found = diagonal
    return None if found is None else [float(n) for n in found[::-1]]


FORMAT = Format(
    name="nifti", title="NIfTI", suffixes=(".nii", ".nii.gz"), open=open_nifti, list=list_one, stamp=stamp_file
)
