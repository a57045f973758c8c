import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from neuropil import Config
from neuropil.training.optimizers import make_optimizer, measure_norms, start_average, update_average
from neuropil.training.schedule import learning_rate


def config_of(**optimizer):
    return Config.from_dict({"optimizer": optimizer})


@pytest.mark.parametrize(
    ("name", "kind", "rate"),
    [("adamw", "AdamW", 0.01), ("adam", "Adam", 0.01), ("sgd", "SGD", 0.01), ("muon", "Muon", 0.05)],
)
def test_each_optimizer_descends_and_spares_vectors_from_decay(name, kind, rate):
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    optimizer = make_optimizer(network, config_of(name=name, learning_rate=rate, weight_decay=0.1))
    assert type(optimizer).__name__ == kind
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0]
    data = torch.randn(32, 3)
    losses = []
    for _ in range(60):
        loss = (network(data) - data.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_muon_makes_kernels_orthogonal_and_no_vectors():
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.GroupNorm(1, 2))
    kernels, vectors = make_optimizer(network, config_of(name="muon")).param_groups
    assert (kernels["orthogonal"], vectors["orthogonal"]) == (True, False)
    assert [p.ndim for p in kernels["params"]] == [5]


def weights(values, **optimizer):
    """What the average of a weight becomes that takes these values, one per step."""
    config = config_of(**optimizer)
    network = nn.Linear(1, 1, bias=False)
    average = start_average(network)
    for i, value in enumerate(values):
        nn.init.constant_(network.weight, value)
        update_average(average, network, config, done=i / len(values))
    return average.module.weight.item()


def test_swa_is_the_mean_of_the_last_share():
    assert weights([100, 50, 1, 2, 3, 6], swa=0.67) == pytest.approx((1 + 2 + 3 + 6) / 4)


def test_ema_forgets_the_start_and_ends_near_the_recent_past():
    assert weights([100] + [1.0] * 60, ema=0.9) == pytest.approx(1, abs=0.5)
    assert weights([5, 7, 3], ema=0.0) == 3


def test_an_average_holds_buffers_and_waits_for_nothing():
    config, network = config_of(ema=0.5), nn.BatchNorm3d(2)
    average = start_average(network)
    assert average.n_averaged.device.type == "cpu"
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for step in range(3):
            nn.init.constant_(network.weight, step)
            nn.init.constant_(network.running_mean, -step)
            network.num_batches_tracked += 1
            update_average(average, network, config, done=0)
    # Of 0, 1, 2 with shares of 1, 1 - 2/11 and 1 - 3/12.
    expected = 0.25 * (9 / 11) + 0.75 * 2
    assert average.module.weight.tolist() == pytest.approx([expected] * 2)
    assert average.module.running_mean.tolist() == pytest.approx([-expected] * 2)
    assert average.module.num_batches_tracked.item() == 3
    names = [event.key for event in seen.key_averages()]
    assert "aten::_foreach_lerp_" in names


def test_adam_is_fused_on_gpus_unless_its_gradients_are_scaled():
    network = nn.Linear(2, 2)
    for precision, device, fused in (("auto", "cuda", True), ("fp16", "cuda", None), ("auto", "cpu", None)):
        config = Config.from_dict({"training": {"precision": precision}})
        assert make_optimizer(network, config, device).defaults["fused"] is fused


def test_norms_measured_anew_hold_the_mean_over_batches():
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm3d(1))
    average = start_average(network)
    batches = [torch.randn(2, 1, 2, 3, 3) + shift for shift in (1.0, 2.0, 6.0)]
    measure_norms(average, batches)
    norm = average.module[0]
    assert norm.running_mean.item() == pytest.approx(torch.stack([b.mean() for b in batches]).mean().item(), rel=1e-4)
    assert norm.momentum == 0.1


def test_learning_rates():
    steps = config_of(schedule="steps", milestones=[0.5, 0.9], decay=0.1, learning_rate=1.0, warmup=0).optimizer
    assert [round(learning_rate(steps, 99, done), 6) for done in (0.2, 0.5, 0.95)] == [1.0, 0.1, 0.01]
    plateau = config_of(schedule="plateau", learning_rate=1.0, warmup=10).optimizer
    assert learning_rate(plateau, 4, 0.01, drop=0.25) == pytest.approx(0.125)
    assert learning_rate(plateau, 4, 0.05, drop=0.25) == 0.25, "warm after 5 % of the run, however slow the steps"
