"""Our convolution beside PyTorch's own in float32."""

import copy

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint

from neuropil.config import ModelConfig
from neuropil.models import ResidualUNet, build_network, convolution
from neuropil.models.convolution import Convolution, convolves_with_ours
from neuropil.models.folding import can_be_cast, for_prediction, in_bfloat16

KERNELS = [(1, 1, 1), (1, 3, 3), (3, 3, 3), (1, 5, 5), (5, 3, 1)]


def gradients(network, x, dtype, forward=None):
    """Output, and gradients of input, weight and bias, of a loss that looks at every output."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        out = (forward or network)(x)
    look = torch.arange(out.numel()).cos().reshape(out.shape) + 0.5
    (out.float() * look).sum().backward()
    found = [out.detach().float(), x.grad, *(p.grad for p in network.parameters())]
    network.zero_grad(set_to_none=True)
    return found


def near(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert one.dtype == torch.float32
        assert (one - other).norm() <= tolerance * other.norm() + 1e-6


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize(("batch", "inside", "outside"), [(1, 1, 3), (2, 12, 7), (3, 5, 1)])
@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
def test_it_is_a_convolution(kernel, depth, batch, inside, outside, last):
    torch.manual_seed(1)
    own = Convolution(inside, outside, kernel, bias=batch != 2)
    x = torch.randn(batch, inside, depth, 9, 11)
    padding = tuple(k // 2 for k in kernel)
    expected = gradients(own, x, torch.float32, lambda x: F.conv3d(x, own.weight, own.bias, padding=padding))
    if last:
        own = own.to(memory_format=torch.channels_last_3d)
        x = x.contiguous(memory_format=torch.channels_last_3d)
    near(gradients(own, x, torch.float32), expected, 1e-5)
    near(gradients(own, x, torch.bfloat16), expected, 0.015)


def test_networks_whose_convolutions_are_ours():
    assert convolves_with_ours(build_network(ModelConfig()))
    assert not convolves_with_ours(build_network(ModelConfig(architecture="unet_3d")))


def test_parameters_and_first_weights_are_those_of_conv3d():
    torch.manual_seed(3)
    own = Convolution(2, 3, (1, 3, 3))
    torch.manual_seed(3)
    plain = nn.Conv3d(2, 3, (1, 3, 3), padding=(0, 1, 1))
    assert own.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in own.state_dict().items())


def test_channels_stay_last_and_are_not_copied():
    x = torch.randn(2, 4, 3, 8, 8).contiguous(memory_format=torch.channels_last_3d)
    assert convolution._sections(x).data_ptr() == x.data_ptr()
    for inside in (1, 4):
        own = Convolution(inside, 6, (1, 3, 3)).to(memory_format=torch.channels_last_3d)
        given = torch.randn(2, inside, 3, 8, 8).contiguous(memory_format=torch.channels_last_3d)
        for depth in (1, 3):
            out = own(given[:, :, :depth])
            assert out.is_contiguous(memory_format=torch.channels_last_3d)
            assert out.stride(1) == 1


@pytest.mark.parametrize("recompute", [False, True])
def test_a_module_may_be_used_twice_and_computed_again(recompute):
    torch.manual_seed(2)
    own, x = Convolution(6, 6, (3, 3, 3)), torch.randn(2, 6, 3, 8, 8)

    def again(x):
        return checkpoint(own, x, use_reentrant=False) if recompute else own(x)

    def plain(x):
        return F.conv3d(F.conv3d(x, own.weight, own.bias, padding=1), own.weight, own.bias, padding=1)

    expected = gradients(own, x, torch.float32, plain)
    near(gradients(own, x, torch.bfloat16, lambda x: again(again(x))), expected, 0.03)


def test_frozen_weights_get_no_gradient():
    own = Convolution(4, 4, (3, 3, 3)).bfloat16().requires_grad_(False)
    x = torch.randn(1, 4, 3, 8, 8, dtype=torch.bfloat16, requires_grad=True)
    own(x).sum().backward()
    assert own.weight.grad is None
    assert x.grad is not None


def test_under_ddp_gradients_are_the_same():
    torch.manual_seed(4)
    own = Convolution(4, 5, (3, 3, 3)).to(memory_format=torch.channels_last_3d)
    x = torch.randn(2, 4, 3, 8, 8)
    expected = gradients(own, x, torch.bfloat16)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(own)
        for found, wanted in zip(gradients(wrapped, x, torch.bfloat16), expected, strict=True):
            assert torch.equal(found, wanted)
    finally:
        dist.destroy_process_group()


def convolutions(network, image):
    """The shapes of input and kernel of every convolution over three axes that a compiled network calls."""
    found = []

    def look(graph, _):
        for node in graph.graph.nodes:
            assert "conv3d" not in str(node.target).lower() or node.op != "call_module"
            if node.op == "call_function" and "conv3d" in str(node.target):
                found.append(tuple(tuple(arg.meta["example_value"].shape) for arg in node.args[:2]))
        return graph.forward

    torch.compiler.reset()
    with torch.inference_mode():
        torch.compile(network, backend=look, dynamic=False)(image)
    return found


@pytest.mark.parametrize("shape", [(1, 2, 3, 5, 7), (1, 24, 4, 9, 8), (2, 6, 5, 5, 5)])
def test_float32_is_convolved_by_onednn_whatever_the_size(shape):
    """torch would take its slow convolution for these, forward and backward."""
    if not convolution._has_onednn():
        pytest.skip("torch has no oneDNN for this processor")
    own, image = Convolution(shape[1], 6, (3, 3, 3)), torch.rand(shape, requires_grad=True)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        own(image).sum().backward()
        with torch.no_grad():
            own(image)
    names = {event.key for event in seen.key_averages()}
    assert "aten::mkldnn_convolution" in names
    assert not [name for name in names if "slow_conv3d" in name]


def test_without_onednn_it_computes_the_same(monkeypatch):
    own, image = Convolution(3, 4, (3, 3, 3)), torch.rand(1, 3, 4, 6, 5)
    found = gradients(own, image, torch.float32)
    monkeypatch.setattr(convolution, "_has_onednn", lambda: False)
    near(found, gradients(own, image, torch.float32), 1e-5)


@pytest.mark.parametrize("half", [False, True])
def test_compiling_brings_no_convolution_over_three_axes_back(half):
    network = for_prediction(build_network(ModelConfig(widths=(4, 6), downsample=((1, 2, 2),))))
    network = in_bfloat16(network) if half else network
    deep = convolutions(network, torch.zeros(1, 1, 3, 16, 16))
    assert deep, "the second level has kernels of three sections"
    assert all(weight[2] == 3 and image[2] == 3 for image, weight in deep)
    assert convolutions(network, torch.zeros(1, 1, 1, 16, 16)) == []


@pytest.mark.parametrize("depth", [1, 4])
def test_the_whole_network_computes_and_learns_as_before(monkeypatch, depth):
    options = {"widths": (6, 8), "downsample": ((1, 2, 2),), "squeeze": True, "recompute": True, "aux_contour": 1}
    network = build_network(ModelConfig(stem=(1, 2, 2), norm="group", **options))
    image = torch.rand(2, 1, depth, 24, 24)
    found = gradients(network, image, torch.float32)
    half = gradients(network, image, torch.bfloat16)
    monkeypatch.setattr(Convolution, "forward", nn.Conv3d.forward)
    expected, usual = gradients(network, image, torch.float32), gradients(network, image, torch.bfloat16)
    near(found, expected, 1e-4)
    for one, other, right in zip(half, usual, expected, strict=True):
        assert (one - right).norm() <= 1.5 * (other - right).norm() + 1e-3 * right.norm()


@pytest.mark.parametrize("norm", ["batch", "group", "instance", "none"])
def test_our_networks_are_cast_as_a_whole(norm):
    network = build_network(ModelConfig(norm=norm, squeeze=True, aux_contour=1, deep_supervision=True))
    assert isinstance(network, ResidualUNet)
    raw = [part for part in network.modules() if isinstance(part, nn.modules.conv._ConvNd)]
    assert all(type(part) is Convolution for part in raw)
    assert can_be_cast(network)
    cast = in_bfloat16(copy.deepcopy(network))
    assert all(
        p.dtype == torch.bfloat16 for part in cast.modules() if type(part) is Convolution for p in part.parameters()
    )
