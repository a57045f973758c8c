"""Know a model and an image again, by what is in them rather than by what they are called."""

from __future__ import annotations

from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from neuropil.geometry import Box, blocks
from neuropil.models.checkpoint import Model
from neuropil.volumes import Volume
from neuropil.volumes.location import parse_location

READ_WHOLE = 2**28
"""Voxels up to which an image is read to the end for its fingerprint; of a larger one 27 blocks are."""


def model_fingerprint(model: Model) -> str:
    """A digest of a model's weights and of the recipe part that gives them their meaning.

    >>> from torch import nn
    >>> from neuropil.config import Config
    >>> len(model_fingerprint(Model(nn.Conv3d(1, 3, 1), Config(), {})))
    64
    """
    digest = sha256(model.config.model.model_dump_json().encode())
    for name, value in sorted(model.network.state_dict().items()):
        array = value.detach().cpu().contiguous().float().numpy()
        digest.update(f"{name} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def image_fingerprint(image: Volume) -> dict[str, Any]:
    """Shape, dtype and place of an image, a digest of its voxels, and, where only some of those were read, when its
    file was last changed.

    >>> from neuropil.volumes import array_volume
    >>> image_fingerprint(array_volume(np.zeros((2, 3, 4), np.uint8)))["shape"]
    [2, 3, 4]
    """
    whole = image.box
    small = whole.size <= READ_WHOLE
    digest = sha256()
    for box in blocks(whole, (16, 1024, 1024)) if small else _samples(whole):
        digest.update(np.ascontiguousarray(image.read(box)).tobytes())
    found = {
        "shape": list(image.shape),
        "dtype": str(image.dtype),
        "origin": list(whole.start),
        "voxels": digest.hexdigest(),
    }
    return found if small else found | {"changed": _changed(image.path)}


def _samples(whole: Box) -> list[Box]:
    shape = (min(whole.shape[0], 8), min(whole.shape[1], 64), min(whole.shape[2], 64))
    spans = [(a, (a + b - n) // 2, b - n) for a, b, n in zip(whole.start, whole.stop, shape, strict=True)]
    return [Box.at(start, shape) for start in product(*spans)]


def _changed(path: str) -> int | str | None:
    """When the file of an array was last changed, in ns; of a folder its metadata, of a bucket that file's stamp; None
    where that is unknown."""
    if "://" in path:
        location = parse_location(path)
        if location.remote:
            from neuropil.volumes.keys import stamp

            return stamp(location.container, location.array, location.format)
        path = f"{location.container}/{location.array}"
    for place in (Path(path), *Path(path).parents):
        for file in (place, place / "zarr.json", place / ".zarray", place / "info", place / "attributes.json"):
            if file.is_file():
                return file.stat().st_mtime_ns
    return None
