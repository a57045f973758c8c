"""Convolutions in 8 bits, beside whole-number arithmetic done slowly, and beside float32."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from neuropil import _native
from neuropil.config import ModelConfig
from neuropil.models import build_network
from neuropil.models.convolution import Convolution
from neuropil.models.eight_bits import EightBitConvolution, in_eight_bits
from neuropil.models.folding import for_prediction
from neuropil.models.precision import no_int8

needs_vnni = pytest.mark.skipif(bool(no_int8(torch.device("cpu"), True)), reason="no 8-bit products on this processor")


def codes_of(values, rectify, threads=1):
    codes = np.full(len(values), 7, np.uint8)
    step, zero = _native.to_codes(values.bfloat16().view(torch.uint16).numpy(), rectify, codes, threads)
    return codes, step, zero


@given(st.lists(st.floats(-1e4, 1e4, width=16), min_size=1, max_size=300), st.booleans())
@settings(max_examples=200)
def test_codes_are_even_steps_from_the_least_to_the_largest_value_and_0(values, rectify):
    given = torch.tensor(values).bfloat16()
    codes, step, zero = codes_of(given, rectify)
    seen = given.float().clamp(min=0) if rectify else given.float()
    span = max(float(seen.max()), 0) - min(float(seen.min()), 0)
    assert step == pytest.approx(span / 255, rel=1e-6) or span < 1e-35
    found = torch.from_numpy((codes.astype(np.float64) - zero) * step)
    assert (found - seen).abs().max() <= 1.01 * step
    assert (found - seen).abs().median() <= 0.51 * step
    assert (found[seen == 0] == 0).all(), "0, which is padding, has a code of its own"


@pytest.mark.parametrize("count", [1, 65535, 65536, 65537, 300_000])
def test_threads_do_not_show(count):
    values = torch.randn(count, generator=torch.Generator().manual_seed(count))
    one, other = codes_of(values, False), codes_of(values, False, threads=3)
    assert one[1:] == other[1:]
    assert (one[0] == other[0]).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("rectify", [False, True])
def test_what_is_not_finite_is_told(bad, rectify):
    values = torch.ones(70_000)
    values[69_999] = bad
    assert np.isnan(codes_of(values, rectify)[1])


@needs_vnni
@pytest.mark.parametrize("kernel", [(1, 1, 1), (1, 3, 3), (3, 3, 3), (1, 5, 5)], ids=str)
@pytest.mark.parametrize(("inside", "outside", "depth"), [(1, 3, 4), (16, 24, 2), (33, 5, 1)])
@pytest.mark.parametrize("rectify", [False, True])
def test_it_is_the_convolution_of_the_rounded_numbers(kernel, inside, outside, depth, rectify):
    torch.manual_seed(0)
    plain = Convolution(inside, outside, kernel, bias=inside != 16)
    own = EightBitConvolution(plain, rectify)
    image = torch.randn(1, inside, depth, 9, 11).bfloat16().contiguous(memory_format=torch.channels_last_3d)
    codes, step, zero = codes_of(image.permute(0, 2, 3, 4, 1).flatten(), rectify)
    whole = torch.from_numpy(codes.astype(np.float64)).view(1, depth, 9, 11, inside).permute(0, 4, 1, 2, 3) - zero
    sums = F.conv3d(whole, own.codes.double(), padding=[n // 2 for n in kernel])
    bias = 0 if own.bias is None else own.bias.double().view(-1, 1, 1, 1)
    expected = sums * step * own.steps.double().view(-1, 1, 1, 1) + bias
    found = own(image)
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.double(), expected, rtol=2**-8, atol=1e-4)


@needs_vnni
def test_each_sample_is_rounded_by_itself():
    own = EightBitConvolution(Convolution(3, 4, (3, 3, 3)))
    images = torch.rand(2, 3, 4, 8, 8) * torch.tensor([1.0, 100]).view(2, 1, 1, 1, 1)
    assert torch.equal(own(images), torch.cat([own(images[:1]), own(images[1:])]))


@needs_vnni
def test_damage_stays_visible():
    image = torch.rand(1, 3, 4, 8, 8)
    image[0, 0, 0, 0, 0] = float("nan")
    assert EightBitConvolution(Convolution(3, 4, (3, 3, 3)))(image).isnan().all()


@needs_vnni
@pytest.mark.parametrize(
    "options", [{}, {"activation": "relu"}, {"squeeze": True}, {"stem": (1, 2, 2), "norm": "group"}]
)
def test_a_network_in_8_bits_is_nearly_that_in_float32(options):
    torch.manual_seed(0)
    network = for_prediction(build_network(ModelConfig(widths=(6, 8), downsample=((1, 2, 2),), **options)))
    image = torch.rand(1, 1, 5, 24, 20)
    with torch.no_grad():
        exact, found = network(image), in_eight_bits(network)(image)
    assert (found - exact).norm() < 0.05 * (exact - exact.mean()).norm()
    assert network(image).dtype == torch.float32, "the network given is not changed"
