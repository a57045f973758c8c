import h5py
import numpy as np
import pytest

from neuropil import Metadata, NeuropilError, open_volume, write_volume
from neuropil.errors import Note
from neuropil.evaluation import evaluate


@pytest.mark.parametrize("name", ["a.h5", "a.tif", "a.zarr", "a.n5"])
@pytest.mark.parametrize("origin", [None, (0, 0, 0), (3, 0, 5)])
def test_an_origin_of_zero_is_not_none(tmp_path, name, origin):
    write_volume(tmp_path / name, np.ones((2, 3, 4), np.uint32), Metadata(origin=origin))
    assert open_volume(tmp_path / name).metadata.origin == origin


@pytest.mark.parametrize("origin", [None, (0, 0, 0), (3, 0, 5)])
def test_precomputed(tmp_path, origin):
    path = f"precomputed://file://{tmp_path}/a"
    write_volume(path, np.ones((2, 3, 4), np.uint32), Metadata(voxel_size=(30, 6, 6), origin=origin))
    assert open_volume(path).metadata.origin == origin


def test_a_part_that_begins_at_zero_is_scored_where_it_lies(tmp_path):
    labels = np.arange(1, 5, dtype=np.uint32)[:, None, None].repeat(4, 1).repeat(4, 2)
    write_volume(tmp_path / "labels.h5", labels)
    write_volume(tmp_path / "part.h5", labels[:2], Metadata(origin=(0, 0, 0)))
    scores = evaluate(open_volume(tmp_path / "part.h5"), open_volume(tmp_path / "labels.h5"))
    assert str(scores.box) == "0:2,0:4,0:4"
    assert scores.adapted_rand_error == 0


def test_an_origin_between_voxels_is_rounded_and_told_unless_it_is_ours(tmp_path):
    for name in ("a.h5", "ours.h5"):
        if name == "ours.h5":
            write_volume(tmp_path / name, np.ones((2, 3, 4), np.uint8))
        with h5py.File(tmp_path / name, "a") as file:
            file.require_dataset("main", (2, 3, 4), np.uint8).attrs["origin"] = (1.5, 2, 3.4)
    with pytest.warns(Note, match=r"origin is \[1.5, 2.0, 3.4\], between voxels; taken as 2, 2, 3"):
        assert open_volume(tmp_path / "a.h5").metadata.origin == (2, 2, 3)
    with pytest.raises(NeuropilError, match="three whole numbers"):
        open_volume(tmp_path / "ours.h5")
