"""Every channel as a value of its voxel: symmetries, blending, and what the classic program wrote."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from neuropil import open_volume
from neuropil.compat.pytc.checkpoint import load_any_model
from neuropil.config import Config, ModelConfig
from neuropil.geometry import Box
from neuropil.inference import predict_volume
from neuropil.inference.channels import Channel, ChannelEngine, all_channels
from neuropil.inference.tiling import step_tiles
from neuropil.models import build_network
from neuropil.models.checkpoint import Model
from neuropil.targets import affinity_targets
from recorded import CLASSIC, checkpoint, needs_classic

EDGES = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, -2, 0), (0, 0, -2))
CHANNELS = (*(Channel("edges", o) for o in EDGES), Channel("contour", (0, 0, 0)))


def oracle(image_B1ZYX):
    """The exact affinities of an image of ids, 1 where an edge leaves it, and the ids themselves."""
    ids = image_B1ZYX[:, 0].round().long()
    found, inside = affinity_targets(ids, EDGES, torch.ones_like(ids, dtype=torch.bool))
    return torch.cat([torch.where(inside, found, True).float(), image_B1ZYX / 8], 1)


@pytest.mark.parametrize("tta", [1, 4, 8, 16])
@pytest.mark.parametrize("mode", ["mean", "min", "max"])
def test_edges_come_back_exactly_through_all_symmetries(tta, mode):
    ids = torch.randint(1, 4, (1, 4, 7, 7), generator=torch.Generator().manual_seed(1)).float()
    here = ((0, 0, 0),) * len(CHANNELS)
    engine = ChannelEngine(oracle, here, here, tta, mode, logits=False, about=CHANNELS)
    found = engine.affinities(ids).numpy()
    expected = oracle(ids[:, None]).numpy()
    np.testing.assert_allclose(found[:, -1], expected[:, -1])
    for channel, offset in enumerate(EDGES):
        inside = tuple(slice(max(-o, 0), None) for o in offset)
        np.testing.assert_allclose(found[:, channel][:, *inside], expected[:, channel][:, *inside], err_msg=str(offset))


def test_gaussian_shares_add_up_to_one_everywhere():
    tiling = step_tiles(Box.whole((7, 20, 21)), (4, 8, 9), (2, 4, 5), ((0, 0, 0),), "gaussian")
    total = np.zeros((7, 20, 21))
    for index in np.ndindex(*tiling.counts):
        total[tiling.tile(index).slices] += tiling.share(index)
    np.testing.assert_allclose(total, 1, rtol=1e-5)


def test_auxiliary_channels_are_written_after_edges(tmp_path):
    model = ModelConfig(widths=(4,), downsample=(), offsets=EDGES[:3], aux_erosions=(2,), aux_contour=1)
    assert [c.target for c in all_channels(model)] == ["edges"] * 3 + ["erosion 2"] * 3 + ["contour"]
    config = Config().model_copy(update={"model": model})
    predict = config.predict.model_copy(update={"keep": "channels", "encoding": "float32", "tta": 1})
    made = Model(build_network(model).eval(), config.model_copy(update={"predict": predict}), {})
    image = np.random.default_rng(0).integers(0, 256, (4, 16, 16), dtype=np.uint8)
    predict_volume(made, image, tmp_path / "a.h5", device="cpu")
    with open_volume(tmp_path / "a.h5") as volume:
        assert volume.shape == (7, 4, 16, 16)
        assert volume.metadata.offsets is None, "three channels are the same edges as three others"
        assert volume.read()[:, 0, 0, 0].min() > 0, "edges that leave the image have a value, too"


@needs_classic
@pytest.mark.parametrize(
    ("run", "changes"),
    [
        ("none", {"tta": 1}),
        pytest.param("aug4_min", {"tta": 4, "tta_mode": "min"}, marks=pytest.mark.slow),
        pytest.param("aug16_mean", {"tta": 16, "tta_mode": "mean", "stride": (8, 64, 64)}, marks=pytest.mark.slow),
    ],
)
def test_what_the_classic_program_wrote_is_reproduced(tmp_path, run, changes):
    model, _ = load_any_model(checkpoint("unet_3d_residual_se"))
    classic = {"keep": "channels", "encoding": "uint8", "blend": "gaussian", "views": "voxels", "surround": (0, 0, 0)}
    sizes = {"tile": (9, 65, 65), "stride": (4, 32, 32), "pad": (2, 16, 16)}
    settings = model.config.predict.model_copy(update={**classic, **sizes, **changes})
    used = replace(model, config=model.config.model_copy(update={"predict": settings}))
    predict_volume(used, CLASSIC / "inference_input.h5", tmp_path / "a.h5/vol0", device="cpu")
    with open_volume(tmp_path / "a.h5") as found, open_volume(CLASSIC / f"inference_{run}.h5") as recorded:
        apart = np.abs(found.read().astype(int) - recorded.read())
    assert apart.max() <= 1
    assert (apart > 0).mean() < 1e-3
