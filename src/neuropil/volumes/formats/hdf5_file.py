"""A file object for HDF5 that survives a full disk, over which HDF5 would crash.

When a file is closed HDF5 writes what it still holds, and ends the process if that fails. So data that cannot be
written are kept in memory, and the store raises the error after its own write.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class SparingFile:
    """A new or existing file for h5py to write to. The first error is kept in ``error``; nothing after it is written to
    the disk. An existing file is locked as HDF5 locks it."""

    def __init__(self, path: Path, new: bool = True) -> None:
        self.handle = os.open(path, os.O_RDWR | (os.O_CREAT | os.O_TRUNC if new else 0), 0o666)
        if not new and os.environ.get("HDF5_USE_FILE_LOCKING", "").upper() not in ("FALSE", "0"):
            try:
                fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.close()
                raise
            except OSError:
                pass  # a file system without locks
        self.error: OSError | None = None
        self._at, self._size = 0, os.fstat(self.handle).st_size
        self._kept: list[tuple[int, bytes]] = []

    def check(self) -> None:
        """Raise the error of an earlier write, if there was one.

        Raises:
            OSError: that error.
        """
        if self.error is not None:
            raise self.error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position; ``whence`` as in :meth:`io.IOBase.seek`."""
        self._at = offset + (self._size if whence == os.SEEK_END else self._at if whence == os.SEEK_CUR else 0)
        return self._at

    def tell(self) -> int:
        """Position of the next byte."""
        return self._at

    def read(self, size: int) -> bytes:
        """Read a number of bytes."""
        found = bytearray(size)
        self.readinto(found)
        return bytes(found)

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fill a buffer; bytes that were never written are 0."""
        into = memoryview(buffer).cast("B")
        found = os.pread(self.handle, len(into), self._at)
        into[:] = found.ljust(len(into), b"\0")
        for start, text in self._kept:
            low, high = max(start, self._at), min(start + len(text), self._at + len(into))
            if low < high:
                into[low - self._at : high - self._at] = text[low - start : high - start]
        self._at += len(into)
        return len(into)

    def write(self, buffer: bytearray | memoryview) -> int:
        """Write a buffer; after an error, keep it in memory."""
        rest, start = memoryview(buffer).cast("B"), self._at
        length = len(rest)
        self._at += length
        self._size = max(self._size, self._at)
        try:
            while len(rest) and self.error is None:
                done = os.pwrite(self.handle, rest, start)
                rest, start = rest[done:], start + done
        except OSError as error:
            self.error = error
        if len(rest):
            self._kept.append((start, bytes(rest)))
        return length

    def truncate(self, size: int) -> int:
        """Set the size of the file in bytes."""
        try:
            if self.error is None:
                os.ftruncate(self.handle, size)
        except OSError as error:
            self.error = error
        self._size = size
        return size

    def flush(self) -> None:
        """Do nothing: writes are not buffered."""

    def close(self) -> None:
        """Close the file and release its lock."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1
