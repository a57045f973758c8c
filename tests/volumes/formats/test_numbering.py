"""Which files a pattern names: every voxel, place and size as meant, or refused by name."""

import h5py
import pytest
from PIL import Image

from foreign import IMAGE, same
from neuropil.errors import NeuropilError, Note
from neuropil.volumes import open_volume


def test_a_file_of_another_kind_in_a_stack_is_refused(tmp_path):
    for z in range(3):
        Image.fromarray(IMAGE[z]).save(tmp_path / f"s{z}.png")
    same(tmp_path / "*.png", IMAGE[:3])
    Image.fromarray(IMAGE[0]).convert("RGB").save(tmp_path / "s3.png")
    with pytest.raises(NeuropilError, match=r"RGB.*s3\.png"):
        open_volume(tmp_path / "*.png")
    Image.fromarray(IMAGE[0]).save(tmp_path / "s3.png")
    Image.fromarray(IMAGE[0]).save(tmp_path / "overview.png")
    with pytest.raises(NeuropilError, match=r"with names like.*overview\.png"):
        open_volume(tmp_path / "*.png")


def test_a_folder_with_brackets_in_its_name(tmp_path):
    (tmp_path / "run [1]").mkdir()
    for z in range(3):
        Image.fromarray(IMAGE[z]).save(tmp_path / f"run [1]/s{z}.png")
    same(tmp_path / "run [1]/*.png", IMAGE[:3])
    with h5py.File(tmp_path / "run [1]/a.h5", "w") as file:
        file["raw"] = IMAGE
    same(tmp_path / "run [1]/a.h5/raw", IMAGE)


def stack(folder, *names):
    folder.mkdir()
    for number, name in enumerate(names):
        Image.fromarray(IMAGE[number % 4]).save(folder / name)
    return folder / "*.png"


@pytest.mark.parametrize(
    "names",
    [
        ("z0_c0.png", "z0_c1.png", "z1_c0.png", "z1_c1.png"),  # channels
        ("w1_s1.png", "w1_s2.png", "w2_s1.png", "w2_s2.png"),  # wafers, or tiles
        ("z0_c0.png", "z1_c1.png", "z2_c0.png"),
        ("a1_h30.png", "a2_h20.png", "a3_h10.png"),  # which way is up?
    ],
)
def test_numbers_that_do_not_rise_together_are_no_order(tmp_path, names):
    with pytest.raises(NeuropilError, match=r"several numbers change.*one channel or tile"):
        open_volume(stack(tmp_path / "s", *names))


@pytest.mark.parametrize(
    "names",
    [
        ("run1_s1.png", "run1_s2.png", "run2_s3.png"),
        ("s001_1614850000.png", "s002_1614850061.png", "s003_1614850340.png"),  # seconds
        ("slice_98_z=0.9800um.png", "slice_99_z=0.9900um.png", "slice_100_z=1.0000um.png"),  # of a FIB-SEM
    ],
)
def test_several_numbers_that_rise_together(tmp_path, names):
    same(stack(tmp_path / "s", *names), IMAGE[:3])


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (("run1_s1.png", "run1_s2.png", "run2_s4.png"), "3"),
        (("z0_t10.png", "z1_t11.png", "z4_t12.png"), "2–3"),
        (("s1_z0.98um.png", "s2_z0.99um.png", "s4_z1.01um.png"), "3"),
        (("s1_a7.png", "s2_a70.png", "s4_a99.png"), "3"),
    ],
)
def test_gaps_are_found_among_several_numbers(tmp_path, monkeypatch, names, missing):
    path = stack(tmp_path / "s", *names)
    with pytest.raises(NeuropilError, match=rf"are missing: {missing}; give --allow-gaps"):
        open_volume(path)
    monkeypatch.setenv("NEUROPIL_ALLOW_GAPS", "1")
    with pytest.warns(Note, match="one after the other"):
        same(path, IMAGE[:3])


def test_a_number_twice(tmp_path):
    with pytest.raises(NeuropilError, match=r"same number: .*s01\.png and .*s1\.png"):
        open_volume(stack(tmp_path / "s", "s1.png", "s01.png", "s2.png"))


def test_capitals_leave_no_section_out(tmp_path):
    path = stack(tmp_path / "s", "s0.png", "s1.png", "s2.PNG")
    with pytest.raises(NeuropilError, match=r"got s2\.PNG, which differs in capitals only"):
        open_volume(path)
    same(tmp_path / "s/s[01].png", IMAGE[:2])
