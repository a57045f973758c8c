"""What `--inference` writes is what people's next step reads: waterz itself, on vol0 / 255."""

import h5py
import numpy as np
import pytest

from neuropil import synthetic
from neuropil.compat import waterz as ours
from neuropil.compat.connectomics.utils.evaluate import adapted_rand, instance_matching, voi
from neuropil.config import Config, ModelConfig
from neuropil.inference import predict_volume
from neuropil.models import build_network
from neuropil.models.checkpoint import Model
from reference.silence import silent

FUNCTION = ours.getScoreFunc("aff50_his256")


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    """One network's affinities as floats, and in the file that the classic command writes."""
    folder = tmp_path_factory.mktemp("vol0")
    config = Config().model_copy(update={"model": ModelConfig(widths=(4,), downsample=(), stem=(1, 1, 1))})
    network, image = build_network(config.model).eval(), synthetic.neuropil((6, 48, 48), seed=9)[0]
    found = {}
    for encoding in ("float32", "uint8"):
        predict = config.predict.model_copy(update={"keep": "channels", "encoding": encoding, "tta": 1})
        model = Model(network, config.model_copy(update={"predict": predict}), {})
        path = folder / f"{encoding}.h5"
        predict_volume(model, image, f"{path}/vol0", device="cpu")
        with h5py.File(path) as file:
            found[encoding] = file["vol0"][:3]
    return found


def test_vol0_is_the_floats_cut_to_bytes(predicted):
    assert predicted["uint8"].dtype == np.uint8
    np.testing.assert_array_equal(predicted["uint8"], (predicted["float32"] * np.float32(255)).astype(np.uint8))


@pytest.mark.parametrize("queue", [0, 256])
def test_waterz_itself_segments_vol0_like_the_truncated_floats_and_so_do_we(predicted, queue):
    waterz = pytest.importorskip("waterz")
    truncated = (predicted["float32"] * np.float32(255)).astype(np.uint8).astype(np.float32) / np.float32(255)
    read = np.ascontiguousarray(predicted["uint8"].astype(np.float32) / np.float32(255))
    # An untrained network is unsure of everything: spread its values.
    low, high = truncated.min(), truncated.max()
    inputs = [np.ascontiguousarray((one - low) / (high - low)) for one in (read, truncated)]
    fragments = ours.watershed(inputs[0], "grid")
    options = {"scoring_function": FUNCTION, "discretize_queue": queue}
    thresholds = [float(1 - share) for share in np.percentile(inputs[0], (98, 90, 60))]
    with silent():
        one, other = (
            [seg.copy() for seg in waterz.agglomerate(affs, thresholds, fragments=fragments.copy(), **options)]
            for affs in inputs
        )
    mine = list(ours.agglomerate(inputs[0], thresholds, fragments=fragments, **options))
    for a, b, c in zip(one, other, mine, strict=True):
        np.testing.assert_array_equal(a, b)
        assert adapted_rand(c, a) < 1e-12
        assert voi(c, a) == (0, 0)
        assert instance_matching(a, c).f1 == 1
    assert len(np.unique(one[0])) > len(np.unique(one[-1]))
