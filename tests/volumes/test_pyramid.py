"""Pyramids and shards, read back by the libraries of their formats."""

import json

import numpy as np
import pytest
import tensorstore as ts
import zarr
from cloudvolume import CloudVolume
from typer.testing import CliRunner
from yaozarrs import validate_zarr_store

from neuropil import NeuropilError, synthetic
from neuropil.cli import app
from neuropil.volumes import Metadata, array_volume, open_volume, write_volume
from neuropil.volumes.pyramid import Pyramid, convert_pyramid

SIZE = (30.0, 6.0, 6.0)
SHAPE = (9, 35, 40)


@pytest.fixture(scope="module")
def volumes():
    image, labels = synthetic.neuropil(SHAPE, seed=2)
    return {"image": image, "labels": labels.astype(np.uint32)}


def mean(array, factors):
    """Every voxel the mean of those that are there."""
    return reduced(array, factors, lambda part: np.rint(part.mean(dtype=np.float64)))


def reduced(array, factors, rule):
    shape = [-(-n // f) for n, f in zip(array.shape, factors, strict=True)]
    found = np.zeros(shape, array.dtype)
    for at in np.ndindex(*shape):
        part = array[tuple(slice(i * f, (i + 1) * f) for i, f in zip(at, factors, strict=True))]
        found[at] = rule(part)
    return found


def is_mode(array, factors, found):
    """Whether every voxel is one of the most frequent of those it stands for."""

    values = iter(found.ravel())

    def rule(part):
        ids, counts = np.unique(part, return_counts=True)
        value = next(values)
        assert counts[ids == value].sum() == counts.max()
        return value

    np.testing.assert_array_equal(reduced(array, factors, rule), found)


@pytest.mark.parametrize("sharded", [False, True])
def test_an_ome_zarr_image(tmp_path, volumes, sharded):
    source = array_volume(volumes["image"], Metadata(SIZE, (10, 0, 4)))
    said = []
    convert_pyramid(source, tmp_path / "a.ome.zarr", Pyramid(3, sharded), say=said.append)
    assert said == [
        "coarser levels by the mean, since it holds uint8; --type says otherwise",
        "level 1: 9×18×20 voxels of 30×12×12 nm",
        "level 2: 9×9×10 voxels of 30×24×24 nm",
        "level 3: 5×5×5 voxels of 60×48×48 nm",
    ]
    validate_zarr_store(str(tmp_path / "a.ome.zarr"))
    group = zarr.open_group(tmp_path / "a.ome.zarr", mode="r")
    levels = group.attrs["ome"]["multiscales"][0]["datasets"]
    assert [level["path"] for level in levels] == ["0", "1", "2", "3"]
    moves = [step[step["type"]] for step in levels[3]["coordinateTransformations"]]
    assert moves == [[60, 48, 48], [10 * 30 + 15, 21, 4 * 6 + 21]]
    fine = volumes["image"]
    for number, factors in enumerate([(1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2)]):
        found = group[str(number)][:]
        expected = mean(fine, factors)
        assert np.abs(found.astype(int) - expected).max() <= (1 if number else 0)  # halves go either way
        fine = found
        volume = open_volume(tmp_path / f"a.ome.zarr/{number}")
        place = np.array([300.0, 0, 24]) + (np.array(volume.metadata.voxel_size) - SIZE) / 2
        np.testing.assert_allclose(volume.metadata.position, place)
    assert open_volume(tmp_path / "a.ome.zarr").shape == SHAPE
    assert (group["0"].shards is not None) == sharded


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("origin", [None, (3, 5, 7)])
def test_precomputed_scales_are_read_by_cloudvolume(tmp_path, volumes, sharded, origin):
    source = array_volume(volumes["labels"], Metadata(SIZE, origin))
    convert_pyramid(source, tmp_path / "a.precomputed", Pyramid(2, sharded))
    whole = volumes["labels"]
    start = np.array(origin or (0, 0, 0))
    for mip, factors in enumerate([(1, 1, 1), (1, 2, 2), (1, 2, 2)]):
        volume = CloudVolume(f"file://{tmp_path}/a.precomputed", mip=mip, progress=False, fill_missing=False)
        found = np.asarray(volume[:, :, :])[..., 0].T
        assert list(volume.resolution) == [6 * 2**mip, 6 * 2**mip, 30]
        assert volume.layer_type == "segmentation"
        assert ("sharding" in volume.scale) == sharded
        # The grid of a level begins at voxel 0 of the image.
        before = start % np.array(factors)
        padded = np.pad(whole, [(n, 0) for n in before], constant_values=2**32 - 1)
        start = start // np.array(factors)
        assert list(volume.voxel_offset) == list(start[::-1])
        for at in np.ndindex(*found.shape):
            part = padded[tuple(slice(i * f, (i + 1) * f) for i, f in zip(at, factors, strict=True))]
            ids, counts = np.unique(part[part < 2**32 - 1], return_counts=True)
            assert counts[ids == found[at]].sum() == counts.max()
        whole = found
        ours = open_volume(f"precomputed://{tmp_path}/a.precomputed/{volume.scale['key']}")
        np.testing.assert_array_equal(ours.read(), found)
        assert ours.metadata.start == tuple(start)


def test_n5_levels(tmp_path, volumes):
    source = array_volume(volumes["labels"].astype(np.uint16), Metadata(SIZE))
    convert_pyramid(source, tmp_path / "a.n5", Pyramid(1))
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{tmp_path}/a.n5/s1"}}
    found = ts.open(spec).result().T.read().result()
    np.testing.assert_allclose(found.astype(int), mean(volumes["labels"], (1, 2, 2)), atol=1)
    group = json.loads((tmp_path / "a.n5/attributes.json").read_text())
    assert group["scales"] == [[1, 1, 1], [2, 2, 1]]
    assert group["pixelResolution"] == {"dimensions": [6, 6, 30], "unit": "nm"}
    assert open_volume(tmp_path / "a.n5").shape == SHAPE
    assert open_volume(tmp_path / "a.n5/s1").metadata.position == (0, 3, 3)


def test_the_command_line(tmp_path, volumes):
    write_volume(tmp_path / "seg.h5", volumes["labels"].astype(np.uint8), Metadata(SIZE))

    def convert(*arguments):
        return CliRunner().invoke(app, ["convert", str(tmp_path / "seg.h5"), *map(str, arguments)])

    done = convert(tmp_path / "a.zarr", "--downsample", 1, "--type", "segmentation", "--sharded")
    assert done.exit_code == 0
    assert "coarser levels by the mode\n" in done.output
    assert "begins between" not in done.output
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    is_mode(volumes["labels"].astype(np.uint8), (1, 2, 2), group["1"][:])
    again = convert(tmp_path / "a.zarr", "--downsample", 2)
    assert again.exit_code == 0, again.output
    for arguments, told in (
        ((tmp_path / "b.h5", "--downsample", 1), "name a .ome.zarr, .n5 or .precomputed"),
        ((tmp_path / "b.zarr", "--downsample", 0), "from 1 on"),
        ((tmp_path / "b.zarr", "--downsample", 9), "ask for fewer"),
        ((tmp_path / "b.h5", "--sharded"), "cannot pack chunks into shards"),
        ((f"zarr2://{tmp_path}/b.zarr", "--sharded"), "needs Zarr 3"),
    ):
        refused = convert(*arguments)
        assert refused.exit_code == 2
        assert told in refused.stderr
    other = zarr.open_group(tmp_path / "other.zarr", mode="w")
    other.create_array("precious", data=np.ones(3))
    assert "other.zarr holds precious" in convert(tmp_path / "other.zarr", "--downsample", 1).stderr


def test_levels_without_a_voxel_size_and_with_channels(tmp_path):
    array = np.random.default_rng(0).random((2, 4, 6, 8)).astype(np.float32)
    convert_pyramid(array_volume(array), tmp_path / "a.zarr", Pyramid(1))
    found = zarr.open_group(tmp_path / "a.zarr", mode="r")["1"][:]
    np.testing.assert_allclose(found, array.reshape(2, 2, 2, 3, 2, 4, 2).mean(axis=(2, 4, 6)), rtol=1e-5)


def test_more_levels_than_voxels_leave_nothing(tmp_path):
    with pytest.raises(NeuropilError, match="ask for fewer"):
        convert_pyramid(array_volume(np.zeros((1, 2, 2), np.uint8)), tmp_path / "a.zarr", Pyramid(2))
    assert not list(tmp_path.iterdir())
