import copy

import pytest
import torch
from torch import nn

from neuropil.config import ModelConfig
from neuropil.models import ResidualUNet, build_network
from neuropil.models.folding import can_be_cast, for_prediction, in_bfloat16


def trained(model):
    """A network whose norms have counted something, as after training."""
    torch.manual_seed(0)
    network = build_network(model)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm3d):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.2, 4)
            nn.init.normal_(part.weight, 1, 0.5)
            nn.init.normal_(part.bias)
    return network.eval()


@pytest.mark.parametrize("norm", ["batch", "group", "instance", "none"])
@pytest.mark.parametrize("activation", ["relu", "elu", "leaky_relu", "gelu", "silu"])
@pytest.mark.parametrize("extra", [{}, {"squeeze": True, "stem": (1, 2, 2), "aux_contour": 1}], ids=["plain", "more"])
def test_it_computes_the_same(norm, activation, extra):
    network = trained(ModelConfig(widths=(4, 6), downsample=((1, 2, 2),), norm=norm, activation=activation, **extra))
    before = copy.deepcopy(network.state_dict())
    image = torch.rand(2, 1, 3, 17, 22)
    with torch.inference_mode():
        expected = network(image)
        found = for_prediction(network)(image)
        few = for_prediction(network, [7, 0, 1])(image)
        again = network(image)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
    torch.testing.assert_close(few, expected[:, [7, 0, 1]], rtol=0, atol=2e-5)
    assert torch.equal(again, expected), "the network itself stays as it is"
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_no_batch_norm_is_left():
    network = for_prediction(trained(ModelConfig()))
    assert not any(isinstance(part, nn.BatchNorm3d) for part in network.modules())


def test_auxiliary_channels_can_be_asked_for():
    network = trained(ModelConfig(widths=(4,), downsample=(), stem=(1, 2, 2), aux_contour=1, aux_distance=3))
    image = torch.rand(1, 1, 2, 8, 8)
    with torch.inference_mode():
        found = for_prediction(network, [0, 9, 10])(image)
        network.train()
        for part in network.modules():
            if isinstance(part, nn.BatchNorm3d):
                part.eval()
        everything = network(image)
    torch.testing.assert_close(found, everything[:, [0, 9, 10]], rtol=0, atol=2e-5)


def test_other_networks_are_changed_only_where_it_is_safe():
    class Uses(nn.Module):
        """Adds the input of its activation to its output: overwriting it would be wrong."""

        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.act = nn.Conv3d(1, 2, 3, padding=1), nn.BatchNorm3d(2), nn.ReLU()
            self.tail = nn.Sequential(nn.ReLU(), nn.Conv3d(2, 2, 1), nn.BatchNorm3d(2, track_running_stats=False))

        def forward(self, image):
            h = self.norm(self.conv(image))
            return h + self.act(h) + self.tail(h)

    torch.manual_seed(0)
    network = Uses().eval()
    image = torch.rand(1, 1, 4, 5, 6)
    with torch.inference_mode():
        torch.testing.assert_close(for_prediction(network, [0])(image), network(image))


def test_training_goes_on_as_before():
    network = ResidualUNet(3, widths=(4,), downsample=())
    network.train()
    assert not for_prediction(network).training
    assert network.training
    assert all(part.training for part in network.modules())


@pytest.mark.parametrize("norm", ["batch", "group", "instance", "none"])
def test_half_the_bits_say_nearly_the_same(norm):
    network = trained(ModelConfig(widths=(8, 12), downsample=((1, 2, 2),), norm=norm, squeeze=True, stem=(1, 2, 2)))
    image = torch.rand(1, 1, 4, 20, 22)
    whole = for_prediction(network)
    with torch.inference_mode():
        expected = network(image).sigmoid()
        found = in_bfloat16(whole)(image)
        again = whole(image)
        with torch.autocast("cpu", torch.bfloat16):
            autocast = network(image).float().sigmoid()
    assert found.dtype == torch.bfloat16
    assert again.dtype == torch.float32, "the one it was made from stays as it is"
    error, usual = ((one - expected).abs().mean() for one in (found.float().sigmoid(), autocast))
    assert error < max(2 * usual, 1e-3), "no worse than what autocast does"


def test_only_convolutions_and_norms_are_cast():
    assert can_be_cast(nn.Sequential(nn.Conv3d(1, 2, 1), nn.GroupNorm(1, 2), nn.ELU()))
    assert not can_be_cast(nn.Sequential(nn.Conv3d(1, 2, 1), nn.Linear(2, 2)))
    assert not can_be_cast(nn.Sequential(nn.Conv3d(1, 2, 1), nn.ConvTranspose3d(2, 2, 2)))
    assert not can_be_cast(nn.ReLU()), "what has no convolution is no network of this kind"
