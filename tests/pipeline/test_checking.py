"""What `config check` refuses is what a run would refuse, if only hours later."""

import re

import pytest

from neuropil import NeuropilError
from neuropil.models.checkpoint import load_model
from neuropil.pipeline.checking import check_volumes
from neuropil.pipeline.running import run
from training_data import recipe, stripes


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return stripes(tmp_path_factory.mktemp("stripes"))


def fails(config, out):
    """The message of a check, which is that of a run."""
    with pytest.raises(NeuropilError) as checked:
        check_volumes(config)
    with pytest.raises(NeuropilError) as ran:
        run(config, out)
    assert str(ran.value) == str(checked.value)
    assert not out.exists()
    return str(checked.value)


@pytest.mark.parametrize(
    ("bias", "keep", "says"),
    [
        ("[-0.5, -0.4]", "nearest", "each of 3 channels, got .*; predict.keep nearest keeps 3 of the 4 model.offsets"),
        ("[-0.5, -0.4, -0.4, -0.2]", "nearest", "each of 3 channels"),
        ("[-0.5, -0.4, -0.4]", "all", "each of 4 channels, got .*; predict.keep all keeps 4 of the 4 model.offsets"),
        ("[-2.5]", "all", "from -2 to 2"),
    ],
)
def test_biases_that_do_not_fit_what_is_predicted(data, tmp_path, bias, keep, says):
    offsets = "model.offsets=[[-1,0,0],[0,-1,0],[0,0,-1],[0,-4,0]]"
    test = f'data.test={{"image": "{data}/image.h5"}}'
    mutex = ["segment.method=mutex", f"segment.bias={bias}", f"predict.keep={keep}"]
    config = recipe(data, "training.iterations=1", offsets, test, *mutex)
    assert re.search(f"segment.bias: .*{says}", fails(config, tmp_path / "run"))


@pytest.mark.parametrize(
    ("bias", "keep"),
    [("[-0.5]", "nearest"), ("[-0.5, -0.4, -0.4]", "nearest"), ("[-0.5, -0.4, -0.4, -0.2]", "all")],
)
def test_biases_that_fit(data, bias, keep):
    offsets = "model.offsets=[[-1,0,0],[0,-1,0],[0,0,-1],[0,-4,0]]"
    mutex = ["segment.method=mutex", f"segment.bias={bias}", f"predict.keep={keep}"]
    assert len(check_volumes(recipe(data, "training.iterations=1", offsets, *mutex))) == 1


def test_edges_that_the_network_does_not_predict(data, tmp_path):
    """Nothing is to be segmented where nothing is to be predicted; then any edges may be learned."""
    flat = recipe(data, "training.iterations=1", "model.offsets=[[0,-1,0],[0,0,-1]]")
    check_volumes(flat)
    config = flat.model_copy(update={"data": flat.data.model_copy(update={"test": flat.data.train[0]})})
    assert "predict.keep: the network predicts no nearest edge (-1, 0, 0)" in fails(config, tmp_path / "run")


def test_a_patch_that_shrinks_to_one_voxel(data, tmp_path):
    test = f'data.test={{"image": "{data}/image.h5"}}'
    config = recipe(data, "training.iterations=1", "training.patch=[1,2,2]", test)
    assert "training.patch: expected more than 1×2×2 voxels" in fails(config, tmp_path / "run")
    check_volumes(recipe(data, "training.iterations=1", "training.patch=[1,2,2]", "training.batch=2"))
    check_volumes(recipe(data, "training.iterations=1", "training.patch=[1,2,2]", "model.norm=sync_batch"))


def test_weights_to_start_from_are_of_such_a_network(data, tmp_path):
    test = f'data.test={{"image": "{data}/image.h5"}}'
    given = ["training.iterations=1", "model.offsets=nearest", test]
    assert "checkpoint at nothing.pt" in fails(recipe(data, *given, "training.pretrained=nothing.pt"), tmp_path / "run")
    assert "model.widths" in fails(recipe(data, *given, "training.pretrained=snemi3d"), tmp_path / "run")
    fits = recipe(data, *given, "training.pretrained=snemi3d").model_copy(
        update={"model": load_model("snemi3d").config.model}
    )
    assert any(re.match(r"starts from .*snemi3d\.safetensors", line) for line in check_volumes(fits))
