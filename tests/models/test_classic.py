"""The networks of PyTorch Connectomics compute what the originals computed."""

import numpy as np
import pytest
import torch
import yaml

from neuropil.compat.pytc.weights import read_classic, translate_weights
from neuropil.config import ModelConfig
from neuropil.config.networks import ClassicConfig
from neuropil.models import build_network
from neuropil.models.classic import build_classic
from neuropil.models.folding import for_prediction
from recorded import CLASSIC, NETWORKS, checkpoint, needs_classic


def original(name):
    """The network of a recorded configuration, with the recorded weights; grey values are taken as they are."""
    said = yaml.safe_load((CLASSIC / f"{name}_config.yaml").read_text())
    model, isotropic = said["MODEL"], said["DATASET"]["IS_ISOTROPIC"]
    config = ClassicConfig(
        widths=model["FILTERS"],
        isotropy=[True] * 5 if isotropic else model["ISOTROPY"],
        isotropic=isotropic,
        squeeze=model["BLOCK_TYPE"] == "residual_se",
        pooling=model["POOLING_LAYER"],
        mean=0.0,
        deviation=1.0,
    )
    network = build_classic(model["ARCHITECTURE"], config, 3)
    network.load_state_dict(translate_weights(read_classic(checkpoint(name))["state_dict"]))
    return network.eval()


@needs_classic
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_those_of_the_originals(name):
    recorded = np.load(CLASSIC / f"{name}_io.npz")
    image = torch.from_numpy(recorded["input"])
    flat = image.ndim == 4
    with torch.inference_mode():
        # The copy that prediction runs, with its norms folded in, is held to the same.
        found = for_prediction(original(name), [0, 1, 2])(image[:, :, None] if flat else image).numpy()
    kept = found[:, :, 0] if flat else found[:, :, recorded["planes"]] if "planes" in recorded else found
    np.testing.assert_allclose(kept, recorded["output"], atol=1e-4)
    if "output_mean" in recorded:
        np.testing.assert_allclose(found.mean((0, 2, 3, 4)), recorded["output_mean"], atol=1e-4)


def test_sections_of_a_flat_network_do_not_see_each_other():
    network = build_classic("unet_plus_2d", ClassicConfig(widths=(16, 16), isotropy=(False, False)), 2).eval()
    image = torch.rand(1, 1, 3, 17, 17)
    with torch.inference_mode():
        together = network(image)
        alone = torch.cat([network(image[:, :, z : z + 1]) for z in range(3)], dim=2)
    torch.testing.assert_close(together, alone)


def test_channels_of_auxiliary_targets_come_after_edges_also_in_evaluation():
    model = ModelConfig(
        architecture="unet_3d",
        unet_3d=ClassicConfig(widths=(4, 4), isotropy=(False, True)),
        offsets=((-1, 0, 0), (0, -1, 0), (0, 0, -1)),
        aux_contour=1,
    )
    network = build_network(model).eval()
    image = torch.zeros(1, 1, 3, 9, 9)
    whole, narrow = network(image), for_prediction(network, [3, 0])(image)
    torch.testing.assert_close(whole[:, [3, 0]], narrow)
    assert whole.shape[1] == 4
