import pytest
import torch
import torch.nn.functional as F

from neuropil import NeuropilError
from neuropil.config import ModelConfig
from neuropil.models import ResidualUNet, build_network, check_spread, unet
from neuropil.models.unet import fold, unfold

SMALL = {"widths": (4, 6, 8), "downsample": ((1, 2, 2), (2, 2, 2))}


@pytest.mark.parametrize("norm", ["batch", "group", "instance", "none"])
@pytest.mark.parametrize("stem", [(1, 1, 1), (1, 2, 2), (2, 2, 2)])
@pytest.mark.parametrize("levels", [0, 1])
def test_any_size_comes_back(norm, stem, levels):
    net = ResidualUNet(2, **SMALL, norm=norm, stem=stem, anisotropic_levels=levels).eval()
    for size in [(1, 1, 17), (3, 9, 14), (4, 16, 16)]:
        assert net(torch.rand(1, 1, *size)).shape == (1, 2, *size)


@pytest.mark.parametrize("stem", [(1, 1, 1), (1, 2, 2)])
def test_shifting_by_the_pooling_shifts_the_answer(stem):
    net = ResidualUNet(1, widths=(4, 4), downsample=((1, 2, 2),), stem=stem).eval()
    image = torch.rand(1, 1, 3, 96, 96)
    with torch.no_grad():
        here, there = net(image), net(image[..., 8:])
    assert torch.allclose(here[..., 32:64, 40:64], there[..., 32:64, 32:56], atol=1e-5)


def test_z_is_not_mixed_by_flat_kernels_alone():
    net = ResidualUNet(1, widths=(4, 4), downsample=((1, 2, 2),), anisotropic_levels=2).eval()
    image = torch.rand(1, 1, 3, 16, 16)
    other = image.clone()
    other[:, :, 2] = 0
    with torch.no_grad():
        assert torch.equal(net(image)[:, :, :2], net(other)[:, :, :2])


@pytest.mark.parametrize("norm", ["batch", "group", "instance", "none"])
@pytest.mark.parametrize("shape", [{"widths": (4, 6, 8)}, {"widths": (6, 12)}, {"widths": (8,)}], ids=str)
@pytest.mark.parametrize("pooling", [(1, 2, 2), (2, 2, 2), (1, 1, 1)])
@pytest.mark.parametrize("stem", [(1, 1, 1), (1, 2, 2)])
def test_refused_are_the_patches_that_cannot_be_trained_on(norm, shape, pooling, stem):
    levels = len(shape["widths"])
    model = ModelConfig(**shape, downsample=(pooling,) * (levels - 1), norm=norm, stem=stem, anisotropic_levels=0)
    torch.manual_seed(0)
    network = build_network(model)
    for patch in [(1, 1, 1), (1, 2, 2), (1, 3, 4), (1, 4, 5), (2, 8, 8), (4, 4, 4), (4, 4, 8)]:
        for batch in (1, 2):
            said = refusal(lambda: network(torch.rand(batch, 1, *patch)), ValueError)  # noqa: B023
            ours = refusal(lambda: check_spread(model, patch, batch), NeuropilError)  # noqa: B023
            assert ("Expected more than 1" in said) == bool(ours) == bool(said)
            assert not ours or (ours.startswith("training.patch: expected more than ") and f"model.norm {norm}" in ours)


def refusal(call, kind):
    try:
        call()
    except kind as error:
        return str(error)
    return ""


def test_fold_and_unfold_are_inverse_and_keep_neighbours_together():
    x = torch.arange(2 * 4 * 6).reshape(1, 1, 2, 4, 6)
    folded = fold(x, (2, 2, 3))
    assert folded[0, :, 0, 0, 0].tolist() == x[0, 0, :2, :2, :3].flatten().tolist()
    assert torch.equal(unfold(folded, (2, 2, 3)), x)


def test_every_parameter_learns():
    net = ResidualUNet(2, **SMALL)
    net(torch.rand(1, 1, 4, 16, 16)).square().mean().backward()
    silent = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A bias in front of a 1×1×1 projection reaches the loss through the skip sum; nothing else may be dead.
    assert silent == []


def test_same_numbers_in_channels_last():
    net = ResidualUNet(2, **SMALL).eval()
    image = torch.rand(1, 1, 4, 16, 16)
    with torch.no_grad():
        plain = net(image)
        last = net.to(memory_format=torch.channels_last_3d)(image.to(memory_format=torch.channels_last_3d))
    assert torch.allclose(plain, last, atol=1e-5)


def test_wrong_depth_is_refused():
    with pytest.raises(NeuropilError, match="downsample"):
        ResidualUNet(1, widths=(4, 4), downsample=())


def test_built_from_config():
    net = build_network(ModelConfig(widths=(4, 8), offsets=((-1, 0, 0), (0, 0, -3))))
    assert net(torch.rand(1, 1, 2, 8, 8)).shape == (1, 2, 2, 8, 8)


@pytest.mark.parametrize("factor", [(1, 2, 2), (1, 3, 2), (2, 2, 2)])
def test_upsampling_is_linear(factor):
    x = torch.randn(2, 3, 4, 5, 6, requires_grad=True)
    expected = F.interpolate(x, scale_factor=[float(f) for f in factor], mode="trilinear", align_corners=False)
    found = unet._linear_upsample(x, factor)
    torch.testing.assert_close(found, expected)
    look = torch.randn(found.shape)
    gradients = [torch.autograd.grad((out * look).sum(), x)[0] for out in (found, expected)]
    torch.testing.assert_close(*gradients)
    with torch.autocast("cpu", torch.bfloat16):
        half = unet._linear_upsample(x.bfloat16(), factor)
    assert half.dtype == torch.bfloat16 or factor[0] != 1  # trilinear in autocast: as torch has it
    assert (half.float() - expected).norm() < 0.01 * expected.norm()
