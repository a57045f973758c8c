"""Decoders of other packages for precomputed chunks, run in a separate process because some crash on damaged data."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError

Process = subprocess.Popen[bytes]

NATIVE = ("raw", "jpeg", "png", "compressed_segmentation")
"""Encodings of precomputed that TensorStore has."""

_PACKAGES = {"crackle": "crackle-codec", "compresso": "compresso", "fpzip": "fpzip", "kempressed": "fpzip"}
"""Encodings, and the PyPI packages that decode them."""


def decode_apart(encoding: str, data: bytes) -> npt.NDArray[Any]:
    """Decode a chunk by the package of its encoding, in a separate process that is started once and kept.

    Raises:
        ValueError: the package says that the chunk is damaged, or crashes on it twice.
    """
    with _shared.lock:
        # A process that was kept may have been ended by others; one that was started for this chunk dies of this chunk.
        answer = _answer(encoding, data) or _answer(encoding, data)
    if answer is None:
        raise ValueError(f"the package that reads {encoding} crashed on it")
    fault, array = answer
    if fault:
        raise ValueError(fault)
    found: npt.NDArray[Any] = np.load(io.BytesIO(array), allow_pickle=False)
    return found


class _Shared:
    """The decoder process, and the lock for its use. After a fork the child starts its own."""

    lock: Lock
    process: Process | None

    def __init__(self) -> None:
        self.renew()
        os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self.lock, self.process = Lock(), None


_shared = _Shared()


def _start() -> Process:
    # -P: a file in the current folder must not shadow a module. New session: Ctrl-C must reach the program only; when
    # that ends, the decoder reads the end of its input and ends, too.
    words = [sys.executable, "-P", "-c", "from neuropil.volumes.formats.decoders import serve; serve()"]
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=null, start_new_session=True)


def _answer(encoding: str, data: bytes) -> tuple[str, bytes] | None:
    """What :func:`_ask` returns; None if the process ended."""
    process = _shared.process = _shared.process or _start()
    try:
        return _ask(process, encoding, data)
    except BaseException as error:  # also after Ctrl-C: else the next chunk would get the answer for this one
        _shared.process = None
        process.kill()
        process.communicate()
        if not isinstance(error, OSError | ValueError):
            raise
        return None


def _ask(process: Process, encoding: str, data: bytes) -> tuple[str, bytes]:
    """The error message, or "", and the array as NPY.

    Raises:
        OSError, ValueError: the process has ended.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{json.dumps([encoding, len(data)])}\n".encode() + data)
    process.stdin.flush()
    fault, size = json.loads(process.stdout.readline())
    array = process.stdout.read(size)
    if len(array) < size:
        raise ValueError
    return fault, array


def serve() -> None:
    """Decode the chunks on standard input until it ends; the main function of the separate process."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what packages print must not mix with the answers
    while line := sys.stdin.buffer.readline():
        encoding, size = json.loads(line)
        data, fault, array = sys.stdin.buffer.read(size), "", io.BytesIO()
        try:
            np.save(array, np.asarray(find_decoder(encoding, "")(data)), allow_pickle=False)
        except Exception as error:
            fault = str(error) or type(error).__name__
        answers.write(f"{json.dumps([fault, len(array.getvalue())])}\n".encode() + array.getvalue())
        answers.flush()


def find_decoder(encoding: str, container: str) -> Callable[[bytes], Any]:
    """The function that decodes a chunk to `[x, y, z, channel]`, or to any array with the same voxels in that order.

    Raises:
        NeuropilError: the encoding is unknown, or its package is not installed.
    """
    if encoding == "jxl":
        return _jpeg_xl
    if encoding not in _PACKAGES:
        known = ", ".join((*NATIVE, "jxl", *_PACKAGES))
        raise NeuropilError(
            f"{container} is encoded by {encoding}, which is not read here; known are {known}: write it in one of "
            "these with the program that made it"
        )
    package = "fpzip" if encoding == "kempressed" else encoding
    try:
        module = import_module(package)
    except ImportError:
        raise NeuropilError(
            f"{container} is encoded by {encoding}; install {_PACKAGES[encoding]} (pip install 'neuropil[formats]')"
        ) from None
    decode: Callable[..., Any] = module.decompress
    if encoding == "crackle":
        return _crackle
    if encoding == "kempressed":
        return lambda data: np.swapaxes(decode(data, order="F"), 2, 3) - np.float32(2)
    return partial(decode, order="F") if encoding == "fpzip" else decode  # its default order reverses the axes


def _crackle(data: bytes) -> npt.NDArray[Any]:
    """Decode crackle and verify all checksums: the package verifies those of header and index only. The checksum of a
    section is that of its connected components, numbered."""
    codec, pieces_of = import_module("crackle.codec"), import_module("fastcrackle").connected_components
    checked = codec.header(data).format_version > 0
    if checked:
        codec.grid_index(data)
        if codec.labels_crc(data) != codec.crc32c(bytes(codec.raw_labels(data))):
            raise ValueError("its ids do not agree with their checksum")
    found: npt.NDArray[Any] = codec.decompress(data)
    for z, stored in enumerate(codec.crack_crcs(data) if checked else ()):
        pieces = pieces_of(np.asfortranarray(found[:, :, z : z + 1]))[0]
        if codec.crc32c(pieces.tobytes()) != int(stored):
            raise ValueError(f"its section {z} does not agree with its checksum")
    return found


def _jpeg_xl(data: bytes) -> npt.NDArray[Any]:
    """Decode JPEG XL: a chunk is one picture, with its sections one below the other."""
    import imagecodecs

    picture = imagecodecs.jpegxl_decode(data)  # z·y, x or z·y, x, channel
    channels = picture[np.newaxis] if picture.ndim == 2 else np.moveaxis(picture, -1, 0)
    turned: npt.NDArray[Any] = channels.T
    return turned
