"""The verbs that look at files: info, convert, config new, config check."""

import h5py
import numpy as np
import pytest

from commands import neuropil
from neuropil.config import Config, load_config
from neuropil.geometry import Box
from neuropil.volumes import LOGIT8, Metadata, open_volume, write_volume


@pytest.fixture
def pair(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (60, 48, 40), np.uint8)
    write_volume("image.h5", image, Metadata(voxel_size=(30, 6, 6)))
    write_volume("labels.h5", (image // 64).astype(np.uint32))
    return image


def test_info_tells_what_a_volume_holds(tmp_path):
    metadata = Metadata((30, 6, 6), (60, 0, 8), ((-1, 0, 0), (0, -1, 0)), LOGIT8, {"threshold": 0.3})
    write_volume(tmp_path / "a.h5", np.zeros((2, 4, 5, 6), np.uint8), metadata)
    code, out, _ = neuropil("info", tmp_path / "a.h5")
    assert code == 0
    for words in ("2 × 4 × 5 × 6", "240 bytes", "30 × 6 × 6 nm", "60:64,0:5,8:14", "-1,0,0; 0,-1,0", "logit8", "0.3"):
        assert words in out


def test_convert_keeps_voxels_and_metadata(pair):
    assert neuropil("convert", "image.h5", "part.h5", "--box", "10:20,:,5:", "--voxel-size", "40,4,4")[0] == 0
    part = open_volume("part.h5")
    assert part.metadata.voxel_size == (40, 4, 4)
    assert part.box == Box((10, 0, 5), (20, 48, 40))
    assert np.array_equal(part.read(), pair[10:20, :, 5:])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("a.pth.tar a.h5", "a.pth.tar is a checkpoint: expected OUT to end in .safetensors, got a.h5"),
        ("a.pth a.safetensors --box 0:1,:,:", "weights are written as they are; leave out the options for volumes"),
        ("a.pth a.safetensors --sharded", "leave out the options for volumes"),
    ],
)
def test_weights_are_written_whole_under_a_name_of_their_own(words, said):
    code, _, error = neuropil("convert", *words.split())
    assert (code, said in error) == (2, True), error


def test_convert_in_many_slabs_is_the_same(pair, monkeypatch):
    monkeypatch.setattr("neuropil.volumes.convert.SLAB_BYTES", 1)
    assert neuropil("convert", "image.h5", "copy.h5")[0] == 0
    assert np.array_equal(open_volume("copy.h5").read(), pair)


def test_config_new_writes_what_config_check_accepts(pair):
    code, out, _ = neuropil("config", "new", "image.h5", "labels.h5", "-o", "mine.yaml", "--minutes", "2")
    assert code == 0
    assert "wrote mine.yaml" in out
    code, out, _ = neuropil("config", "check", "mine.yaml")
    assert code == 0
    assert "data.validation[0]" in out
    assert neuropil("config", "new", "image.h5", "labels.h5")[1].startswith("# image")


@pytest.mark.parametrize("value", ["30,6", "a,b,c", "0,6,6", "-1,2,3"])
def test_a_voxel_size_that_is_none(pair, value):
    code, _, err = neuropil("config", "new", "image.h5", "labels.h5", "--voxel-size", value)
    assert code == 2
    assert f"--voxel-size {value}: expected three sizes" in err


def test_info_lists_what_a_container_holds(tmp_path):
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["raw"] = np.zeros((2, 3, 4), np.uint8)
        file["truth"] = np.zeros((2, 3, 4), np.uint16)
    code, out, _ = neuropil("info", tmp_path / "two.h5")
    assert code == 0
    assert "raw  2×3×4 uint8" in out
    assert "truth  2×3×4 uint16" in out
    assert "2 × 3 × 4" in neuropil("info", tmp_path / "two.h5" / "truth")[1]


def test_info_of_a_checkpoint(tmp_path):
    from neuropil.models import build_network
    from neuropil.models.checkpoint import save_checkpoint

    config = Config.from_dict({"model": {"widths": [4, 6]}, "training": {"minutes": 3}})
    content = {"config": config.to_dict(), "weights": build_network(config.model).state_dict()}
    save_checkpoint(tmp_path / "a.pt", {**content, "info": {"iteration": 7, "voxel_size": [30, 6, 6]}})
    code, out, _ = neuropil("info", tmp_path / "a.pt")
    assert code == 0
    assert "iteration   7" in out
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(out.split("trained by this recipe:")[1])
    assert load_config([recipe]) == config
