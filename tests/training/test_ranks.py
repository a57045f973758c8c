"""Two processes that train together, through gloo."""

import json
import os
import subprocess
import sys

import pytest
import torch

from neuropil import NeuropilError, train
from training_data import recipe, stripes, weights

CODE = """
import json, sys
from neuropil import Config, train
from neuropil.training import loop
if len(sys.argv) > 3:
    plain = loop.report
    def fail(learned, run, step, monitor):
        if run.fabric.global_rank == 1 and step.iteration == 2:
            raise RuntimeError("rank one fell over")
        plain(learned, run, step, monitor)
    loop.report = fail
train(Config.from_dict(json.load(open(sys.argv[1]))), sys.argv[2])
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return stripes(tmp_path_factory.mktemp("stripes"))


def two_ranks(config, folder, *more):
    (folder / "recipe.json").write_text(json.dumps(config.to_dict()))
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
    options = ["model.norm=group", "model.aux_contour=1", "loss.dice=0.5", "training.iterations=3"]
    done = two_ranks(recipe(data, *options, "training.batch=1"), tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    alone = train(recipe(data, *options, "training.batch=2"), tmp_path / "alone")
    for name, value in weights(alone).items():
        together = weights(tmp_path / "out" / "checkpoints" / "last.pt")[name]
        assert torch.allclose(value, together, atol=2e-5), name


def test_a_rank_that_dies_ends_the_run_with_its_error(data, tmp_path):
    done = two_ranks(recipe(data, "training.iterations=100000"), tmp_path, "fail")
    assert done.returncode != 0
    assert "rank one fell over" in done.stderr


def test_synchronised_norms_are_refused_by_name_on_processors(data, tmp_path):
    with pytest.raises(NeuropilError, match="SyncBatchNorm"):
        train(recipe(data, "training.iterations=1", "model.norm=sync_batch", "training.device=cpu"), tmp_path)
    with pytest.raises(NeuropilError, match="dp splits"):
        train(recipe(data, "training.iterations=1", "training.strategy=dp", "training.device=cpu"), tmp_path)
    with pytest.raises(NeuropilError, match="fp16 needs a GPU"):
        train(recipe(data, "training.iterations=1", "training.precision=fp16", "training.device=cpu"), tmp_path)
