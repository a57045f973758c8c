"""NIfTI files, which count x, y, z."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.formats.base import Format, Location, list_one, stamp_file
from neuropil.volumes.formats.packaged import damage_told, presented, read_only_file
from neuropil.volumes.metadata import Metadata, parse_voxel_size
from neuropil.volumes.units import nanometres
from neuropil.volumes.volume import Mode, Volume


def open_nifti(location: Location, mode: Mode = "r") -> Volume:
    """A NIfTI file, which counts x, y, z; turned axes are refused."""
    path = read_only_file(location, mode, "nibabel")
    import nibabel

    with damage_told(path):
        image: Any = nibabel.load(path)
        header, affine = image.header, np.asarray(image.affine, float)
        scaled = header.get_slope_inter() not in ((None, None), (1.0, 0.0))
        array = np.asanyarray(image.dataobj) if scaled or path.endswith(".gz") else image.dataobj.get_unscaled()
    turned = np.abs(affine[:3, :3] - np.diag(np.diag(affine[:3, :3]))).max() > 1e-3 * np.abs(affine[:3, :3]).max()
    if turned:
        raise NeuropilError(f"expected axes x, y, z, got turned ones in the affine of {path}; resample it")
    if (np.diag(affine)[:3] < 0).any():
        tell(f"{path} counts some axes backwards; its voxels are read in the order in which they are stored")
    unit = nanometres(header.get_xyzt_units()[0], f"the header of {path}")
    metadata = Metadata()
    if unit is not None:
        size = [abs(float(n)) * unit for n in header.get_zooms()[2::-1]]
        metadata = metadata.placed(parse_voxel_size(size, "pixdim"), [0.0] * 3, path, "pixdim of the header")
        if np.abs(affine[:3, 3]).max() > 0:
            tell(f"{path}: the place in the scanner that its affine gives is not used")
    names = ["x", "y", "z", "t", "c"][: array.ndim]
    return presented(path, array, names, metadata)


FORMAT = Format(
    name="nifti", title="NIfTI", suffixes=(".nii", ".nii.gz"), open=open_nifti, list=list_one, stamp=stamp_file
)
