"""Where a disk is full or files may not grow: one message, exit code 2, and nothing is left."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from forks import python
from neuropil import NeuropilError, open_volume, write_volume

IMAGE = np.random.default_rng(0).integers(0, 256, (8, 64, 64), dtype=np.uint8)
FORMATS = ["o.h5", "o.zarr", "zarr2://o.zarr", "o.n5", "o.precomputed", "o.tif", "o.npy", "o/*.png"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_volume("image.npy", IMAGE)
    return tmp_path


def convert(name, **limits):
    return python("-m", "neuropil", "convert", "image.npy", name, **limits)


@pytest.mark.parametrize("name", FORMATS)
def test_files_that_may_not_grow(folder, name):
    done = convert(name, RLIMIT_FSIZE=2000)
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert done.stderr.count("\n") == 1, done.stderr
    assert sorted(os.listdir()) == ["image.npy"]


@pytest.mark.parametrize("limit", [200, 800, 3000, 10000, 30000])
def test_hdf5_never_crashes_wherever_the_limit_strikes(folder, limit):
    write_volume("o.h5/before", IMAGE)
    before = Path("o.h5").read_bytes()
    done = convert("o.h5/more", RLIMIT_FSIZE=limit)
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert done.stderr.startswith("neuropil: cannot write o.h5/more: ")
    assert Path("o.h5").read_bytes() == before
    assert sorted(os.listdir()) == ["image.npy", "o.h5"]


@pytest.fixture
def small_disk(folder):
    os.mkdir("disk")
    done = subprocess.run("mount -t tmpfs -o size=24k tmpfs disk", shell=True, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no right to mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", "disk"], check=True)


@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk(small_disk, name):
    done = convert(name.replace("o", "disk/o", 1) if "://" not in name else "zarr2://disk/o.zarr")
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert done.stderr.count("\n") == 1, done.stderr
    assert os.listdir("disk") == []


def test_what_was_read_back_from_a_file_before_it_failed_is_right(tmp_path):
    from neuropil.volumes.formats.hdf5_file import SparingFile

    file = SparingFile(tmp_path / "a")
    file.write(b"0123456789")
    os.close(file.handle)
    file.handle = os.open("/dev/full", os.O_RDWR)
    file.seek(4)
    file.write(b"ab")
    assert (file.tell(), file.seek(0, os.SEEK_END), file.error.errno) == (6, 10, 28)
    file.seek(3)
    assert file.read(4) == b"\0ab\0"  # what had reached the disk is /dev/full's now
    file.close()


def test_a_checksum_guards_what_we_write(folder):
    for name, place in (("o.h5", "o.h5"), ("o.zarr", "o.zarr/c/0/0/0")):
        write_volume(name, IMAGE)
        with open(place, "r+b") as file:
            file.seek(-700 if name == "o.h5" else -2000, os.SEEK_END)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 4]))
        with pytest.raises(NeuropilError, match="cannot read"):
            open_volume(name).read()
