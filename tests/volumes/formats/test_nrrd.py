"""NRRD as pynrrd and others write it: every voxel, place and size as meant, or refused by name."""

import bz2
import gzip
import tracemalloc
import warnings

import numpy as np
import pytest

from foreign import IMAGE, same
from neuropil.errors import NeuropilError, Note
from neuropil.evaluation.placing import common_box
from neuropil.volumes import open_volume

nrrd = pytest.importorskip("nrrd")
NM = {"units": ["nm"] * 3}


def write(path, array=IMAGE, **header):
    """The array, z y x, with a header that counts x, y, z."""
    nrrd.write(str(path), np.ascontiguousarray(array.T), {key.replace("_", " "): v for key, v in header.items()})
    return path


def placed(path, size, start=(0, 0, 0), expected=IMAGE):
    found = same(path, expected, voxel_size=size)
    assert found.start == start
    return found


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_nrrd(tmp_path, encoding):
    header = {
        "space directions": np.diag([0.006, 0.007, 0.03]), "space units": ["microns"] * 3, "encoding": encoding,
        "space origin": [0.012, 0, 0.03], "space dimension": 3, "kinds": ["domain"] * 3,
    }  # fmt: skip
    nrrd.write(str(tmp_path / "a.nrrd"), IMAGE.T, header)
    placed(tmp_path / "a.nrrd", (30, 7, 6), (1, 0, 2))
    header["space directions"] = np.array([[0, 0.006, 0], [0.007, 0, 0], [0, 0, 0.03]])
    nrrd.write(str(tmp_path / "b.nrrd"), IMAGE.T, header)
    with pytest.raises(NeuropilError, match="order x, y, z"):
        open_volume(tmp_path / "b.nrrd")


def test_nrrd_voxels_outside_of_the_folder_are_asked_for(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    for place in ("out.raw", "in/near.raw"):
        (tmp_path / place).write_bytes(array.tobytes())
    head = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 3 2\nencoding: raw\ndata file: "
    (tmp_path / "in" / "far.nrrd").write_text(head + "../out.raw\n")
    (tmp_path / "in" / "near.nrrd").write_text(head + "near.raw\n")
    (tmp_path / "in" / "many.nrrd").write_text(head + "near_%03d.raw 1 2 1\n")
    (tmp_path / "in" / "list.nhdr").write_text(head + "LIST\nnear.raw\nnear.raw\n")
    assert (open_volume(tmp_path / "in" / "near.nrrd").read() == array).all()
    with pytest.raises(NeuropilError, match="allow-outside"):
        open_volume(tmp_path / "in" / "far.nrrd")
    for several in ("many.nrrd", "list.nhdr"):
        with pytest.raises(NeuropilError, match="join the files first"):
            open_volume(tmp_path / "in" / several)
    monkeypatch.setenv("NEUROPIL_ALLOW_OUTSIDE", "1")
    assert (open_volume(tmp_path / "in" / "far.nrrd").read() == array).all()


def test_nrrd_channels_are_known_by_their_missing_direction_and_colours_refused(tmp_path):
    array = np.random.default_rng(0).integers(0, 255, (2, 5, 6, 7), dtype=np.uint8)  # c, x, y, z
    directions = np.array([[np.nan] * 3, [4, 0, 0], [0, 4, 0], [0, 0, 40]], float)
    nrrd.write(str(tmp_path / "c.nrrd"), array, {"space directions": directions, "space units": ["nm"] * 3})
    assert (open_volume(tmp_path / "c.nrrd").read() == array.transpose(0, 3, 2, 1)).all()
    rgb = {"kinds": ["RGB-color", "domain", "domain"]}
    nrrd.write(str(tmp_path / "rgb.nrrd"), array[:1, :3, :, :].reshape(3, 6, 7), rgb)
    with pytest.raises(NeuropilError, match="a section in colour"):
        open_volume(tmp_path / "rgb.nrrd")


def test_where_axes_begin_is_their_place(tmp_path):
    write(tmp_path / "a.nrrd", spacings=[6, 7, 30], axis_mins=[12, 0, 90], **NM)
    placed(tmp_path / "a.nrrd", (30, 7, 6), (3, 0, 2))
    ends = {"axis_mins": [12, 0, 90], "axis_maxs": [12 + 6 * 30, 7 * 20, 90 + 30 * 4]}
    write(tmp_path / "b.nrrd", **ends, centerings=["cell"] * 3, **NM)
    placed(tmp_path / "b.nrrd", (30, 7, 6), (3, 0, 2))
    write(tmp_path / "c.nrrd", **ends, **NM)
    with pytest.raises(NeuropilError, match=r"axis maxs.*c\.nrrd; write `spacings`, or `centerings`"):
        open_volume(tmp_path / "c.nrrd")
    write(tmp_path / "d.nrrd", **ends, spacings=[6, 7, 40], centerings=["cell"] * 3, **NM)
    with pytest.raises(NeuropilError, match=r"expected the spacings of axis mins"):
        open_volume(tmp_path / "d.nrrd")
    write(tmp_path / "e.nrrd", spacings=[6, 7, 30], axis_mins=[15, 0, 0], **NM)
    with pytest.warns(Note, match="begins between voxels"):
        assert open_volume(tmp_path / "e.nrrd").metadata.shift == (0, 0, -3)


def test_labels_name_the_axes(tmp_path):
    write(tmp_path / "a.nrrd", labels=["z", "y", "x"], spacings=[30, 7, 6], **NM)
    with pytest.warns(Note, match="stored as x, y, z"):
        placed(tmp_path / "a.nrrd", (30, 7, 6), expected=IMAGE.T)
    write(tmp_path / "b.nrrd", labels=["z", "y", ""], **NM)
    with pytest.raises(NeuropilError, match=r"a label for each axis.*b\.nrrd"):
        open_volume(tmp_path / "b.nrrd")
    write(tmp_path / "c.nrrd", labels=["left", "up", "deep"])
    with pytest.warns(Note, match="left, up, deep are not known names"):
        same(tmp_path / "c.nrrd", IMAGE)
    write(tmp_path / "d.nrrd", labels=["z", "y", "x"], space_directions=np.diag([6, 7, 30]))
    with pytest.raises(NeuropilError, match="order x, y, z"):
        open_volume(tmp_path / "d.nrrd")


def test_axes_counted_backwards_are_told_and_kept_apart(tmp_path):
    write(tmp_path / "a.nrrd", spacings=[6, -7, 30], axis_mins=[12, 0, 90], **NM)
    space = {"space_units": ["nm"] * 3, "space_origin": [12, 0, 90]}
    write(tmp_path / "b.nrrd", space_directions=np.diag([6, -7, 30]), **space)
    write(tmp_path / "c.nrrd", space_directions=np.diag([6, 7, 30]), **space)
    write(tmp_path / "l.nrrd", space_directions=np.diag([6, 7, 30]), space="left-posterior-superior", **NM)
    write(tmp_path / "r.nrrd", space_directions=np.diag([-6, -7, 30]), space="RAS", **NM)
    for name in ("a", "b"):
        with pytest.warns(Note, match="counts y backwards"):
            placed(tmp_path / f"{name}.nrrd", (30, 7, 6))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a, b, c, left, right = (open_volume(tmp_path / f"{name}.nrrd") for name in "abclr")
        common_box(a, b)
        common_box(left, right)
        assert left.metadata.directions == {"axis_directions": ["S", "P", "L"]}
        with pytest.raises(NeuropilError, match=r"directions \['\+', '-', '\+'\].*do not correspond"):
            common_box(b, c)


def test_spacings_of_all_axes_are_looked_at(tmp_path):
    array = np.stack([IMAGE, IMAGE + 1])  # c last, as NRRD counts
    write(
        tmp_path / "a.nrrd",
        array,
        kinds=["domain"] * 3 + ["list"],
        spacings=[6, 7, 30, np.nan],
        units=["nm"] * 3 + [""],
    )
    placed(tmp_path / "a.nrrd", (30, 7, 6), expected=array)
    write(tmp_path / "b.nrrd", spacings=[6, np.nan, 30], **NM)
    with pytest.raises(NeuropilError, match=r"a spacing for x, y and z.*b\.nrrd"):
        open_volume(tmp_path / "b.nrrd")
    write(tmp_path / "c.nrrd", spacings=[6, 7, 30], units=["nm", "nm", ""])
    with pytest.warns(Note, match="size of a voxel in nm is not known"):
        placed(tmp_path / "c.nrrd", None)
    write(tmp_path / "d.nrrd", spacings=[6, 7, 30], space_directions=np.diag([6, 7, 30]), **NM)
    with pytest.raises(NeuropilError, match="got both"):
        open_volume(tmp_path / "d.nrrd")


def test_what_pynrrd_passes_over_is_told(tmp_path):
    write(tmp_path / "a.nrrd", Spacings="6 7 30")
    with pytest.raises(NeuropilError, match=r"field 'spacings' once, in small letters.*a\.nrrd"):
        open_volume(tmp_path / "a.nrrd")
    write(tmp_path / "b.nrrd", old_min=0.0, old_max=1.0)
    with pytest.warns(Note, match="were scaled from old min"):
        same(tmp_path / "b.nrrd", IMAGE)


@pytest.mark.parametrize(
    "header",
    [
        {"space_directions": np.diag([6, 7]), "space_dimension": 2},
        {"space_directions": np.array([[6, 0, 0], [0, 7, 0]]), "space_dimension": 3},
        {"spacings": [6, 7], "units": ["nm"] * 2},
    ],
)
def test_one_section_has_no_thickness(tmp_path, header):
    with pytest.warns(Note, match="one section of unknown thickness"):
        placed(write(tmp_path / "a.nrrd", IMAGE[0], **header), None, expected=IMAGE[:1])


@pytest.mark.parametrize(("line", "told"), [("encoding: hex", "got hex"), ("type: block", "blocks of bytes")])
def test_what_pynrrd_cannot_read_is_named(tmp_path, line, told):
    head = {"type": "uint8", "dimension": "3", "sizes": "30 20 4", "encoding": "raw", "block size": "1"}
    key, value = line.split(": ")
    lines = [f"{name}: {text}" for name, text in {**head, key: value}.items()]
    (tmp_path / "a.nrrd").write_bytes("\n".join(["NRRD0004", *lines, "", ""]).encode() + IMAGE.tobytes())
    with pytest.raises(NeuropilError, match=rf"{told}.*a\.nrrd"):
        open_volume(tmp_path / "a.nrrd")


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("bzip2", bz2.compress)])
def test_no_more_is_unpacked_than_the_header_says(tmp_path, encoding, pack):
    head = f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 30 20 4\nencoding: {encoding}\n"
    for name, more in (("a", b""), ("b", b"data file: b.raw\n"), ("long", b""), ("skip", b"byte skip: 5\n")):
        packed = pack(IMAGE.tobytes() + bytes(10**7 if name == "long" else 0))
        (tmp_path / "b.raw").write_bytes(packed)
        (tmp_path / f"{name}.nrrd").write_bytes(head.encode() + more + b"\n" + (packed if name != "b" else b""))
    same(tmp_path / "a.nrrd", IMAGE)
    same(tmp_path / "b.nrrd", IMAGE)
    tracemalloc.start()
    with pytest.raises(NeuropilError, match=r"expected 2400 bytes of voxels, got 19201 or more, in .*long\.nrrd"):
        open_volume(tmp_path / "long.nrrd")
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()
    with pytest.raises(NeuropilError, match=r"got a skip, in .*skip\.nrrd"):
        open_volume(tmp_path / "skip.nrrd")


def test_an_origin_of_two_numbers_is_refused(tmp_path):
    write(tmp_path / "a.nrrd", space_directions=np.diag([6, 7, 30]), space_origin=[6, 7], space_units=["nm"] * 3)
    with pytest.raises(NeuropilError, match=r"space origin as three numbers, got \[6.0, 7.0\], in .*a\.nrrd"):
        open_volume(tmp_path / "a.nrrd")
