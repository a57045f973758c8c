"""Whether a file has changed: used by resumed predictions, blockwise jobs, steps of a run, and outputs."""

from __future__ import annotations

from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from neuropil.errors import NeuropilError
from neuropil.geometry import Box, blocks
from neuropil.volumes.formats.base import Stamp, stamp_first
from neuropil.volumes.location import parse_location
from neuropil.volumes.volume import Volume, in_memory

READ_WHOLE = 2**28
"""Voxels up to which a digest reads the whole image; of a larger one it reads 27 blocks."""


def stamp(path: str | Path) -> Stamp:
    """A value that changes when a volume or file is rewritten: size and modification time of its files.

    For a chunked array these are taken from its metadata file, for a stack from every section; for a URL the bucket or
    server gives the generation of the metadata file. No voxel is read: rewriting one chunk changes nothing. Moving the
    file changes nothing either.

    Raises:
        NeuropilError: a bucket or server that does not answer.

    >>> import tempfile
    >>> from neuropil.volumes import write_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volume(f"{folder}/a.h5", np.zeros((1, 2, 2), np.uint8))
    ...     before = stamp(f"{folder}/a.h5/main")
    ...     write_volume(f"{folder}/a.h5", np.zeros((1, 2, 3), np.uint8))
    ...     before == stamp(f"{folder}/a.h5/main")
    False
    """
    file = Path(path)
    if file.is_file() and "://" not in str(path):
        try:
            location = parse_location(path)
        except NeuropilError:  # no volume, such as a checkpoint
            return stamp_first([file])
    else:
        location = parse_location(path)
    return location.format.stamp(location)


def image_digest(image: Volume) -> dict[str, Any]:
    """Shape, dtype and origin of an image, a digest of its voxels, and, if only some of them were read, its stamp.

    >>> from neuropil.volumes import array_volume
    >>> image_digest(array_volume(np.zeros((2, 3, 4), np.uint8)))["shape"]
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
    return found if small or in_memory(image) else found | {"changed": stamp(image.path)}


def spare_input(source: Volume, output: str | Path) -> None:
    """Refuse an output that would replace the array it is made from.

    Raises:
        NeuropilError: source and output are the same array.

    >>> from neuropil.volumes import array_volume
    >>> spare_input(array_volume(np.zeros((2, 3, 4))), "a.h5")
    """
    if not in_memory(source) and _place(source.path) == _place(output):
        raise NeuropilError(f"{output} would replace {source.path}, which it is made from; choose another name")


def _place(path: str | Path) -> tuple[str, str]:
    location = parse_location(path)
    container = location.container.rstrip("/") if location.remote else str(Path(location.container).resolve())
    return container, location.format.settle(location).array.strip("/")


def _samples(whole: Box) -> list[Box]:
    shape = (min(whole.shape[0], 8), min(whole.shape[1], 64), min(whole.shape[2], 64))
    spans = [(a, (a + b - n) // 2, b - n) for a, b, n in zip(whole.start, whole.stop, shape, strict=True)]
    return [Box.at(start, shape) for start in product(*spans)]
