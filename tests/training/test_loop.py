import math

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from neuropil import NeuropilError, load_config, train, write_volume
from neuropil.models.checkpoint import load_model, read_checkpoint
from neuropil.volumes import Metadata


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Stripes of two neurons with dark membranes between: learnable in seconds."""
    folder = tmp_path_factory.mktemp("stripes")
    x = np.arange(96)
    labels = np.broadcast_to((x // 12 % 2 + 1 + x // 24 * 2) * (x % 12 > 1), (6, 64, 96)).astype(np.uint32)
    noise = np.random.default_rng(0).normal(0, 10, labels.shape)
    image = (np.where(labels > 0, 170, 60) + noise).clip(0, 255).astype(np.uint8)
    write_volume(folder / "image.h5", image, Metadata(voxel_size=(30, 6, 6)))
    write_volume(folder / "labels.h5", labels)
    return folder


def recipe(data, *more):
    pair = f'{{"image": "{data}/image.h5", "labels": "{data}/labels.h5"}}'
    small = ["model.widths=[4,6]", "training.patch=[4,24,24]", "training.precision=fp32", "optimizer.warmup=5"]
    return load_config([], [f"data.train=[{pair}]", *small, "training.log_every=5", *more])


def weights(path):
    return read_checkpoint(path)["weights"]


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_learns_and_leaves_what_prediction_needs(data, tmp_path):
    config = recipe(data, "training.iterations=60", "training.image_every=60", "optimizer.learning_rate=0.01")
    last = train(config, tmp_path)
    assert last == tmp_path / "checkpoints" / "last.pt"
    assert (tmp_path / "checkpoints" / "best.pt").exists()
    assert load_config([tmp_path / "config.yaml"]) == config
    model = load_model(last)
    assert model.config == config
    assert model.info["voxel_size"] == [30, 6, 6]
    assert not list(tmp_path.rglob("*.partial"))

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    losses = [e.value for e in events.Scalars("loss/train")]
    assert len(losses) == 12
    assert losses[-1] < 0.6 * losses[0]
    assert {"learning_rate", "speed/voxels_per_second"} <= set(events.Tags()["scalars"])
    assert events.Tags()["images"] == ["image | target | prediction"]


def test_resuming_equals_never_having_stopped(data, tmp_path):
    whole = train(recipe(data, "training.iterations=8", "optimizer.schedule=constant"), tmp_path / "whole")
    half = train(recipe(data, "training.iterations=4", "optimizer.schedule=constant"), tmp_path / "half")
    again = train(recipe(data, "training.iterations=8", "optimizer.schedule=constant"), tmp_path / "rest", resume=half)
    assert equal(weights(whole), weights(again))
    assert equal(read_checkpoint(whole)["average"], read_checkpoint(again)["average"])
    assert not equal(weights(whole), weights(half))


def test_a_seed_reproduces_and_another_differs(data, tmp_path):
    runs = [
        train(recipe(data, "training.iterations=3", f"training.seed={s}"), tmp_path / str(i))
        for i, s in enumerate([1, 1, 2])
    ]
    assert equal(weights(runs[0]), weights(runs[1]))
    assert not equal(weights(runs[0]), weights(runs[2]))


def test_workers_do_not_change_the_run(data, tmp_path):
    alone = train(recipe(data, "training.iterations=3"), tmp_path / "alone")
    shared = train(recipe(data, "training.iterations=3", "training.workers=2"), tmp_path / "shared")
    assert equal(weights(alone), weights(shared))


def test_pretrained_takes_the_average_and_starts_anew(data, tmp_path):
    first = train(recipe(data, "training.iterations=5"), tmp_path / "first")
    second = train(
        recipe(data, "training.iterations=1", "optimizer.learning_rate=1e-12"), tmp_path / "second", pretrained=first
    )
    start, kept = read_checkpoint(first)["average"], weights(second)
    assert all(torch.allclose(start[k], kept[k], atol=1e-6) for k in start if "weight" in k)
    assert read_checkpoint(second)["step"]["iteration"] == 1


def test_best_is_kept_by_held_out_loss(data, tmp_path):
    pair = f'{{"image": "{data}/image.h5", "labels": "{data}/labels.h5"}}'
    config = recipe(data, f"data.validation=[{pair}]", "training.iterations=20", "training.checkpoint_every=5")
    train(config, tmp_path)
    best = read_checkpoint(tmp_path / "checkpoints" / "best.pt")["step"]
    last = read_checkpoint(tmp_path / "checkpoints" / "last.pt")["step"]
    assert math.isfinite(best["best"])
    assert best["best"] == last["best"]


def test_the_clock_ends_a_run(data, tmp_path):
    train(recipe(data, "training.minutes=0.02"), tmp_path)
    seconds = read_checkpoint(tmp_path / "checkpoints" / "last.pt")["step"]["seconds"]
    assert 1.2 <= seconds < 5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.write_bytes(b"not a checkpoint"), "not a neuropil checkpoint"),
        (lambda p: torch.save({"weights": {}}, p), "not a neuropil checkpoint"),
        (lambda p: None, "no checkpoint"),
    ],
    ids=["garbage", "foreign", "missing"],
)
def test_refuses_what_is_no_checkpoint(tmp_path, make, message):
    make(tmp_path / "x.pt")
    with pytest.raises(NeuropilError, match=message):
        load_model(tmp_path / "x.pt")


def test_refuses_weights_of_another_network(data, tmp_path):
    first = train(recipe(data, "training.iterations=1"), tmp_path / "first")
    with pytest.raises(NeuropilError, match="do not fit"):
        train(recipe(data, "training.iterations=1", "model.widths=[5,6]"), tmp_path / "second", pretrained=first)


def test_refuses_a_folder_that_cannot_be_written(data, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NeuropilError, match="cannot write"):
        train(recipe(data, "training.iterations=1"), tmp_path / "file" / "out")


def test_a_loss_that_is_no_number_stops(data, tmp_path):
    with pytest.raises(NeuropilError, match="loss became"):
        train(recipe(data, "training.iterations=50", "optimizer.learning_rate=1e30", "optimizer.clip=0"), tmp_path)
