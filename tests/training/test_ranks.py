"""Two processes that train together, through gloo."""

import itertools
import json
import logging
import os
import subprocess
import sys

import pytest
import torch

import forks
from classic_data import free_port
from neuropil import NeuropilError, train
from neuropil.config import TrainingConfig
from neuropil.training import ranks
from neuropil.training.batches import Numbers
from training_data import recipe, stripes, weights

CODE = """
import atexit, json, sys
import torch.distributed as dist
from neuropil import Config, train
from neuropil.training import loop
if len(sys.argv) > 3:
    plain = loop.report
    def fail(learned, run, step, monitor):
        if run.fabric.global_rank == 1 and step.iteration == 2:
            raise RuntimeError("rank one fell over")
        plain(learned, run, step, monitor)
    loop.report = fail
atexit.register(lambda: print(f"group at exit: {dist.is_initialized()}", flush=True))
for number, values in enumerate(json.load(open(sys.argv[1]))):
    train(Config.from_dict(values), f"{sys.argv[2]}/{number}")
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return stripes(tmp_path_factory.mktemp("stripes"))


@pytest.mark.parametrize(("allowed", "told"), [(True, "TF32, with 10 bits"), (False, "float32 as it is")])
def test_a_run_in_fp32_on_a_gpu_says_what_its_convolutions_use(monkeypatch, capsys, allowed, told):
    asked = {}

    class Launched:
        def __init__(self, **given):
            asked.update(given)

        def launch(self):
            pass

    monkeypatch.setattr(ranks, "Fabric", Launched)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
    ranks.start_fabric(TrainingConfig(device="cuda", precision="fp32"), own=True)
    assert (asked["accelerator"], asked["precision"]) == ("cuda", "32-true")
    assert told in capsys.readouterr().out
    assert not logging.getLogger("lightning_fabric").isEnabledFor(logging.INFO)


def two_ranks(configs, folder):
    """Two processes that know of each other as ``torchrun`` lets them, which starts three interpreters."""
    (folder / "recipe.json").write_text(json.dumps([config.to_dict() for config in configs]))
    known = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    known |= {"GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "none"}
    started = [
        forks.start("-c", CODE, folder / "recipe.json", folder / "out", environ={**known, "RANK": n, "LOCAL_RANK": n})
        for n in ("0", "1")
    ]
    return [rank.wait() for rank in started]


def by_torchrun(config, folder, *more):
    (folder / "recipe.json").write_text(json.dumps([config.to_dict()]))
    (folder / "train.py").write_text(CODE)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0", "--standalone"]
    return subprocess.run(
        [*launch, folder / "train.py", folder / "recipe.json", folder / "out", *more],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_two_ranks_learn_what_one_learns_with_the_double_batch(data, tmp_path):
    group = ["model.norm=group", "model.aux_contour=1", "loss.dice=0.5", "training.iterations=3"]
    batch = ["model.norm=batch", "training.iterations=1"]
    done = two_ranks([recipe(data, *options, "training.batch=1") for options in (group, batch)], tmp_path)
    assert [rank.returncode for rank in done] == [0, 0], done
    # Threads of gloo that outlive the interpreter abort a rank now and then.
    assert all("group at exit: False" in rank.stdout for rank in done)
    together = [weights(tmp_path / "out" / str(number) / "checkpoints" / "last.pt") for number in range(2)]

    alone = weights(train(recipe(data, *group, "training.batch=2"), tmp_path / "group"))
    for name, value in alone.items():
        assert torch.allclose(value, together[0][name], atol=2e-5), name

    # Batch norms divide by what their own rank sees, but what they remember is the mean of both, not the first rank's.
    alone = weights(train(recipe(data, *batch, "training.batch=2"), tmp_path / "batch"))
    first = next(name for name in alone if name.endswith("running_mean"))
    assert torch.allclose(alone[first], together[1][first], atol=1e-6)
    one = weights(train(recipe(data, *batch, "training.batch=1"), tmp_path / "one"))
    assert not torch.allclose(one[first], together[1][first], atol=1e-4)


@pytest.mark.parametrize("batch", [1, 3])
def test_ranks_never_draw_the_same_samples(batch):
    drawn = [list(itertools.chain.from_iterable(itertools.islice(Numbers(0, batch, rank, 4), 50))) for rank in range(4)]
    # Together they draw what one process with the whole batch draws, in the same steps, each number once.
    assert sorted(itertools.chain.from_iterable(drawn)) == list(range(4 * batch * 50))
    together = list(itertools.islice(Numbers(0, 4 * batch), 50))
    for step, whole in enumerate(together):
        assert sorted(n for numbers in drawn for n in numbers[step * batch : (step + 1) * batch]) == whole
    later = list(itertools.islice(Numbers(20, batch, 2, 4), 30))
    assert list(itertools.chain.from_iterable(later)) == drawn[2][20 * batch :], "a resumed rank goes on"


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_run_with_its_error(data, tmp_path):
    done = by_torchrun(recipe(data, "training.iterations=100000"), tmp_path, "fail")
    assert done.returncode != 0
    assert "rank one fell over" in done.stderr


def test_synchronised_norms_are_refused_by_name_on_processors(data, tmp_path):
    with pytest.raises(NeuropilError, match="SyncBatchNorm"):
        train(recipe(data, "training.iterations=1", "model.norm=sync_batch", "training.device=cpu"), tmp_path)
    with pytest.raises(NeuropilError, match="dp splits"):
        train(recipe(data, "training.iterations=1", "training.strategy=dp", "training.device=cpu"), tmp_path)
    with pytest.raises(NeuropilError, match="fp16 needs a GPU"):
        train(recipe(data, "training.iterations=1", "training.precision=fp16", "training.device=cpu"), tmp_path)
