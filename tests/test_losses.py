import math

import pytest
import torch

from neuropil.losses import balanced_bce, class_weights


def _bce(p, t):
    return -(t * math.log(p) + (1 - t) * math.log(1 - p))


def test_unbalanced_is_the_mean_over_valid_edges():
    logits = torch.tensor([2.0, -1.0, 0.5, 9.0]).reshape(1, 1, 1, 1, 4)
    target = torch.tensor([True, False, False, True]).reshape(logits.shape)
    valid = torch.tensor([True, True, True, False]).reshape(logits.shape)
    expected = sum(_bce(torch.sigmoid(torch.tensor(x)).item(), t) for x, t in [(2.0, 1), (-1.0, 0), (0.5, 0)]) / 3
    assert balanced_bce(logits, target, valid, class_balance=False).item() == pytest.approx(expected, rel=1e-5)


def test_balanced_classes_weigh_alike_in_each_channel():
    target = torch.rand(2, 3, 4, 5, 5, generator=torch.manual_seed(0)) < torch.tensor([0.9, 0.5, 0.2]).reshape(
        3, 1, 1, 1
    )
    valid = torch.rand(target.shape) < 0.7
    up, down = class_weights(target, valid, cap=100.0)
    for e in range(3):
        positive = (target & valid)[:, e].sum() * up[e]
        negative = (~target & valid)[:, e].sum() * down[e]
        assert positive.item() == pytest.approx(negative.item(), rel=1e-4)


def test_the_cap_holds_and_an_absent_class_changes_nothing():
    target = torch.ones(1, 2, 1, 10, 10, dtype=torch.bool)
    target[0, 1, 0, 0, 0] = False
    up, down = class_weights(target, torch.ones_like(target), cap=10.0)
    assert (up[0], down[0]) == (1, 1)
    assert down[1] == 10


def test_invalid_edges_have_no_gradient():
    logits = torch.randn(1, 2, 3, 4, 4, requires_grad=True)
    target = torch.rand(logits.shape) < 0.5
    valid = torch.rand(logits.shape) < 0.5
    balanced_bce(logits, target, valid).backward()
    assert (logits.grad[~valid] == 0).all()
    assert (logits.grad[valid] != 0).all()


def test_nothing_valid_is_zero_not_nan():
    logits = torch.randn(1, 1, 1, 2, 2)
    none = torch.zeros(logits.shape, dtype=torch.bool)
    assert balanced_bce(logits, none, none).item() == 0


def test_smoothing_puts_the_minimum_inside():
    target = torch.ones(1, 1, 1, 1, 1, dtype=torch.bool)
    at = [
        balanced_bce(torch.full(target.shape, x), target, target, label_smoothing=0.1).item() for x in (1.0, 2.197, 4.0)
    ]
    assert at[1] < min(at[0], at[2])
