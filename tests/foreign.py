"""What tests of files that other programs wrote share."""

import gzip
import json

import numpy as np
import pytest

from neuropil.geometry import Box
from neuropil.volumes import open_volume


def numbers(shape, dtype="u1", seed=0):
    return np.random.default_rng(seed).integers(1, 250, shape).astype(dtype)


IMAGE = numbers((4, 20, 30))


def same(path, expected, **metadata):
    """Opened, it has these voxels, whole and in boxes, and this metadata."""
    with open_volume(path) as volume:
        assert volume.shape == expected.shape
        assert (volume.read() == expected).all()
        z, y, x = expected.shape[-3:]
        box = Box.at([n + a for n, a in zip((z // 2, y // 3, x // 2), volume.box.start, strict=True)], (1, 2, 2))
        assert (volume.read(box) == expected[..., z // 2 :, y // 3 :, x // 2 :][..., :1, :2, :2]).all()
        for key, value in metadata.items():
            found = getattr(volume.metadata, key)
            assert found == (value if value is None else pytest.approx(value)), key
        return volume.metadata


def write_n5(path, array, attributes, group=None):
    """N5 as its specification has it, by hand: zarr 3 no longer writes it."""
    path.mkdir(parents=True)
    described = {
        "dimensions": list(array.shape[::-1]), "blockSize": list(array.shape[::-1]), "dataType": str(array.dtype),
        "compression": {"type": "gzip", "level": 1}, **attributes,
    }  # fmt: skip
    (path / "attributes.json").write_text(json.dumps(described))
    block = path.joinpath(*["0"] * array.ndim)
    block.parent.mkdir(parents=True, exist_ok=True)
    head = np.array([0, array.ndim], ">u2").tobytes() + np.array(array.shape[::-1], ">u4").tobytes()
    block.write_bytes(head + gzip.compress(array.astype(array.dtype.newbyteorder(">")).tobytes()))
    if group is not None:
        (path.parent / "attributes.json").write_text(json.dumps(group))
