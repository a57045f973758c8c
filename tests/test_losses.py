import math
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch

from neuropil import losses
from neuropil.losses import balanced_bce, class_weights, dice, focal, soft_bce, squared_error
from operators import operators


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


def _batch(seed=0, shape=(4, 3, 2, 5, 6)):
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=draw)
    return logits, torch.rand(shape, generator=draw) < 0.6, torch.rand(shape, generator=draw) < 0.8


def test_dice_of_a_perfect_and_of_a_wrong_answer():
    target = torch.rand(2, 2, 2, 8, 8) < 0.5
    valid = torch.ones_like(target)
    assert dice(torch.where(target, 30.0, -30.0), target, valid).item() == pytest.approx(0, abs=1e-4)
    assert dice(torch.where(target, -30.0, 30.0), target, valid).item() > 0.95


def test_focal_without_focus_is_cross_entropy():
    logits, target, valid = _batch()
    plain = balanced_bce(logits, target, valid, class_balance=False)
    assert focal(logits, target, valid, gamma=0.0).item() == pytest.approx(plain.item(), rel=1e-5)
    assert focal(logits, target, valid, gamma=2.0) < plain


@pytest.mark.parametrize(
    "loss", [dice, focal, lambda x, t, v: squared_error(x.sigmoid(), t, v)], ids=["dice", "focal", "mse"]
)
def test_invalid_edges_do_not_touch_any_loss(loss):
    logits, target, valid = _batch()
    logits.requires_grad_()
    loss(logits, target, valid).backward()
    assert (logits.grad[~valid] == 0).all()
    assert logits.grad[valid].abs().sum() > 0
    assert loss(logits, target, torch.zeros_like(valid)).item() == 0


def test_edge_weights_choose_channels():
    logits, target, valid = _batch()
    first = balanced_bce(logits[:, :1], target[:, :1], valid[:, :1])
    weighted = balanced_bce(logits, target, valid, edge_weights=torch.tensor([1.0, 0.0, 0.0]))
    assert weighted.item() * valid.sum().item() == pytest.approx(first.item() * valid[:, :1].sum().item(), rel=1e-5)


@pytest.mark.parametrize("loss", [balanced_bce, dice, focal, squared_error], ids=["bce", "dice", "focal", "mse"])
def test_two_halves_that_share_their_sums_learn_what_the_whole_learns(loss):
    """Each half gets the sums of both with the gradient of its own, so that their gradients make up the whole's."""
    logits, target, valid = _batch()
    whole = logits.clone().requires_grad_()
    expected = loss(whole, target, valid)
    expected.backward()
    parts, posted, barrier = [slice(0, 1), slice(1, 4)], [None, None], Barrier(2, timeout=20)

    def learn(rank):
        def across(total):
            posted[rank] = total.detach()
            barrier.wait()
            other = posted[1 - rank]
            barrier.wait()
            return total + other

        half = logits[parts[rank]].clone().requires_grad_()
        value = loss(half, target[parts[rank]], valid[parts[rank]], across=across)
        value.backward()
        return value.item(), half.grad

    with ThreadPoolExecutor(2) as pool:
        for rank, (value, gradient) in enumerate(pool.map(learn, range(2))):
            assert value == pytest.approx(expected.item(), rel=1e-5)
            assert torch.allclose(gradient, whole.grad[parts[rank]], atol=1e-7)


def test_a_teacher_is_matched_where_it_speaks():
    """Against the library's function on the edges that count; least where the student says the same."""
    torch.manual_seed(0)
    logits, soft = torch.randn(1, 3, 2, 4, 4), torch.rand(1, 3, 2, 4, 4)
    valid = torch.rand(soft.shape) > 0.4
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits[valid], soft[valid])
    assert soft_bce(logits, soft, valid).item() == pytest.approx(expected.item(), rel=1e-5)
    assert soft_bce(torch.logit(soft), soft, valid) < soft_bce(torch.logit(soft) + 0.1, soft, valid)
    assert soft_bce(logits, soft, torch.zeros_like(valid)) == 0


def stepwise(logits, target, valid, smoothing, weights=None):
    """The same loss as the library's parts make it."""
    up, down = (w[:, None, None, None] for w in class_weights(target, valid, 10.0))
    aim = torch.where(target, 1.0 - smoothing, smoothing)
    cost = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), aim, reduction="none")
    weight = torch.where(target, up, down) * valid * (1 if weights is None else weights[:, None, None, None])
    return (cost * weight).sum() / valid.sum()


@pytest.mark.parametrize("way", [losses._WrongOnProcessor, losses._Wrong], ids=["native", "operators"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d], ids=str)
@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 0.2, 0.0])], ids=["alike", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_one_pass_gives_the_values_and_gradients_of_many(dtype, smoothing, weights, layout, way, monkeypatch):
    monkeypatch.setattr(losses, "_WrongOnProcessor", way)
    generator = torch.manual_seed(0)
    logits = (torch.randn(2, 3, 4, 10, 10, generator=generator) * 8).to(dtype).to(memory_format=layout)
    target, valid = torch.rand(logits.shape) < 0.8, torch.rand(logits.shape) < 0.9
    one, many = (logits.detach().clone().requires_grad_() for _ in range(2))
    got = balanced_bce(one, target, valid, label_smoothing=smoothing, edge_weights=weights)
    expected = stepwise(many, target, valid, smoothing, weights)
    (3 * got).backward()
    (3 * expected).backward()
    assert got.item() == pytest.approx(expected.item(), rel=1e-6)
    assert one.grad.dtype == dtype
    tolerance = 1e-6 if dtype == torch.float32 else 2**-8
    assert (one.grad - many.grad).abs().max() <= tolerance * many.grad.abs().max()
    with torch.no_grad():
        assert balanced_bce(one, target, valid, label_smoothing=smoothing, edge_weights=weights) == got


def test_sums_do_not_depend_on_threads_and_end_anywhere():
    generator = torch.manual_seed(0)
    for voxels in (1, 255, 257, 2**14, 2**14 + 1, 40_001):
        logits = torch.randn(2, 3, 1, 1, voxels, generator=generator) * 5
        target, valid = torch.rand(logits.shape) < 0.8, torch.rand(logits.shape) < 0.9
        found = []
        before = torch.get_num_threads()
        for threads in (1, 3):
            torch.set_num_threads(threads)
            one = logits.clone().requires_grad_()
            cost = balanced_bce(one, target, valid)
            cost.backward()
            found.append((cost.item(), one.grad))
        torch.set_num_threads(before)
        assert found[0][0] == found[1][0]
        assert torch.equal(found[0][1], found[1][1])
        assert found[0][0] == pytest.approx(stepwise(logits, target, valid, 0.0).item(), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_counts_where_the_edge_does(dtype, value):
    logits = torch.zeros(1, 1, 1, 1, 40, dtype=dtype)
    logits[..., 7] = value
    target, valid = torch.zeros_like(logits, dtype=torch.bool), torch.ones_like(logits, dtype=torch.bool)
    given = logits.clone().requires_grad_()
    cost = balanced_bce(given, target, valid, class_balance=False)
    cost.backward()
    expected = torch.nn.functional.softplus(logits.float()).mean()
    assert torch.allclose(cost, expected, equal_nan=True)
    assert given.grad.dtype == dtype
    assert given.grad.isnan().sum() == (value != value)
    valid[..., 7] = False
    given.grad = None
    cost = balanced_bce(given, target, valid, class_balance=False)
    cost.backward()
    assert cost.item() == pytest.approx(math.log(2))
    assert given.grad[..., 7] == 0


def test_the_loss_is_few_operators_and_its_counts_are_those_of_a_gpu(monkeypatch):
    monkeypatch.setattr(losses, "_WrongOnProcessor", losses._Wrong)
    target, valid = (torch.rand(2, 12, 3, 8, 8) < 0.7 for _ in range(2))
    counts = losses._counts(target, valid)
    assert torch.equal(counts, losses._by_sums(target & valid, valid))
    logits = torch.randn(target.shape, requires_grad=True)
    whole = len(operators(lambda: balanced_bce(logits, target, valid).backward()))
    counting = len(operators(lambda: losses._counts(target, valid)))
    assert whole - counting <= 35
    assert len(operators(lambda: losses._by_sums(target & valid, valid))) <= 4
