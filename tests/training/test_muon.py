"""Muon against its definition on singular values, and against AdamW where it is that."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neuropil.training.muon import NEWTON_SCHULZ, RMS, STEPS, Muon, orthogonal


def by_singular_values(matrix):
    """The definition: the polynomial, applied five times to each singular value of the matrix with norm 1."""
    u, s, vt = np.linalg.svd(matrix.double().numpy(), full_matrices=False)
    s = s / np.linalg.norm(s)
    a, b, c = NEWTON_SCHULZ
    for _ in range(STEPS):
        s = a * s + b * s**3 + c * s**5
    return torch.from_numpy(u * s @ vt)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.integers(0, 1000), st.sampled_from([1e-6, 1.0, 1e6]))
@settings(max_examples=60)
def test_singular_values_become_what_the_polynomial_makes_of_them(rows, columns, batch, seed, size):
    matrices = torch.randn(batch, rows, columns, generator=torch.Generator().manual_seed(seed)) * size
    for found, matrix in zip(orthogonal(matrices), matrices, strict=True):
        assert torch.allclose(found.double(), by_singular_values(matrix), atol=2e-3)


def test_long_directions_become_equally_long():
    left, right = (
        torch.linalg.qr(torch.randn(n, 32, generator=torch.Generator().manual_seed(n)))[0] for n in (32, 200)
    )
    matrix = left @ torch.diag(torch.logspace(0, -2, 32)) @ right.T
    lengths = torch.linalg.svdvals(orthogonal(matrix))
    assert lengths.min() > 0.65
    assert lengths.max() < 1.25


def test_a_gradient_of_zeros_changes_nothing():
    assert not orthogonal(torch.zeros(3, 4)).any()


def kernels(count=2):
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(4, 3, 1, 3, 3)) for _ in range(count)]


def give_gradients(parameters, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_the_step_is_the_momentum_made_orthogonal():
    """Two steps, as the source defines them, of kernels of one shape and one of another."""
    given = [*kernels(), nn.Parameter(torch.randn(5, 2))]
    expected, averages = [p.detach().clone() for p in given], [torch.zeros_like(p) for p in given]
    optimizer = Muon([{"params": given, "orthogonal": True, "weight_decay": 0.5}], lr=0.1, momentum=0.9)
    for seed in range(2):
        give_gradients(given, seed)
        for i, parameter in enumerate(given):
            averages[i] = 0.9 * averages[i] + 0.1 * parameter.grad
            ahead = (0.9 * averages[i] + 0.1 * parameter.grad).flatten(1)
            update = by_singular_values(ahead).float() * RMS * max(ahead.shape) ** 0.5
            expected[i] = expected[i] * (1 - 0.1 * 0.5) - 0.1 * update.view_as(expected[i])
        optimizer.step()
        for parameter, right in zip(given, expected, strict=True):
            assert torch.allclose(parameter, right, atol=2e-3)


def test_other_groups_learn_by_adamw_bit_for_bit():
    ours, theirs = kernels(), kernels()
    one = Muon([{"params": ours, "weight_decay": 0.1}], lr=0.01, betas=(0.8, 0.9))
    other = torch.optim.AdamW([{"params": theirs, "weight_decay": 0.1}], lr=0.01, betas=(0.8, 0.9))
    for seed in range(3):
        for parameters, optimizer in ((ours, one), (theirs, other)):
            give_gradients(parameters, seed)
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_the_size_of_the_gradient_does_not_count(factor):
    found = []
    for size in (1, factor):
        (kernel,) = kernels(1)
        optimizer = Muon([{"params": [kernel], "orthogonal": True, "weight_decay": 0}], lr=0.1)
        give_gradients([kernel], 3)
        kernel.grad *= size
        optimizer.step()
        found.append(kernel.detach())
    assert torch.allclose(*found, atol=1e-4)


def test_a_closure_is_called_and_parameters_without_gradient_stay():
    kernel, still = kernels()
    optimizer = Muon([{"params": [kernel, still], "orthogonal": True, "weight_decay": 0.1}], lr=0.1)
    before = still.detach().clone()

    def loss():
        value = kernel.square().sum()
        value.backward()
        return value

    first = optimizer.step(loss)
    assert optimizer.step(loss) < first
    assert torch.equal(still, before)
