"""The table of file formats. A format is a module here that exports a ``FORMAT``; the other modules are shared parts.

To add one, write such a module and list it here.
"""

from neuropil.volumes.formats import hdf5, mrc, n5, nifti, npy, nrrd, precomputed, sections, tiff, tiles, zarr
from neuropil.volumes.formats.base import Creator, Format, Location, Stamp

FORMATS: tuple[Format, ...] = (
    hdf5.FORMAT,
    tiff.FORMAT,
    sections.FORMAT,
    tiles.FORMAT,
    zarr.FORMAT,
    n5.FORMAT,
    precomputed.FORMAT,
    npy.FORMAT,
    mrc.FORMAT,
    nifti.FORMAT,
    nrrd.FORMAT,
)
"""All formats. A folder that fits several is opened by the first one."""

CHUNKED = zarr.FORMAT
"""The format of intermediate arrays, which many processes write at once."""

__all__ = ["CHUNKED", "FORMATS", "Creator", "Format", "Location", "Stamp"]
