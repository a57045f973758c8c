"""NIfTI as nibabel writes it, and as others fill its header: honoured, or refused by name."""

import warnings

import numpy as np
import pytest

from foreign import IMAGE, same
from neuropil.errors import NeuropilError, Note
from neuropil.evaluation.placing import common_box
from neuropil.volumes import Tissue, in_tissue, open_volume

nibabel = pytest.importorskip("nibabel")
SIZE = (6, 7, 30)
FORM = np.diag([*SIZE, 1.0])


def write(path, array=IMAGE, sform=FORM, qform=None, zooms=SIZE, unit=3, slope=(np.nan, np.nan)):
    """The array, z y x, with the fields of the header as they are given; 3: µm."""
    image = nibabel.Nifti1Image(array.T, np.eye(4))
    header = image.header
    header.set_sform(sform, code=0 if sform is None else 2)
    header.set_qform(qform, code=0 if qform is None else 1)
    image = nibabel.Nifti1Image(array.T, None, header)
    image.header["pixdim"][1:4] = zooms
    image.header["xyzt_units"] = unit
    image.header.set_slope_inter(*slope)
    with path.open("wb") as file:  # `save` would write its own form
        image.header["vox_offset"], image.header["magic"] = 352, b"n+1"
        file.write(image.header.binaryblock + b"\0" * 4 + array.tobytes())
    return path


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
@pytest.mark.parametrize(("unit", "nm"), [("micron", 1000), ("mm", 1e6), ("unknown", None)])
def test_units(tmp_path, suffix, unit, nm):
    size = np.array([6, 7, 30]) / (nm or 1)
    image = nibabel.Nifti1Image(IMAGE.T, np.diag([*size, 1]))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / f"a.{suffix}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = same(tmp_path / f"a.{suffix}", IMAGE, voxel_size=None if nm is None else (30, 7, 6))
    assert found.directions == {"axis_directions": ["S", "A", "R"]}


def test_sizes_without_a_unit_are_told(tmp_path):
    with pytest.warns(Note, match=r"voxels of 30 × 7 × 6 \(z, y, x\) but no unit"):
        same(write(tmp_path / "a.nii", unit=0), IMAGE, voxel_size=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", message=".*stored as x, y, z")
        same(write(tmp_path / "a.nii", sform=np.eye(4), zooms=(1, 1, 1), unit=0), IMAGE, voxel_size=None)


@pytest.mark.parametrize(
    "turned",
    [
        np.array([[0, 6, 0, 0], [7, 0, 0, 0], [0, 0, 30, 0], [0, 0, 0, 1.0]]),
        np.array([[5.9, -1, 0, 0], [1, 6.9, 0, 0], [0, 0, 30, 0], [0, 0, 0, 1.0]]),
    ],
)
def test_turned_axes_are_refused(tmp_path, turned):
    with pytest.raises(NeuropilError, match=r"rotated ones in the sform of .*a\.nii"):
        open_volume(write(tmp_path / "a.nii", sform=turned))
    turned = turned / np.linalg.norm(turned, axis=0) * [*SIZE, 1]
    with pytest.raises(NeuropilError, match=r"rotated ones in the qform of .*a\.nii"):
        open_volume(write(tmp_path / "a.nii", sform=None, qform=turned))


def test_what_forms_and_pixdim_say_must_agree(tmp_path):
    with pytest.raises(NeuropilError, match=r"one size, got \[8.0, 7.0, 30.0\] in the sform and \[6.0, 7.0, 30.0\]"):
        open_volume(write(tmp_path / "a.nii", sform=np.diag([8.0, 7, 30, 1])))
    with pytest.raises(NeuropilError, match="different axis directions"):
        open_volume(write(tmp_path / "a.nii", qform=np.diag([-6.0, -7, 30, 1])))
    with pytest.raises(NeuropilError, match=r"pixdim of .*a\.nii"):
        open_volume(write(tmp_path / "a.nii", sform=None, zooms=(0, 7, 30)))
    with pytest.raises(NeuropilError, match=r"pixdim of .*a\.nii"):
        open_volume(write(tmp_path / "a.nii", sform=None, zooms=(-6, 7, 30)))


def test_axes_counted_backwards_are_told_and_kept_apart(tmp_path):
    backwards = np.diag([-6.0, -7, 30, 1])
    backwards[:3, 3] = 100
    write(tmp_path / "a.nii", sform=backwards)  # as ITK has it
    write(tmp_path / "b.nii")
    with pytest.warns(Note, match="counts y, x backwards"), pytest.warns(Note, match="position .* its sform"):
        assert same(tmp_path / "a.nii", IMAGE).directions == {"axis_directions": ["S", "P", "L"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a, b = open_volume(tmp_path / "a.nii"), open_volume(tmp_path / "b.nii")
        assert common_box(a, a) == a.box
        with pytest.raises(NeuropilError, match="do not correspond"):
            common_box(a, b)
        with pytest.raises(NeuropilError, match="do not correspond"):
            in_tissue(a, Tissue(str(tmp_path / "b.nii"))).read()


def test_no_form_says_nothing_of_directions(tmp_path):
    assert same(write(tmp_path / "a.nii", sform=None), IMAGE, voxel_size=(3e4, 7e3, 6e3)).directions == {}


@pytest.mark.parametrize(("slope", "inter"), [(2.0, 0.0), (1.0, -5.0), (0.5, 3.0), (0.0, 9.0)])
def test_values_are_multiplied_as_the_header_says(tmp_path, slope, inter):
    path = write(tmp_path / "a.nii")
    raw = bytearray(path.read_bytes())
    raw[112:120] = np.array([slope, inter], "<f4").tobytes()
    path.write_bytes(raw)
    same(path, IMAGE * slope + inter if slope else IMAGE)


def test_colours_and_series_are_refused(tmp_path):
    colours = np.zeros((3, 4, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colours, np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(NeuropilError, match=r"real numbers.*a\.nii"):
        open_volume(tmp_path / "a.nii")
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 4, 5, 2), "u1"), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(NeuropilError, match=r"t \(2\).*a\.nii"):
        open_volume(tmp_path / "a.nii")


def test_a_file_longer_than_its_header_says_is_refused(tmp_path):
    path = write(tmp_path / "a.nii")
    path.write_bytes(path.read_bytes() + b"\0" * 600)
    with pytest.raises(NeuropilError, match=r"2752 bytes by its header, got 3352, in .*a\.nii"):
        open_volume(path)


def test_one_section_has_no_thickness(tmp_path):
    with pytest.warns(Note, match="one section of unknown thickness"):
        same(write(tmp_path / "a.nii", IMAGE[0], sform=None, zooms=(6, 7, 0)), IMAGE[:1], voxel_size=None)


def test_a_flipped_byte_of_a_packed_file_is_found(tmp_path):
    path = tmp_path / "a.nii.gz"
    nibabel.save(
        nibabel.Nifti1Image(np.random.default_rng(0).integers(0, 250, (30, 20, 8)).astype("u1"), np.eye(4)), path
    )
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(NeuropilError, match=r"cannot read .*a\.nii\.gz"):
        open_volume(path)
