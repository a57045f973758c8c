"""Another voxel size: edges come back to where they are in the image, and what cannot be done is refused."""

import numpy as np
import pytest
import torch

from neuropil import Config, NeuropilError, open_volume, predict
from neuropil.geometry import NEAREST
from neuropil.inference import predict_volume
from neuropil.inference.resampling import ResamplingEngine, factors, voxels_of_image
from neuropil.models import build_network
from neuropil.models.checkpoint import Model
from neuropil.volumes import Metadata, array_volume

SHAPE = (12, 14, 16)


def membranes(image_BCZYX):
    """A network that finds an edge the weaker, the more its two voxels differ."""
    image = image_BCZYX[:, 0]
    out = torch.ones(len(image), 3, *image.shape[1:])
    for axis in range(3):
        size = image.shape[axis + 1] - 1
        out[:, axis].narrow(axis + 1, 1, size).sub_(image.diff(dim=axis + 1).abs())
    return out


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.25, 1.5, 2.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("tta", [1, 8])
def test_the_weakest_edge_is_the_one_across_the_step(axis, factor, tta):
    """A step of grey at one place of one axis, in a tile that is seen at another size."""
    scale = tuple(factor if a == axis else 1.0 for a in range(3))
    for at in range(3, SHAPE[axis] - 3):
        image = torch.zeros(1, *SHAPE)
        image.narrow(axis + 1, at, SHAPE[axis] - at).fill_(1)
        engine = ResamplingEngine(membranes, NEAREST, NEAREST, tta, logits=False, factor=scale)
        found = engine.affinities(image)[0].numpy()
        assert found.shape == (3, *SHAPE)
        line = np.moveaxis(found[axis], axis, 0)[1:, 5, 5]
        assert line[at - 1] <= min(line.min() + 1e-6, 0.75), (at, line)
        far = int(np.ceil(1.5 / min(factor, 1)))  # voxels of the image to the next edge of the model but one
        assert line[: max(at - 1 - far, 0)].min(initial=1) == line[at - 1 + far + 1 :].min(initial=1) == 1
        assert not np.moveaxis(found[axis], axis, 0)[0].any()  # edges that leave the image
        for other in {0, 1, 2} - {axis}:
            assert np.moveaxis(found[other], other, 0)[1:].min() == 1


def test_a_tile_at_the_model_s_own_size_is_what_it_was():
    image = torch.rand(2, *SHAPE)
    plain = ResamplingEngine(membranes, NEAREST, NEAREST, logits=False).affinities(image).numpy()
    np.testing.assert_array_equal(plain[:, :, 1:, 1:, 1:], membranes(image[:, None]).numpy()[:, :, 1:, 1:, 1:])


@pytest.fixture
def model():
    values = {"model": {"widths": [2, 3], "downsample": [[1, 2, 2]]}, "data": {"voxel_size": [30, 6, 6]}}
    values |= {"segment": {"threshold": 0.4, "min_size": 400}, "training": {"precision": "fp32"}}
    config = Config.from_dict(values)
    torch.manual_seed(0)
    return Model(build_network(config.model).eval(), config, {})


def grey(size, shape=(6, 40, 44)):
    image = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    return array_volume(image, Metadata(voxel_size=size))


def test_affinities_are_on_the_image_s_grid_and_the_minimum_size_counts_its_voxels(model, tmp_path):
    settings = model.config.predict.model_copy(update={"resample": True, "tta": 4, "encoding": "float32"})
    predict_volume(model, grey((30, 12, 12)), tmp_path / "a.zarr", settings)
    with open_volume(tmp_path / "a.zarr") as found:
        assert found.shape == (3, 6, 40, 44)
        assert found.metadata.voxel_size == (30, 12, 12)
        assert found.metadata.extra["min_size"] == 100
        assert found.metadata.extra["threshold"] == 0.4
        assert found.metadata.extra["made_by"]["resampled"] == [1, 2, 2]
        array = found.read()
    np.testing.assert_allclose(array, predict(model, grey((30, 12, 12)), tta=4, resample=True), atol=1e-6)
    assert np.abs(array - predict(model, grey((30, 6, 6)), tta=4)).max() > 1e-3


def test_nothing_changes_where_the_sizes_agree(model):
    with_it, without = (predict(model, grey((30, 6, 6)), tta=1, resample=on) for on in (True, False))
    np.testing.assert_array_equal(with_it, without)


def test_what_cannot_be_done_is_refused(model):
    with pytest.raises(NeuropilError, match=r"within a factor of 2 of the model's 30×6×6 nm, got 30×14×14 nm"):
        predict(model, grey((30, 14, 14)), resample=True)
    with pytest.raises(NeuropilError, match="expected the voxel sizes of image and model, got None"):
        predict(model, grey(None), resample=True)
    with pytest.raises(NeuropilError, match="--keep nearest, got all"):
        predict(model, grey((30, 12, 12)), resample=True, keep="all")
    with pytest.warns(UserWarning, match="give --resample"):
        predict(model, grey((30, 12, 12)), tta=1)
    assert factors((15, 12, 6), (30, 6, 6), "a") == (0.5, 2.0, 1.0)
    assert (voxels_of_image(0, (2, 2, 2)), voxels_of_image(3, (2, 2, 2))) == (0, 1)
