"""Whether a file has changed: one answer for resumed predictions, blockwise jobs, steps of a run, and outputs."""

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
"""Voxels up to which an image is read to the end for its digest; of a larger one 27 blocks are."""


def stamp(path: str | Path) -> Stamp:
    """What is another once a volume or file has been written anew: size and time of each file that tells.

    Of a chunked array that is the file that describes it, of a stack every section, of a URL what the bucket or server
    tells of the describing file. No voxel is read. A chunk that was repaired leaves the array the same. Times are the
    file system's; nothing depends on where the file lies.

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
    """Shape, dtype and place of an image, a digest of its voxels, and, where only some of those were read, the stamp of
    its file.

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
    """Refuse an output that would take the place of the very array it is made from.

    Raises:
        NeuropilError: they are the same array.

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
