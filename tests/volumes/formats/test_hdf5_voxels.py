"""External storage and virtual datasets of HDF5: every voxel as meant, and those that are missing refused or told."""

import struct
import warnings

import h5py
import numpy as np
import pytest

from foreign import IMAGE, same
from neuropil.errors import NeuropilError, Note
from neuropil.volumes import open_volume, require_labels, write_volume


def write(path, **datasets):
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "a") as file:
        for name, voxels in datasets.items():
            file[name] = voxels
    return path


def virtual(path, parts, shape=IMAGE.shape, name="v"):
    """A virtual dataset of ``(where, file, dataset, shape)``."""
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "a") as file:
        layout = h5py.VirtualLayout(shape, "u1")
        for where, source, dataset, size in parts:
            layout[where] = h5py.VirtualSource(str(source), dataset, size)
        file.create_virtual_dataset(name, layout, fillvalue=9)
    return path / name


def numbered(path, sections, named=b"p%b.h5"):
    """A section of each of the files p0.h5, p1.h5 …, for ever: only the library below h5py's classes can say so."""
    with h5py.File(path, "w") as file:
        endless = h5py.h5s.UNLIMITED
        space = h5py.h5s.create_simple((sections, 3, 4), (endless, 3, 4))
        space.select_hyperslab((0, 0, 0), (endless, 1, 1), (1, 3, 4), (1, 3, 4))
        created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        created.set_virtual(space, named, b"x", h5py.h5s.create_simple((1, 3, 4)))
        whole = h5py.h5s.create_simple((sections, 3, 4), (endless, 3, 4))
        h5py.h5d.create(file.id, b"v", h5py.h5t.NATIVE_UINT8, whole, created)
    return path / "v"


def test_external_storage_lies_beside_the_file(tmp_path, monkeypatch):
    """Not in the folder in which the program runs, where HDF5 looks for it."""
    for name in ("d/raw.bin", "raw.bin", "e/raw.bin"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((IMAGE if name[0] == "d" else IMAGE + 1).tobytes())
    with h5py.File(tmp_path / "d/a.h5", "w") as file:
        file.create_dataset("inside", IMAGE.shape, "u1", external=[("raw.bin", 0, IMAGE.size)])
        file.create_dataset("outside", IMAGE.shape, "u1", external=[(str(tmp_path / "raw.bin"), 0, IMAGE.size)])
        file["linked"] = h5py.SoftLink("inside")
    monkeypatch.chdir(tmp_path / "e")
    same(tmp_path / "d/a.h5/inside", IMAGE)
    same(tmp_path / "d/a.h5/linked", IMAGE)
    with pytest.raises(NeuropilError, match="--allow-outside"):
        open_volume(tmp_path / "d/a.h5/outside")


def test_virtual_datasets(tmp_path):
    write(tmp_path / "d/part.h5", x=IMAGE, **{"g/y": IMAGE})
    half = IMAGE[:2].shape
    same(virtual(tmp_path / "d/a.h5", [(..., "part.h5", "x", IMAGE.shape)]), IMAGE)
    halves = [(slice(0, 2), "part.h5", "x", IMAGE.shape), (slice(2, 4), ".", "z", half)]
    with h5py.File(tmp_path / "d/a.h5", "a") as file:
        file["z"] = IMAGE[2:]
        layout = h5py.VirtualLayout(IMAGE.shape, "u1")
        layout[:2] = h5py.VirtualSource("part.h5", "g/y", IMAGE.shape)[:2]
        layout[2:] = h5py.VirtualSource(".", "z", half)
        file.create_virtual_dataset("w", layout)
        assert halves
    same(tmp_path / "d/a.h5/w", IMAGE)
    same(virtual(tmp_path / "d/b.h5", [(..., "a.h5", "w", IMAGE.shape)]), IMAGE)


@pytest.mark.parametrize(
    ("file", "dataset", "message"),
    [
        ("gone.h5", "x", "1 of the 2 parts .*x in gone.h5"),
        ("part.h5", "gone", "1 of the 2 parts .*gone in part.h5"),
        ("part.h5", "small", "1 of the 2 parts .*small in part.h5"),
        ("lost.h5", "v", "1 of the 3 parts .*x in gone.h5"),
        ("../part.h5", "x", "--allow-outside"),
        ("linked.h5", "x", "--allow-outside"),
        ("far.h5", "v", "--allow-outside"),
        ("text.h5", "x", "cannot be opened"),
    ],
)
def test_what_a_virtual_dataset_misses_is_refused(tmp_path, monkeypatch, file, dataset, message):
    write(tmp_path / "d/part.h5", x=IMAGE[:2], small=IMAGE[:1])
    write(tmp_path / "part.h5", x=IMAGE[:2])
    (tmp_path / "d/text.h5").write_text("no HDF5")
    virtual(tmp_path / "d/lost.h5", [(..., "gone.h5", "x", (2, 20, 30))], (2, 20, 30))
    virtual(tmp_path / "d/far.h5", [(..., "../part.h5", "x", (2, 20, 30))], (2, 20, 30))
    with h5py.File(tmp_path / "d/linked.h5", "w") as linked:
        linked["x"] = h5py.ExternalLink("../part.h5", "x")
    size = (2, 20, 30)
    path = virtual(tmp_path / "d/a.h5", [(slice(0, 2), "part.h5", "x", size), (slice(2, 4), file, dataset, size)])
    with pytest.raises(NeuropilError, match=message):
        open_volume(path)
    if "parts" in message and dataset != "small":  # which HDF5 cannot read at all
        monkeypatch.setenv("NEUROPIL_ALLOW_GAPS", "1")
        with pytest.warns(Note, match=message):
            assert (open_volume(path).read()[:2] == IMAGE[:2]).all()


@pytest.mark.parametrize("where", [(slice(0, 2),), (slice(0, 4, 2),), (slice(0, 4), slice(0, 10))])
def test_voxels_that_nothing_is_mapped_to_are_counted(tmp_path, where):
    size = np.empty(IMAGE.shape)[where].shape
    write(tmp_path / "part.h5", x=np.ones(size, "u1"))
    path = virtual(
        tmp_path / "a.h5", [(where, "part.h5", "x", size), (slice(0, 1), "part.h5", "x", (1, *size[1:]))][:1]
    )
    with pytest.warns(Note, match="1200 voxels .* are not mapped"):
        assert (open_volume(path).read() == 9).sum() == 1200


@pytest.mark.parametrize(
    ("there", "missing"), [((0, 1), None), ((0, 2), "p1.h5"), ((0, 1, 3), "p2.h5"), ((1,), "p0.h5")]
)
def test_numbered_parts(tmp_path, there, missing):
    for number in there:
        write(tmp_path / f"p{number}.h5", x=np.full((1, 3, 4), number + 1, "u1"))
    path = numbered(tmp_path / "a.h5", 2)
    if missing:
        with pytest.raises(NeuropilError, match=f"parts .* {missing}"):
            open_volume(path)
    else:
        same(path, np.full((2, 3, 4), 1, "u1") + np.arange(2, dtype="u1")[:, None, None])


@pytest.mark.parametrize(("named", "message"), [("../p%b.h5", "--allow-outside"), ("../%b/p.h5", "names of files")])
def test_numbered_parts_stay_in_the_folder(tmp_path, named, message):
    (tmp_path / "d").mkdir()
    for number in range(2):
        write(tmp_path / f"p{number}.h5", x=np.ones((1, 3, 4), "u1"))
    with pytest.raises(NeuropilError, match=message):
        open_volume(numbered(tmp_path / "d/a.h5", 2, named.encode()))


def test_files_that_were_moved_together(tmp_path):
    """HDF5 finds a file that is named from the root beside the one that names it."""
    write(tmp_path / "part.h5", x=IMAGE)
    same(virtual(tmp_path / "a.h5", [(..., "/nowhere/part.h5", "x", IMAGE.shape)]), IMAGE)


def test_chunks_that_were_never_written_are_counted(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", IMAGE.shape, "u1", chunks=(2, 10, 10), fillvalue=7)[:, :10, :20] = IMAGE[:, :10, :20]
    with pytest.warns(Note, match=r"8 of 12 chunks of .*raw were never written: .* fill value, 7"):
        volume = open_volume(tmp_path / "a.h5")
    assert (volume.read()[:, 10:] == 7).all()
    write_volume(tmp_path / "b.h5", 0 * IMAGE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_volume(tmp_path / "b.h5")


def test_what_was_never_written_is_told_of_one_piece_parts_and_without_a_value(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("one", IMAGE.shape, "u1", fillvalue=7)
        pieces = file.create_dataset("never", IMAGE.shape, "u1", chunks=(2, 10, 10), fillvalue=7, fill_time="never")
        pieces[:2] = IMAGE[:2]
    with pytest.warns(Note, match="nothing was ever written into .*one: .* fill value, 7"):
        same(tmp_path / "a.h5/one", 0 * IMAGE + 7)
    with pytest.warns(Note, match="6 of 12 chunks of .*never were never written: read as 0, since nothing says"):
        same(tmp_path / "a.h5/never", np.where(np.arange(4)[:, None, None] < 2, IMAGE, 0))
    parts = [(slice(None), tmp_path / "a.h5", "one", IMAGE.shape)]
    with pytest.warns(Note, match="nothing was ever written into .*the fill values of its parts"):
        same(virtual(tmp_path / "v.h5", parts), 0 * IMAGE + 7)


@pytest.mark.parametrize(
    ("part", "whole", "message"),
    [
        (IMAGE.astype("u2") + 300, "u1", "uint8, got uint16 in /x of"),
        (IMAGE.astype("i2") - 250, "u2", "uint16, got int16"),
        (IMAGE + 0.7, "u1", "uint8, got float64"),
        (IMAGE.astype("u2"), "u4", ""),
        (IMAGE.astype("f8"), "f4", ""),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path, part, whole, message):
    """HDF5 itself would cut them in silence."""
    write(tmp_path / "p.h5", x=part)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        layout = h5py.VirtualLayout(IMAGE.shape, whole)
        layout[:] = h5py.VirtualSource(tmp_path / "p.h5", "x", IMAGE.shape)
        file.create_virtual_dataset("v", layout)
    if message:
        with pytest.raises(NeuropilError, match=message):
            open_volume(tmp_path / "a.h5")
    else:
        same(tmp_path / "a.h5", part.astype(whole))


def test_parts_whose_numbers_mean_others_are_refused(tmp_path):
    with h5py.File(write(tmp_path / "p.h5", x=IMAGE), "a") as file:
        file["x"].attrs["scale_factor"] = 2.0
    with pytest.raises(NeuropilError, match=r"/x in .*, a part of .*v, has the attribute scale_factor = 2\.0"):
        open_volume(virtual(tmp_path / "a.h5", [(slice(None), tmp_path / "p.h5", "x", IMAGE.shape)]))


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize(
    ("packing", "dtype", "lossy"),
    [
        ("ZFP", "i4", True),
        ("Blosc2", "i4", False),
        ("Blosc2 cut", "f4", True),
        (0, "f4", True),
        (0, "i4", False),
        (4, "i4", True),
        (4, "u1", True),
    ],
)
def test_packings_that_change_ids(tmp_path, packing, dtype, lossy, parts):
    """ZFP, and the scale offset of HDF5: of whole numbers where it keeps some bits only. In parts, too."""
    hdf5plugin = pytest.importorskip("hdf5plugin")
    plugins = {"ZFP": hdf5plugin.Zfp(rate=8), "Blosc2": hdf5plugin.Blosc2(), "Blosc2 cut": hdf5plugin.Blosc2(filters=4)}
    options = plugins.get(packing, {"scaleoffset": packing, "chunks": (2, 10, 10)})
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=IMAGE.astype(dtype), **options)
        layout = h5py.VirtualLayout(IMAGE.shape, dtype)
        layout[:] = h5py.VirtualSource(".", "x", IMAGE.shape)
        file.create_virtual_dataset("v", layout)
    with open_volume(tmp_path / f"a.h5/{'v' if parts else 'x'}") as volume:
        if not lossy:
            assert (require_labels(volume).read() == IMAGE).all()
            return
        with pytest.raises(NeuropilError, match="without lossy compression, got JPEG or another"):
            require_labels(volume)


def test_chunks_beyond_the_shape_are_damage(tmp_path):
    """HDF5 removes those of a dataset that is made smaller; a damaged index has no checksum that would tell."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        file.create_dataset("x", data=IMAGE, chunks=(2, 10, 10))
    same(path, IMAGE)
    sizes = struct.pack("<3Q", *IMAGE.shape)
    smaller = struct.pack("<3Q", 4, 10, 30)
    path.write_bytes(path.read_bytes().replace(sizes, smaller, 2))  # the shape, and how far it may grow
    with pytest.raises(NeuropilError, match=r"has a chunk at \[\d, 10, \d+\], beyond its shape; its index is damaged"):
        open_volume(path)
