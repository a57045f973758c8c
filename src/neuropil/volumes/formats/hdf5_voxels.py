"""Check that all voxels of an HDF5 dataset can be read: filters, external storage, virtual datasets, missing chunks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.allowances import check_inside, gaps_allowed
from neuropil.volumes.formats import hdf5_links
from neuropil.volumes.formats.meaning import check_numbers

_DEPTH = 16  # virtual datasets that may be made of virtual datasets

_IN_NAMES = {"%": "%", "b": "\0"}
"""Characters after % in names of the parts of a virtual dataset: % itself, or b for the number of the part."""

_FILTERS = {
    307: "bzip2", 32001: "Blosc", 32004: "LZ4", 32008: "bitshuffle", 32013: "ZFP", 32015: "zstd", 32017: "SZ",
    32018: "FCIDECOMP", 32026: "Blosc2",
}  # fmt: skip
"""Registered HDF5 filters that hdf5plugin brings."""

_LOSSY = (
    32005, 32007, 32012, 32013, 32014, 32016, 32017, 32019,  # APAX, JPEG XR, JPEG-LS, ZFP, fpzip, B3D, SZ, JPEG
    32021, 32022, 32023, 32024, 32028, 32030,  # FAPEC, BitGroom, Granular BitRound, SZ3, SPERR, FFMPEG
)  # fmt: skip
"""Registered filters that are lossy."""
_BLOSC2, _TRUNCATES = 32026, 4  # Blosc2 and its filter that truncates the precision of floats
_LOOKED_FOR = 20_000
"""Chunks up to which the chunk index is checked when a dataset is opened."""
_SCALE_OFFSET = 6  # HDF5's own filter: rounds floats, and integers if it is given a number of bits


def check_readable(dataset: Any, container: str, path: str) -> bool:
    """Refuse a dataset with an unknown filter, or with voxels in files that are missing or outside of the folder.

    Args:
        dataset: as opened.
        container: the file that was opened, in whose folder all others must lie.
        path: names the dataset in messages.

    Returns:
        whether a filter may have changed values.

    Raises:
        NeuropilError: a filter is unknown, a file is missing or outside of the folder, or the chunk index is damaged.
    """
    sources = Sources(container, path)
    sources.look(dataset)
    sources.tell(dataset)
    return sources.lossy


def _changes(code: int, values: tuple[int, ...], dtype: Any) -> bool:
    """Whether a filter is lossy. HDF5's scale-offset rounds floats, and truncates integers to a given number of bits;
    0 bits means as many as needed."""
    if code == _BLOSC2:
        return len(values) > 5 and values[5] == _TRUNCATES
    return code in _LOSSY or (code == _SCALE_OFFSET and (dtype.kind == "f" or values[1] > 0))


def _unwritten(dataset: Any) -> tuple[int, int]:
    """Number of chunks that were never written, and of all chunks; a contiguous dataset counts as one chunk."""
    if dataset.is_virtual or dataset.external:
        return 0, 0
    if dataset.chunks is None:
        return int(dataset.size > 0 and dataset.id.get_storage_size() == 0), 1
    known = prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
    return max(known - int(dataset.id.get_num_chunks()), 0), known


def _check_index(dataset: Any, path: str) -> None:
    """Refuse chunks at positions beyond the dataset: the chunk index has no checksum, and if it is damaged HDF5 would
    read the fill value where these chunks belong."""
    found: list[Any] = []
    dataset.id.chunk_iter(found.append)
    starts = np.array([one.chunk_offset for one in found]).reshape(-1, dataset.ndim)
    wrong = ((starts % dataset.chunks != 0) | (starts >= dataset.shape)).any(axis=1)
    if wrong.any():
        raise NeuropilError(
            f"cannot read {path}: it has a chunk at {starts[wrong][0].tolist()}, beyond its shape; its index is damaged"
        )


@dataclass
class Sources:
    """The files, parts and chunks that hold the voxels of a dataset, and those of them that are missing.

    Args:
        container: the file that was opened, in whose folder all others must lie.
        path: names the dataset in messages.
    """

    container: str
    path: str
    known: int = 0
    missing: list[str] = field(default_factory=list)
    unmapped: int = 0
    chunks: int = 0
    unwritten: int = 0
    lossy: bool = False

    def look(self, dataset: Any, depth: int = 0) -> None:
        """Check a dataset, and the datasets that a virtual one is made of."""
        if depth > _DEPTH:
            raise NeuropilError(f"virtual datasets are made of each other in a circle, or too deep, in {self.path}")
        holder = hdf5_links.holder(dataset, self.container)
        if depth and dataset.external:
            raise NeuropilError(
                f"{self.path} is made of {dataset.name}, whose voxels lie in other files; copy it first"
            )
        for file, _, _ in dataset.external or ():
            check_inside(self.container, file, f"the external storage of {dataset.name}", holder)
        properties = dataset.id.get_create_plist()
        for number in range(properties.get_nfilters()):
            code, _, values, name = properties.get_filter(number)
            _check_filter(code, name, self.path)
            self.lossy |= _changes(code, values, dataset.dtype)
        absent, chunks = _unwritten(dataset)
        if 0 < chunks - absent <= _LOOKED_FOR and dataset.chunks is not None:
            _check_index(dataset, self.path)
        self.unwritten, self.chunks = self.unwritten + absent, self.chunks + chunks
        if dataset.is_virtual:
            self._look_virtual(dataset, holder, depth)

    def _look_virtual(self, dataset: Any, holder: str, depth: int) -> None:
        import h5py

        space = h5py.h5s.create_simple(dataset.shape)
        space.select_none()
        files: dict[str, Any] = {}
        for source in dataset.virtual_sources():
            for name, inside in _expanded(source, dataset, holder, self.path):
                self.known += 1
                found = self._source(dataset, name, inside, holder, files)
                if found is None or not _covers(found, source):
                    self.missing.append(f"{inside} in {dataset.file.filename if name == '.' else name}")
                else:
                    self._check_part(found, dataset)
                    self.look(found, depth + 1)
            _mark(space, source.vspace, dataset.shape)
        self.unmapped += prod(dataset.shape) - space.get_select_npoints()

    def _source(self, dataset: Any, name: str, inside: str, holder: str, files: dict[str, Any]) -> Any:
        """The dataset that a part is read from; None where it is missing."""
        import h5py

        told = f"the virtual dataset {dataset.name}"
        if name not in files:
            files.clear()  # one at a time: a process may not open that many
            if name == ".":
                files[name] = dataset.file
            else:
                place = check_inside(self.container, name, told, holder, there=False)
                files[name] = hdf5_links.open_other(place, dataset.file, told) if place.exists() else None
        if files[name] is None:
            return None
        found = hdf5_links.follow(files[name], inside, self.container)
        return found if isinstance(found, h5py.Dataset) else None

    def _check_part(self, part: Any, whole: Any) -> None:
        """Refuse a part with scaled values, or with a dtype that the virtual dataset cannot hold: HDF5 would clip."""
        check_numbers(dict(part.attrs), f"{part.name} in {part.file.filename}, a part of {self.path},")
        if np.can_cast(part.dtype, whole.dtype, "safe"):
            return
        if whole.dtype.kind != "f":
            raise NeuropilError(
                f"expected parts that fit into the type of the virtual dataset {self.path}, {whole.dtype}, got "
                f"{part.dtype} in {part.name} of {part.file.filename}; create it again with a type that fits all"
            )
        self.lossy = True

    def tell(self, dataset: Any) -> None:
        """Refuse missing parts, or report them with ``--allow-gaps``; report unmapped voxels and unwritten chunks.

        Raises:
            NeuropilError: parts are missing, without ``--allow-gaps``.
        """
        import h5py

        if self.missing:
            told = (
                f"{len(self.missing)} of the {self.known} parts of the virtual dataset {self.path} are missing or "
                f"incomplete, such as {self.missing[0]}"
            )
            if not gaps_allowed():
                raise NeuropilError(f"{told}; give --allow-gaps to read the fill value in their place")
            tell(f"{told}; the fill value is read in their place")
        if self.unmapped:
            tell(
                f"{self.unmapped} voxels of the virtual dataset {self.path} are not mapped to a file: they have its "
                "fill value"
            )
        if not self.unwritten:
            return
        value = "the fill values of its parts" if dataset.is_virtual else f"the fill value, {dataset.fillvalue}"
        if dataset.id.get_create_plist().get_fill_time() == h5py.h5d.FILL_TIME_NEVER:
            value = "0, since nothing says their value (fill time: never)"
        if self.unwritten == self.chunks:
            tell(f"nothing was ever written into {self.path}: all its voxels are read as {value}")
        else:
            tell(f"{self.unwritten} of {self.chunks} chunks of {self.path} were never written: read as {value}")


def _expanded(source: Any, dataset: Any, holder: str, path: str) -> Iterator[tuple[str, str]]:
    """File and dataset of a part; for names with a block number (%b), of each number that the shape of the dataset
    needs, and further up to the last file that exists."""
    file, inside = source.file_name, source.dset_name
    if "%" not in file + inside:
        yield file, inside
        return
    names = [re.sub(r"%(.?)", lambda found: _IN_NAMES.get(found[1], "\1"), text) for text in (file, inside)]
    if "\0" in str(Path(names[0]).parent) or "\1" in "".join(names):
        raise NeuropilError(f"expected numbers in names of files, got {file!r}, in {path}")
    start, stride, count, _ = source.vspace.get_regular_hyperslab()
    axis = next((axis for axis, n in enumerate(count) if n > dataset.shape[axis]), 0)
    most = max(-(-(dataset.shape[axis] - start[axis]) // stride[axis]), 0)
    if "\0" in names[0]:
        pattern = re.compile(re.escape(Path(names[0]).name).replace("\0", r"(\d+)"))
        folder = Path(holder).absolute().parent / Path(names[0]).parent
        there = [pattern.fullmatch(one.name) for one in folder.iterdir()] if folder.is_dir() else []
        most = max([most, *(int(match[1]) + 1 for match in there if match)])
    for number in range(most):
        yield names[0].replace("\0", str(number)), names[1].replace("\0", str(number))


def _covers(found: Any, source: Any) -> bool:
    """Whether a dataset holds all voxels that are taken from it."""
    import h5py

    space, part = source.src_space, source.vspace
    if space.get_select_type() == h5py.h5s.SEL_ALL:  # the whole source: only its size is compared
        counted = part.get_select_npoints() if _is_finite(part) else prod(part.get_regular_hyperslab()[3])
        return bool(found.size == counted)
    if not _is_finite(space):
        return True  # an unlimited selection takes what there is
    _, last = space.get_select_bounds()
    return len(last) == len(found.shape) and all(n < most for n, most in zip(last, found.shape, strict=True))


def _is_finite(space: Any) -> bool:
    """Whether a selection is limited, unlike those of parts that may grow."""
    import h5py

    if space.get_select_type() != h5py.h5s.SEL_HYPERSLABS or not space.is_regular_hyperslab():
        return True
    return bool(max(space.get_regular_hyperslab()[2]) < h5py.h5s.UNLIMITED)


def _mark(space: Any, part: Any, shape: tuple[int, ...]) -> None:
    """Add the voxels that a part covers to a selection."""
    import h5py

    if part.get_select_type() == h5py.h5s.SEL_ALL:
        space.select_all()
        return
    if not part.is_regular_hyperslab():
        for first, last in part.get_select_hyper_blocklist():
            block = tuple(int(b) - int(a) + 1 for a, b in zip(first, last, strict=True))
            space.select_hyperslab(tuple(map(int, first)), (1,) * len(block), block=block, op=h5py.h5s.SELECT_OR)
        return
    start, stride, count, block = part.get_regular_hyperslab()
    room = zip(count, shape, start, stride, block, strict=True)
    # Clip an unlimited part to the shape of the dataset.
    fits = tuple(n if n <= most else -(-(most - first) // step) for n, most, first, step, _ in room)
    if min(fits) > 0:
        space.select_hyperslab(start, fits, stride, block, op=h5py.h5s.SELECT_OR)


def beside_file(dataset: Any, container: str) -> Any:
    """Reopen a dataset so that its external storage is searched in the folder of its file: HDF5 would search the
    working folder. The attributes of the returned dataset cannot be read."""
    import h5py

    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    folder = Path(hdf5_links.holder(dataset, container)).absolute().parent
    access.set_efile_prefix(str(folder).encode())
    file, name = dataset.file, dataset.name
    dataset.id._close()  # else HDF5 keeps the old search folder
    return h5py.Dataset(h5py.h5d.open(file.id, name.encode(), access))


def _check_filter(code: int, name: bytes, path: str) -> None:
    from h5py import h5z

    if h5z.filter_avail(code):
        return
    with suppress(ImportError):
        import hdf5plugin  # noqa: F401  (registers its filters)
    if h5z.filter_avail(code):
        return
    told = _FILTERS.get(code) or name.decode(errors="replace") or f"number {code}"
    raise NeuropilError(
        f"{path} is compressed by the HDF5 filter {told}, which h5py does not have; "
        "install hdf5plugin (pip install 'neuropil[formats]'), or rewrite the file with gzip"
    )
