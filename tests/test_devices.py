"""The same on a GPU as on the processor: run on the latter by `make test`, on the former by `make test-gpu`."""

import json
from contextlib import closing

import numpy as np
import pytest
import torch

from neuropil import Config, predict, synthetic, train, write_volume
from neuropil.augment import to_unit
from neuropil.augment.defects import SHARES
from neuropil.config import AugmentConfig
from neuropil.inference import in_memory
from neuropil.models import build_network
from neuropil.models.checkpoint import Model
from neuropil.models.convolution import Convolution
from neuropil.training.batches import Numbers, open_dataset, prepare
from neuropil.training.device_batches import placed_batches, prepare_together
from neuropil.training.loop import prepared
from neuropil.training.ranks import start_fabric
from neuropil.training.run import start_run
from neuropil.volumes import LOGIT8, Metadata
from training_data import recipe, stripes, weights


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return stripes(tmp_path_factory.mktemp("stripes"))


@pytest.mark.parametrize("kernel", [(1, 3, 3), (3, 3, 3)], ids=str)
@pytest.mark.parametrize("half", [False, True])
def test_convolutions(device, kernel, half):
    torch.manual_seed(0)
    own, x = Convolution(8, 8, kernel), torch.randn(2, 8, 3, 16, 16)
    expected = own(x).detach()
    with torch.autocast(device, torch.bfloat16, enabled=half):
        found = own.to(device, memory_format=torch.channels_last_3d)(x.to(device)).float().cpu()
    assert (found - expected).norm() <= (0.01 if half else 1e-3) * expected.norm()  # TF32


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_training_learns_and_repeats(device, data, tmp_path, precision):
    options = [f"training.device={device}", f"training.precision={precision}", "training.iterations=3"]
    first, again = (weights(train(recipe(data, *options), tmp_path / name)) for name in "ab")
    torch.manual_seed(0)
    fresh = build_network(recipe(data).model).state_dict()
    assert any(not torch.equal(first[name], fresh[name]) for name in fresh if name.endswith("weight"))
    assert all(torch.equal(first[name], again[name]) for name in first)


ONE = AugmentConfig(rotate=30, elastic=2, warp_probability=1.0, missing=0.3, blurred=0.3, noisy=0.4, slip=0.3)
SEVERAL = AugmentConfig(several=True, **dict.fromkeys(SHARES, 0.5), step=0.5)


@pytest.mark.parametrize("augment", [ONE, SEVERAL], ids=["one", "several"])
def test_batches_are_those_of_the_processor(device, data, tmp_path, augment):
    offsets = recipe(data).model.offsets
    codes = np.random.default_rng(0).integers(0, 256, (len(offsets), 6, 64, 96)).astype(np.uint8)
    write_volume(tmp_path / "teacher.h5", codes, Metadata(offsets=offsets, encoding=LOGIT8))
    files = {"image": f"{data}/image.h5", "labels": f"{data}/labels.h5", "teacher": f"{tmp_path}/teacher.h5"}
    config = recipe(data, f"data.train=[{json.dumps(files)}]").model_copy(update={"augment": augment})
    dataset = open_dataset(config.data.train, config, 0, augment)
    expected = prepare([dataset[n] for n in range(4)], config, 0, augment)
    drawn = placed_batches(dataset, Numbers(0, 4), torch.device(device))
    found = prepare_together(next(drawn), config, 0, augment)
    # On a GPU the convolution of a single blurred section may be one of TF32.
    assert (found.image_BCZYX.cpu() - expected.image_BCZYX).abs().max() < (1e-4 if device == "cpu" else 2e-3)
    for name in ("target_BEZYX", "validity_BEZYX", "soft_validity_BEZYX"):
        assert (getattr(found, name).cpu() == getattr(expected, name)).float().mean() > 0.9999, name
    valid = expected.soft_validity_BEZYX & found.soft_validity_BEZYX.cpu()
    assert valid.any() == (augment is SEVERAL), "what is warped is not taught"
    assert torch.equal(found.soft_BEZYX.cpu()[valid], expected.soft_BEZYX[valid])


def test_batches_made_beside_the_step_are_those_made_before_it(device, data, tmp_path):
    config = recipe(data, f"training.device={device}", "augment.rotate=30", "augment.noisy=0.5", "training.batch=3")
    fabric = start_fabric(config.training, own=True)
    run = start_run(config, fabric, None, tmp_path)
    dataset = open_dataset(config.data.train, config, 0, config.augment)
    streams = []
    for ahead in (False, True):
        drawn = placed_batches(dataset, Numbers(0, 3), fabric.device)
        with closing(prepared(run, drawn, ahead=ahead)) as stream:
            streams.append([next(stream) for _ in range(4)])
    for one, other in zip(*streams, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one[:4], other[:4], strict=True))


def test_prediction(device, monkeypatch):
    monkeypatch.setattr(in_memory, "CELL", (4, 32, 32))
    torch.manual_seed(0)
    config = Config.from_dict({"training": {"precision": "fp32"}})
    model = Model(build_network(config.model).eval(), config, {})
    image = synthetic.neuropil((6, 64, 64), seed=0)[0]
    image = image if isinstance(image, np.ndarray) else image.read()
    found = predict(model, image, tta=4, device=device)
    with torch.inference_mode():
        once = model.network(to_unit(torch.from_numpy(image))[None, None]).sigmoid()
    assert found.shape == (3, *image.shape)
    assert np.isfinite(found).all()
    assert np.abs(found - predict(model, image, tta=4, device="cpu")).max() < 5e-3
    assert once.shape[2:] == image.shape
