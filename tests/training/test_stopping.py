"""Runs that are killed, interrupted or starved of disk space, as real processes where that matters."""

import json
import resource
import signal
import time

import psutil
import pytest
import torch

import forks
from neuropil import NeuropilError, train
from neuropil.models.checkpoint import read_checkpoint, save_checkpoint
from neuropil.training.stopping import NanCheck
from training_data import equal, recipe, stripes, weights


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return stripes(tmp_path_factory.mktemp("stripes"))


def start(config, out):
    """Train in another process."""
    out.mkdir()
    (out / "recipe.json").write_text(json.dumps(config.to_dict()))
    code = (
        "import json, sys; from neuropil import Config, train; "
        "train(Config.from_dict(json.load(open(sys.argv[1]))), sys.argv[2])"
    )
    return forks.start("-c", code, out / "recipe.json", out)


def wait_for(path, process, seconds=60):
    until = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < until:
        assert process.poll() is None
        time.sleep(0.02)
    assert path.exists()


def test_killed_at_any_moment_and_resumed_is_never_having_stopped(data, tmp_path):
    config = recipe(data, "training.iterations=40", "training.checkpoint_every=1", "optimizer.schedule=constant")
    process = start(config, tmp_path / "killed")
    last = tmp_path / "killed" / "checkpoints" / "last.pt"
    wait_for(last, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = read_checkpoint(last)["step"]["iteration"]
    assert 1 <= reached < 40
    target = reached + 3
    again = train(
        recipe(data, f"training.iterations={target}", "optimizer.schedule=constant"), tmp_path / "again", resume=last
    )
    whole = train(recipe(data, f"training.iterations={target}", "optimizer.schedule=constant"), tmp_path / "whole")
    assert all(
        torch.allclose(a, b, atol=1e-5) for a, b in zip(weights(again).values(), weights(whole).values(), strict=True)
    )


def test_a_request_to_end_is_met_after_the_step_with_a_checkpoint(data, tmp_path):
    process = start(recipe(data, "training.iterations=100000", "training.image_every=1"), tmp_path / "run")
    wait_for(tmp_path / "run" / "tensorboard", process)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60).returncode == 128 + signal.SIGTERM
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")["step"]["iteration"] >= 1


def test_ctrl_c_saves_too(data, tmp_path, monkeypatch):
    from neuropil.training import loop

    def interrupt(learned, run, step, monitor):
        if step.iteration == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop, "report", interrupt)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start what is in the background without it
    with pytest.raises(KeyboardInterrupt):
        train(recipe(data, "training.iterations=50"), tmp_path)
    assert read_checkpoint(tmp_path / "checkpoints" / "last.pt")["step"]["iteration"] == 4
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"weights": {"a": torch.ones(3)}})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(NeuropilError, match="free some space"):
            save_checkpoint(path, {"weights": {"a": torch.ones(100_000)}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_checkpoint(path)["weights"]["a"].numel() == 3
    assert list(tmp_path.iterdir()) == [path]


def test_a_broken_loss_leaves_the_batch_that_broke_it(data, tmp_path):
    with pytest.raises(NeuropilError, match=r"broken_batch\.pt"):
        train(recipe(data, "training.iterations=50", "optimizer.learning_rate=1e30", "optimizer.clip=0"), tmp_path)
    batch = torch.load(tmp_path / "broken_batch.pt", weights_only=True)
    assert batch["image"].shape[1:] == (1, 4, 24, 24)
    assert batch["target"].shape == batch["validity"].shape


class Explode(torch.autograd.Function):
    """The same numbers, with a gradient that is none."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("inf")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(("broken", "more"), [("loss", ["optimizer.accumulate=2"]), ("gradient", [])])
def test_what_is_no_number_never_reaches_a_checkpoint(data, tmp_path, monkeypatch, device, broken, more):
    """In the first of two parts of a step, too, and with a finite loss; on a GPU, which is asked later, too."""
    from neuropil.training import loop

    calls, plain = [], loop.compute_losses

    def judge(logits, batch, config, across):
        calls.append(batch)
        if len(calls) != (7 if more else 4):  # of iteration 4 the first part
            return plain(logits, batch, config, across)
        found = plain(Explode.apply(logits) if broken == "gradient" else logits, batch, config, across)
        return found._replace(loss=found.loss * float("nan")) if broken == "loss" else found

    said = f"the {broken if device == 'cpu' else 'loss or its gradient'} became nan at iteration 4;"
    options = ["training.iterations=6", "training.checkpoint_every=2", "optimizer.schedule=constant", *more]
    with monkeypatch.context() as patch:
        # What is seen of a GPU here is when it is asked.
        patch.setattr(loop, "NanCheck", lambda folder, _: NanCheck(folder, torch.device(device)))
        patch.setattr(loop, "compute_losses", judge)
        with pytest.raises(NeuropilError, match=said):
            train(recipe(data, *options), tmp_path / "run")
    saved = torch.load(tmp_path / "run" / "broken_batch.pt", weights_only=True)
    assert saved["iteration"] == 4
    assert device == "cuda" or torch.equal(saved["image"], calls[6 if more else 3].image_BCZYX)
    last = tmp_path / "run" / "checkpoints" / "last.pt"
    assert read_checkpoint(last)["step"]["iteration"] == 2
    again = train(recipe(data, *options), tmp_path / "again", resume=last)
    assert equal(weights(again), weights(train(recipe(data, *options), tmp_path / "whole")))


@pytest.mark.parametrize("end", ["training.validate_every=3", "training.iterations=3", "training.log_every=3"])
def test_a_device_is_asked_before_anything_is_saved(data, tmp_path, monkeypatch, end):
    """Nothing since the last time is forgotten: here the loss of the second step, asked for at the third."""
    from neuropil.training import loop

    plain, calls = loop.compute_losses, []

    def judge(*given):
        calls.append(1)
        found = plain(*given)
        return found._replace(loss=found.loss * float("inf")) if len(calls) == 2 else found

    monkeypatch.setattr(loop, "NanCheck", lambda folder, _: NanCheck(folder, torch.device("cuda")))
    monkeypatch.setattr(loop, "compute_losses", judge)
    options = ["training.iterations=50", "training.log_every=100", "training.checkpoint_every=100", end]
    with pytest.raises(NeuropilError, match="loss or its gradient became nan at iteration 3"):
        train(recipe(data, *options), tmp_path)
    assert not list(tmp_path.glob("checkpoints/*.pt"))


def test_a_dataloader_worker_that_is_killed_ends_the_run_with_an_error(data, tmp_path):
    """As the system does where memory is short; what was saved is whole."""
    lazy = ["data.memory=1e-6", "training.workers=1", "training.iterations=100000", "training.checkpoint_every=1"]
    process = start(recipe(data, *lazy), tmp_path / "run")
    last = tmp_path / "run" / "checkpoints" / "last.pt"
    wait_for(last, process)
    for helper in psutil.Process(process.pid).children(recursive=True):
        if "forkserver" in " ".join(helper.cmdline()) and helper.ppid() != process.pid:
            helper.kill()
    done = process.wait(60)
    assert done.returncode == 1
    assert (
        "NeuropilError: a DataLoader worker died, perhaps because memory ran out: set training.workers" in done.stderr
    )
    assert read_checkpoint(last)["step"]["iteration"] >= 1


def test_the_last_k_checkpoints_are_kept(data, tmp_path):
    train(recipe(data, "training.iterations=6", "training.checkpoint_every=1", "training.keep_last=2"), tmp_path)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["best.pt", "iteration_00000005.pt", "iteration_00000006.pt", "last.pt"]
    assert equal(weights(tmp_path / "checkpoints" / names[2]), weights(tmp_path / "checkpoints" / "last.pt"))


HANGING = """
import hashlib, pathlib, sys
from neuropil.training.stopping import StopRequest
with StopRequest(float(sys.argv[1])):
    pathlib.Path("begun").touch()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # native code that gives no signal handler a turn
"""


@pytest.mark.parametrize(("longest", "signals"), [(600, 2), (0.2, 1)])
def test_a_step_that_hangs_ends_at_the_second_request_or_after_a_while(tmp_path, monkeypatch, longest, signals):
    monkeypatch.chdir(tmp_path)
    process = forks.start("-c", HANGING, longest)
    wait_for(tmp_path / "begun", process)
    for _ in range(signals):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
    assert process.wait(60).returncode == 128 + signal.SIGTERM
