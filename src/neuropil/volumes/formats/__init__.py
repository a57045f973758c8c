"""The file formats: one module each, and this table of them. No other module names a format.

To add one, write a module that exports a ``FORMAT`` and list it here.
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
"""All formats. Where a folder fits two of them, the first one has it."""

CHUNKED = zarr.FORMAT
"""The format of intermediate arrays, which many processes write at once."""

__all__ = ["CHUNKED", "FORMATS", "Creator", "Format", "Location", "Stamp"]
