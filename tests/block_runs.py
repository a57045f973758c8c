"""Segmentation by blocks as the tests of blocks run it."""

from pathlib import Path

import numpy as np

from neuropil.blockwise import segment_blocks
from neuropil.volumes import open_volume, write_volume


def by_blocks(folder, array, meta, config, block, **options):
    """Segmentation by blocks; checks that ids have no gaps and that nothing is left beside it."""
    folder = Path(folder)
    write_volume(folder / "a.zarr", array, meta)
    count = segment_blocks(open_volume(folder / "a.zarr"), folder / "s.zarr", config, block=block, **options)
    found = open_volume(folder / "s.zarr").read()
    assert sorted(path.name for path in folder.iterdir()) == ["a.zarr", "s.zarr"]
    np.testing.assert_array_equal(np.unique(found[found > 0]), np.arange(1, count + 1))
    return found
