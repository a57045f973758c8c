"""MRC as mrcfile, IMOD and microscopes write it: values, place and size as meant, or refused by name."""

import struct
import tracemalloc
import warnings

import numpy as np
import pytest

from foreign import IMAGE, same
from neuropil.errors import NeuropilError, Note
from neuropil.volumes import open_volume

mrcfile = pytest.importorskip("mrcfile")
IMOD = 1146047817


def write(path, array=IMAGE, edit=lambda header: None, size=(6, 7, 30)):
    """The array, of voxels of so many nm (x, y, z), its header edited."""
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(array.view(np.int8) if array.dtype == np.uint8 else array)
        if size is not None:
            file.voxel_size = tuple(10 * n for n in size)
        edit(file.header)
    return path


def flags(number, version=0):
    """IMOD's stamp with these flags."""

    def edit(header):
        extra = bytearray(header.extra2.tobytes())
        extra[40:48] = struct.pack("<ii", IMOD, number)
        header.extra2 = np.void(bytes(extra))
        header.nversion = version
        header.origin = (-60.0, 0.0, -300.0)
        header.dmin, header.dmax = -128, 127

    return edit


@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "f2", "f4"])
def test_axes_are_those_of_the_header(tmp_path, dtype):
    array = (IMAGE // 2).astype(dtype)

    def place(header):
        header.origin = (120.0, 0.0, 300.0)

    def turn(header):
        place(header)
        header.mapc, header.maps = 3, 1  # columns are z, sections are x

    write(tmp_path / "a.mrc", array, place)
    assert same(tmp_path / "a.mrc", array, voxel_size=(30, 7, 6)).start == (1, 0, 2)
    write(tmp_path / "a.mrc", array, turn)
    with pytest.warns(Note, match="stored as x, y, z"):
        assert same(tmp_path / "a.mrc", array.T, voxel_size=(30, 7, 6)).start == (1, 0, 2)


def test_bytes_of_imod_are_signed_where_its_flag_says_so(tmp_path):
    same(write(tmp_path / "a.mrc", IMAGE, flags(0)), IMAGE)
    same(write(tmp_path / "a.mrc", IMAGE, flags(1)), IMAGE.view(np.int8))


def test_bytes_beyond_127_are_unsigned_and_what_is_not_said_is_told(tmp_path):
    def spread(least, most, version=20140):
        def edit(header):
            header.dmin, header.dmax, header.nversion = least, most, version

        return edit

    with pytest.warns(Note, match="values up to 249, so its bytes are read as unsigned"):
        same(write(tmp_path / "a.mrc", IMAGE, spread(1, 249)), IMAGE)
    with pytest.warns(Note, match="does not say whether its bytes are signed"):
        same(write(tmp_path / "a.mrc", IMAGE, spread(0, 0, 0)), IMAGE.view(np.int8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(write(tmp_path / "a.mrc", IMAGE, spread(-100, 100, 0)), IMAGE.view(np.int8))


@pytest.mark.parametrize("order", ["<", ">"])
def test_numbers_beyond_32767_are_unsigned(tmp_path, order):
    """As microscopes keep them that have no mode for unsigned ones: the header alone tells."""
    values = IMAGE.astype("u2") * 250

    def say(header):
        header.dmin, header.dmax = 0, 62250

    stored = values.view("i2").astype(f"{order}i2")
    with pytest.warns(Note, match="values up to 62250, so its numbers of 16 bits are read as unsigned"):
        same(write(tmp_path / "a.mrc", stored, say), values)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(write(tmp_path / "b.mrc", stored), values.view("i2"))


def test_the_origin_of_imod_has_the_other_sign_unless_it_says_not(tmp_path):
    assert same(write(tmp_path / "a.mrc", IMAGE, flags(0)), IMAGE).start == (1, 0, 1)
    assert same(write(tmp_path / "a.mrc", IMAGE, flags(4)), IMAGE).start == (-1, 0, -1)
    assert same(write(tmp_path / "a.mrc", IMAGE, flags(0, version=20141)), IMAGE).start == (-1, 0, -1)


def test_first_columns_rows_and_sections_are_turned_as_the_axes(tmp_path):
    def start(header):
        header.nxstart, header.nystart, header.nzstart = 5, 6, 7

    def turn(header):
        start(header)
        header.mapc, header.maps = 3, 1

    assert same(write(tmp_path / "a.mrc", IMAGE // 2, start), IMAGE // 2).start == (7, 6, 5)
    with pytest.warns(Note, match="stored as"):
        assert same(write(tmp_path / "a.mrc", IMAGE // 2, turn), IMAGE.T // 2).start == (5, 6, 7)

    def both(header):
        start(header)
        header.origin = (10.0, 20.0, 30.0)

    with pytest.raises(NeuropilError, match=r"expected one place.*a\.mrc; set one to 0"):
        open_volume(write(tmp_path / "a.mrc", IMAGE, both))


@pytest.mark.parametrize("mode", [3, 4, 16, 101])
def test_other_modes_are_refused_by_name(tmp_path, mode):
    def edit(header):
        header.mode = mode

    with pytest.raises(NeuropilError, match=rf"got mode {mode}, in .*a\.mrc; convert it"):
        open_volume(write(tmp_path / "a.mrc", IMAGE, edit))


def test_half_bytes_and_slanted_cells_are_refused(tmp_path):
    with pytest.raises(NeuropilError, match="bytes that hold two values"):
        open_volume(write(tmp_path / "a.mrc", IMAGE, flags(16)))

    def slant(header):
        header.cellb.gamma = 120

    with pytest.raises(NeuropilError, match=r"right angles, got \[90.0, 90.0, 120.0\]"):
        open_volume(write(tmp_path / "a.mrc", IMAGE, slant))


def test_one_section_and_several_volumes(tmp_path):
    def turn(header):
        header.mapc, header.maps = 3, 1

    same(write(tmp_path / "a.mrc", IMAGE[0] // 2), IMAGE[:1] // 2)
    with pytest.warns(Note, match="stored as x, y, z"):
        assert (open_volume(write(tmp_path / "a.mrc", IMAGE[0] // 2, turn)).read() == (IMAGE[:1] // 2).T).all()

    def volumes(header):
        header.ispg, header.mz = 401, 2

    with pytest.raises(NeuropilError, match=r"got t \(2\), z \(2\)"):
        open_volume(write(tmp_path / "a.mrc", IMAGE // 2, volumes))


def test_sizes_that_are_known_in_part_are_told(tmp_path):
    with pytest.warns(Note, match="gives 0, 7, 6 nm"):
        same(write(tmp_path / "a.mrc", IMAGE // 2, size=(6, 7, 0)), IMAGE // 2, voxel_size=None)


@pytest.mark.parametrize(("pixel", "size"), [(6e-9, (6, 6, 30)), (8e-9, (6, 6, 30)), (6e-9, None)])
def test_pixels_of_the_extended_header(tmp_path, pixel, size):
    from mrcfile.dtypes import get_ext_header_dtype

    rows = np.zeros(4, get_ext_header_dtype(b"FEI1", "<"))
    rows["Metadata size"], rows["Pixel size X"], rows["Pixel size Y"] = rows.dtype.itemsize, pixel, pixel
    write(tmp_path / "a.mrc", IMAGE // 2, size=size)
    with mrcfile.open(tmp_path / "a.mrc", "r+") as file:
        file.set_extended_header(rows)
        file.header.exttyp = b"FEI1"
    if size is None:
        with pytest.warns(Note, match="pixels of 6 × 6 nm .* no thickness"):
            same(tmp_path / "a.mrc", IMAGE // 2, voxel_size=None)
    elif pixel == 6e-9:
        same(tmp_path / "a.mrc", IMAGE // 2, voxel_size=(30, 6, 6))
    else:
        with pytest.raises(NeuropilError, match=r"got 6 × 6 nm \(y, x\) in the header and 8 × 8 nm"):
            open_volume(tmp_path / "a.mrc")


def test_a_montage_is_no_stack(tmp_path):
    def montage(step):
        path = write(tmp_path / "a.mrc", IMAGE // 2)
        pieces = np.array([[7, step * n, 0, n] for n in range(4)], "<i2")  # tilt, x, y, z
        with mrcfile.open(path, "r+") as file:
            extra = bytearray(file.header.extra2.tobytes())
            extra[16:20] = struct.pack("<hh", 8, 3)
            file.header.extra2 = np.void(bytes(extra))
            file.set_extended_header(pieces)
            file.header.exttyp = b"SERI"
        return path

    same(montage(0), IMAGE // 2)
    with pytest.raises(NeuropilError, match=r"pieces of a montage.*a\.mrc; join them"):
        open_volume(montage(900))


def test_a_file_of_another_length_than_its_header_says(tmp_path):
    path = write(tmp_path / "a.mrc", IMAGE // 2)
    whole = path.read_bytes()
    for content in (whole + b"\0" * 600, whole[:-600]):
        path.write_bytes(content)
        with pytest.raises(NeuropilError, match=r"cannot read .*a\.mrc"):
            open_volume(path)


@pytest.mark.parametrize("ending", ["mrcs", "ali", "preali", "join", "ccp4", "st"])
def test_other_names_of_the_same_format(tmp_path, ending):
    write(tmp_path / "a.mrc", IMAGE // 2).rename(tmp_path / f"a.{ending}")
    same(tmp_path / f"a.{ending}", IMAGE // 2, voxel_size=(30, 7, 6))


def test_the_depth_of_a_stack_of_pictures_is_questioned(tmp_path):
    path = write(tmp_path / "a.mrc", IMAGE // 2)
    with mrcfile.open(path, "r+") as file:
        file.set_image_stack()  # mrcfile leaves the size of the whole
    with pytest.warns(
        Note, match="a stack of pictures, each 120 nm thick by its header; if that is the thickness of the whole"
    ):
        same(path, IMAGE // 2, voxel_size=(120, 7, 6))


@pytest.mark.parametrize("count", [0, -30])
def test_a_grid_without_a_size_is_told(tmp_path, count):
    def edit(header):
        header.mx = count

    with pytest.warns(Note, match="gives 30, 7, 0 nm"):
        same(write(tmp_path / "a.mrc", IMAGE // 2, edit), IMAGE // 2, voxel_size=None)


def test_a_place_that_is_no_number_is_refused(tmp_path):
    def edit(header):
        header.origin = (np.nan, 0, 0)

    with pytest.raises(NeuropilError, match=r"a place in nm, got .*nan.*a\.mrc"):
        open_volume(write(tmp_path / "a.mrc", IMAGE // 2, edit))


@pytest.mark.parametrize("stamp", [b"DD", b"DA", b"D\x12", b"\x11\x11", b"\x11\x02", b"\0\0"])
@pytest.mark.parametrize("mode", [0, 2, 4, 101])
@pytest.mark.parametrize("order", ["<", ">"])
def test_an_extended_header_longer_than_the_file_is_refused_without_its_memory(tmp_path, stamp, mode, order):
    """Whatever order of bytes mrcfile finds in a damaged header: 906 MB in one, 54 bytes in the other."""
    path = write(tmp_path / "a.mrc")
    text = bytearray(path.read_bytes())
    text[12:16], text[92:96] = struct.pack(f"{order}i", mode), struct.pack(f"{order}i", 0x36000000)
    text[212:214] = stamp
    path.write_bytes(text)
    tracemalloc.start()
    with pytest.raises(NeuropilError):
        open_volume(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 50e6
