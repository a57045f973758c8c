import math
import threading
from contextlib import closing
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from neuropil import Config, NeuropilError, load_config, train, write_volume
from neuropil.models.checkpoint import load_model, read_checkpoint
from neuropil.training.batches import Numbers, batches, open_dataset
from neuropil.training.loop import prepared, validate
from neuropil.training.run import Step, check_folder, start_run
from neuropil.training.workers import with_workers
from neuropil.volumes import Metadata
from training_data import equal, recipe, stripes, weights


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return stripes(tmp_path_factory.mktemp("stripes"))


def test_learns_and_leaves_what_prediction_needs(data, tmp_path):
    config = recipe(data, "training.iterations=60", "training.image_every=60", "optimizer.learning_rate=0.01")
    last = train(config, tmp_path)
    assert last == tmp_path / "checkpoints" / "last.pt"
    assert (tmp_path / "checkpoints" / "best.pt").exists()
    settled = with_workers(config, 0)
    assert load_config([tmp_path / "config.yaml"]) == settled
    model = load_model(last)
    assert model.config == settled
    assert model.info["voxel_size"] == [30, 6, 6]
    assert not list(tmp_path.rglob("*.partial"))

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    losses = [e.value for e in events.Scalars("loss/train")]
    assert len(losses) == 12
    assert losses[-1] < 0.6 * losses[0]
    shown = {"learning_rate", "gradient_norm", "loss/term/bce"}
    assert shown | {"speed/voxels_per_second", "speed/share_waiting_for_data"} <= set(events.Tags()["scalars"])
    assert events.Tags()["images"] == ["image | labels | target | prediction"]


def test_a_patch_without_spread_is_refused_before_the_first_step(data, tmp_path):
    config = recipe(data, "training.iterations=1", "training.patch=[1,2,2]")
    with pytest.raises(NeuropilError, match=r"expected more than 1×2×2 voxels, .* 2 levels .* got \(1, 2, 2\): take"):
        train(config, tmp_path)
    assert not list(tmp_path.rglob("*.pt"))
    assert train(recipe(data, "training.iterations=1", "training.patch=[1,2,2]", "training.batch=2"), tmp_path).exists()


def test_a_batch_larger_than_memory_is_refused_before_the_first_step(data, tmp_path):
    with pytest.raises(NeuropilError, match=r"a batch needs about .* GB of memory"):
        train(recipe(data, "training.iterations=1", "training.batch=1000000000"), tmp_path)
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize("ranks", [1, 2])
def test_norms_shared_by_ranks_count_the_samples_of_all(data, tmp_path, ranks):
    """Without GPUs such a norm is refused, but only after that."""
    config = recipe(data, "training.iterations=1", "training.patch=[1,2,2]", "model.norm=sync_batch")
    fabric = SimpleNamespace(world_size=ranks, device=torch.device("cpu"))
    with pytest.raises(NeuropilError, match="expected more than" if ranks == 1 else "needs GPUs"):
        start_run(config, fabric, None, tmp_path)


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


def test_the_next_batch_is_made_ahead_and_what_fails_there_is_said(data):
    config = recipe(data)
    real = batches(open_dataset(config.data.train, config, 0, config.augment), Numbers(0, 1), 0, pin=False)
    second, threads = threading.Event(), set()

    def samples():
        for number in range(3):
            threads.add(threading.current_thread().name)
            if number:
                second.set()
            yield next(real)
        raise NeuropilError("the disk is gone")

    # What is seen here is who makes batches, and when, as for a network on a GPU.
    run = SimpleNamespace(config=config, fabric=SimpleNamespace(device=torch.device("cpu")))
    with closing(prepared(run, samples(), ahead=True)) as stream:
        first = next(stream)
        assert second.wait(20), "the second batch is made before it is asked for"
        assert not torch.equal(first.image_BCZYX, next(stream).image_BCZYX)
        next(stream)
        with pytest.raises(NeuropilError, match="the disk is gone"):
            next(stream)
    assert threads == {"prepare_0"}
    assert not threads & {thread.name for thread in threading.enumerate()}


def test_pretrained_takes_the_average_and_starts_anew(data, tmp_path):
    first = train(recipe(data, "training.iterations=5"), tmp_path / "first")
    second = train(
        recipe(data, "training.iterations=1", "optimizer.learning_rate=1e-12"), tmp_path / "second", pretrained=first
    )
    start, kept = read_checkpoint(first)["average"], weights(second)
    assert all(torch.allclose(start[k], kept[k], atol=1e-6) for k in start if "weight" in k)
    assert read_checkpoint(second)["step"]["iteration"] == 1


def test_a_recipe_names_the_weights_to_start_from(data, tmp_path, capsys):
    first = train(recipe(data, "training.iterations=5"), tmp_path / "first")
    start = f"training.pretrained={first}"
    second = train(recipe(data, "training.iterations=1", "optimizer.learning_rate=1e-12", start), tmp_path / "second")
    known, kept = read_checkpoint(first)["average"], weights(second)
    assert all(torch.allclose(known[k], kept[k], atol=1e-6) for k in known if "weight" in k)
    assert load_config([tmp_path / "second" / "config.yaml"]).training.pretrained == str(first)
    capsys.readouterr()
    train(recipe(data, "training.iterations=2", start), tmp_path / "third", resume=second)
    assert "tensors from" not in capsys.readouterr().out


def test_the_run_remembers_the_weights_that_an_option_named(data, tmp_path):
    first = train(recipe(data, "training.iterations=1"), tmp_path / "first")
    other = recipe(data, "training.iterations=1", "training.pretrained=snemi3d")  # which does not fit
    train(other, tmp_path / "second", pretrained=first)
    assert load_config([tmp_path / "second" / "config.yaml"]).training.pretrained == str(first)
    with pytest.raises(NeuropilError, match=r"differs in training\.pretrained"):
        check_folder(other, tmp_path / "second")


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
    with pytest.raises(NeuropilError, match=r"no weights of .* name and shape"):
        train(recipe(data, "training.iterations=1", "model.widths=[5,7]"), tmp_path / "second", pretrained=first)
    with pytest.raises(NeuropilError, match="do not fit"):
        train(recipe(data, "training.iterations=2", "model.widths=[5,6]"), tmp_path / "third", resume=first)
    with pytest.raises(NeuropilError, match=r"optimizer\.name adamw, .* keep adamw, or start with --pretrained"):
        train(recipe(data, "training.iterations=2", "optimizer.name=muon"), tmp_path / "fourth", resume=first)


def test_a_deeper_network_takes_what_fits_and_says_what_does_not(data, tmp_path, capsys):
    first = train(recipe(data, "training.iterations=1"), tmp_path / "first")
    deeper = recipe(data, "training.iterations=1", "optimizer.learning_rate=1e-12", "model.widths=[4,6,8]")
    second = train(deeper, tmp_path / "second", pretrained=first)
    start, kept = read_checkpoint(first)["average"], weights(second)
    assert all(torch.allclose(start[k], kept[k], atol=1e-6) for k in start if "weight" in k)
    said = capsys.readouterr().out
    assert f"took {len(start)} of {len(kept)} tensors from {first}" in said
    assert "  encoder.2.enter.0.weight [8, 6, 3, 3, 3]: fresh\n" in said
    assert said.count(": fresh") == len(kept) - len(start)
    train(recipe(data, "training.iterations=1", 'model.offsets="nearest"'), tmp_path / "third", pretrained=first)
    assert "  head.weight [9, 4, 1, 1, 1]: left in the file\n" in capsys.readouterr().out


def test_refuses_a_folder_that_cannot_be_written(data, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NeuropilError, match="cannot write"):
        train(recipe(data, "training.iterations=1"), tmp_path / "file" / "out")


def test_a_loss_that_is_no_number_stops(data, tmp_path):
    with pytest.raises(NeuropilError, match="loss became"):
        train(recipe(data, "training.iterations=50", "optimizer.learning_rate=1e30", "optimizer.clip=0"), tmp_path)


@pytest.mark.parametrize(
    "more",
    [
        ["optimizer.name=sgd", "optimizer.schedule=steps", "optimizer.accumulate=2", "training.batch=2"],
        ["optimizer.name=muon"],
        ["optimizer.swa=0.5", "optimizer.schedule=constant"],
        ["model.aux_contour=1", "model.deep_supervision=true", "model.widths=[4,5,6]", "loss.dice=0.5"],
        ["augment.rotate=45", "augment.slip=0.3", "augment.step=0.3", "augment.missing=0.5", "augment.blurred=0.5"],
    ],
    ids=["sgd", "muon", "swa", "auxiliary", "augmented"],
)
def test_other_ways_of_learning_run_and_resume_exactly(data, tmp_path, more):
    options = [*more, "optimizer.schedule=constant"]
    whole = train(recipe(data, "training.iterations=4", *options), tmp_path / "whole")
    half = train(recipe(data, "training.iterations=2", *options), tmp_path / "half")
    again = train(recipe(data, "training.iterations=4", *options), tmp_path / "rest", resume=half)
    assert equal(weights(whole), weights(again))
    assert load_model(whole).network(torch.rand(1, 1, 4, 24, 24)).shape == (1, 9, 4, 24, 24)


def test_accumulating_is_a_larger_batch_where_samples_are_alone(data, tmp_path):
    """With group norm and no class balance, two batches of one are one batch of two, edge counts being equal."""
    plain = ["model.norm=group", "loss.class_balance=false", "training.iterations=3", "optimizer.schedule=constant"]
    one = train(recipe(data, *plain, "training.batch=2"), tmp_path / "one")
    two = train(recipe(data, *plain, "optimizer.accumulate=2"), tmp_path / "two")
    pairs = zip(weights(one).values(), weights(two).values(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in pairs)


def test_a_plateau_lowers_the_rate():
    """The rate falls when the held-out loss has not fallen for ``patience`` validations, and again after as many."""
    config = load_config([], ["optimizer.schedule=plateau", "optimizer.patience=2"])
    fabric = SimpleNamespace(global_rank=0, broadcast=lambda x: x)
    run = SimpleNamespace(config=config, fabric=fabric, save=lambda name, step: saved.append(name))
    monitor = SimpleNamespace(validation=lambda *_: None)
    saved, drops, step = [], [], Step()
    for loss in (3.0, 2.0, 2.5, 2.1, 2.2, 1.0, 1.5, 2.5):
        step = validate(run, step, SimpleNamespace(judge=lambda _, loss=loss: (loss, {})), monitor)
        drops.append(step.drop)
    assert drops == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25]
    assert saved == ["best.pt"] * 3
    assert step.best == 1.0


def test_edges_that_no_patch_holds_are_told(data, tmp_path, capsys):
    more = ["training.patch=[4,24,24]", "training.iterations=1"]
    train(recipe(data, *more, "model.offsets=[[-1,0,0],[0,-24,0],[0,0,23],[4,0,0]]"), tmp_path / "long")
    assert "longer than training.patch (4, 24, 24): model.offsets [(0, -24, 0), (4, 0, 0)]\n" in capsys.readouterr().out
    train(recipe(data, *more, "model.offsets=nearest"), tmp_path / "short")
    assert "never learned" not in capsys.readouterr().out
    with pytest.raises(NeuropilError, match=r"training\.patch \(1, 24, 24\) is too small for all model\.offsets"):
        train(recipe(data, "training.patch=[1,24,24]", "training.iterations=1", "model.offsets=[[-1,0,0]]"), tmp_path)


def test_validation_segments_when_asked(data, tmp_path):
    pair = f'{{"image": "{data}/image.h5", "labels": "{data}/labels.h5"}}'
    options = ["training.iterations=2", "training.segment_validation=[4,32,32]"]
    train(recipe(data, f"data.validation=[{pair}]", *options), tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert {"validation/adapted_rand_error", "validation/voi", "loss/validation"} <= set(events.Tags()["scalars"])


def test_resuming_tells_what_has_changed(tmp_path, capsys):
    data = stripes(tmp_path)
    half = train(recipe(data, "training.iterations=2", "optimizer.schedule=constant"), tmp_path / "half")
    capsys.readouterr()
    train(recipe(data, "training.iterations=3", "optimizer.schedule=constant"), tmp_path / "same", resume=half)
    told = capsys.readouterr().out
    assert "note: training.iterations was 2, is 3 from here on" in told
    assert "has changed" not in told
    config = recipe(data, "training.iterations=3", "optimizer.schedule=constant", "loss.dice=0.5")
    labels = config.data.train[0].labels
    with h5py.File(labels.split(".h5")[0] + ".h5", "r+") as file:
        file.attrs["note"] = "proofread once more"
    train(config, tmp_path / "other", resume=half)
    told = capsys.readouterr().out
    assert "note: loss.dice was 0.0, is 0.5 from here on" in told
    assert f"note: {labels} has changed since the checkpoint" in told


def test_edges_between_sections_that_are_never_both_labelled_are_told(tmp_path, capsys):
    image, labels = np.zeros((16, 48, 48), np.uint8), np.zeros((16, 48, 48), np.uint32)
    labels[::4] = np.arange(48) // 12 + 1
    write_volume(tmp_path / "image.h5", image)
    write_volume(tmp_path / "labels.h5", labels)
    values = recipe(tmp_path, "training.iterations=1").to_dict()
    values["data"]["train"] = [{"image": f"{tmp_path}/image.h5", "labels": f"{tmp_path}/labels.h5"}]
    values["data"]["unlabelled"] = 0
    train(Config.from_dict(values), tmp_path / "out")
    assert "no pair of labelled voxels lies so: model.offsets [(-1, 0, 0)" in capsys.readouterr().out
    values["model"]["offsets"] = [[-1, 0, 0]]
    with pytest.raises(NeuropilError, match="the labels have no pair of voxels at any of"):
        train(Config.from_dict(values), tmp_path / "none")


def test_volumes_of_two_voxel_sizes_are_refused_or_resampled(tmp_path, capsys):
    pairs = []
    for nm in (6.0, 12.0):
        for kind, dtype in (("image", np.uint8), ("labels", np.uint32)):
            size = Metadata(voxel_size=(30.0, nm, nm))
            write_volume(tmp_path / f"{kind}{nm:g}.h5", np.ones((16, 48, 48), dtype), size)
        pairs.append({"image": f"{tmp_path}/image{nm:g}.h5", "labels": f"{tmp_path}/labels{nm:g}.h5"})
    values = recipe(tmp_path, "training.iterations=1").to_dict()
    values["data"]["train"] = pairs
    with pytest.raises(NeuropilError, match=r"expected voxels of \(30.0, 6.0, 6.0\) nm .* got .*12.0.*image12.h5"):
        train(Config.from_dict(values), tmp_path / "out")
    values["data"]["resample"] = True
    train(Config.from_dict(values), tmp_path / "out")
    assert "image12.h5/main is shown with voxels of (30.0, 6.0, 6.0) nm; its own are of (30.0, 12.0, 12.0) nm" in (
        capsys.readouterr().out
    )


def test_a_run_by_the_clock_says_how_many_steps_it_will_make(data, tmp_path, capsys):
    train(recipe(data, "training.iterations=12", "training.minutes=60"), tmp_path)
    assert "about 12 steps in 60 minutes\n" in capsys.readouterr().out
