"""An ensemble predicts the mean, or the lowest, of what its members predict; members must fit together."""

import numpy as np
import pytest
from typer.testing import CliRunner

from neuropil import Config, cli, open_volume, predict, write_volume
from neuropil.errors import NeuropilError
from neuropil.inference.request import make_request
from neuropil.models import build_network, precision
from neuropil.models.checkpoint import model_digest, save_checkpoint
from neuropil.models.ensemble import load_ensemble
from neuropil.processor import Processor

SMALL = {"widths": [4, 6]}


@pytest.fixture
def members(tmp_path):
    """Two checkpoints of untrained networks, of different widths."""
    paths = [tmp_path / "a.pt", tmp_path / "b.pt"]
    for path, widths in zip(paths, ([4, 6], [3, 5]), strict=True):
        write_member(path, {"widths": widths})
    return paths


def write_member(path, model, data=None):
    config = Config.from_dict({"model": model, "data": data or {}, "predict": {"tta": 1}})
    weights = build_network(config.model).state_dict()
    save_checkpoint(path, {"config": config.to_dict(), "weights": weights, "info": {"threshold": 0.3}})


@pytest.mark.parametrize(("mode", "combine"), [("mean", np.mean), ("min", np.min), ("max", np.max)])
def test_combines_what_its_members_predict(members, mode, combine):
    image = np.random.default_rng(0).integers(0, 255, (6, 32, 40)).astype(np.uint8)
    options = {"tile": (6, 32, 40), "device": "cpu"}
    found = predict(load_ensemble(members, mode), image, **options)
    each = [predict(path, image, **options) for path in members]
    assert not np.allclose(each[0], each[1], atol=1e-3)
    assert found == pytest.approx(combine(each, axis=0), abs=2e-2 if found.dtype != np.float32 else 1e-2)


def test_networks_of_ours_may_use_amx_together_too(members, tmp_path, monkeypatch):
    asked = []
    rapids = Processor(frozenset({"avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16"}), {}, lambda: False)
    monkeypatch.setattr(precision, "processor_here", lambda: rapids)
    monkeypatch.setattr(precision, "amx_fault", lambda: asked.append(1) or "")
    write_volume(tmp_path / "i.h5", np.zeros((6, 32, 40), np.uint8))
    assert make_request(load_ensemble(members), open_volume(tmp_path / "i.h5"), device="cpu").computes == "bf16"
    assert asked, "AMX was switched off, as for networks of others"


def test_on_the_command_line(members, tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (6, 32, 40)).astype(np.uint8)
    write_volume(tmp_path / "i.h5", image)
    words = ["predict", ",".join(map(str, members)), f"{tmp_path}/i.h5", "-o", f"{tmp_path}/a.h5", "--tta-mode", "min"]
    done = CliRunner().invoke(cli.app, [*words, "--encoding", "float32"])
    assert done.exit_code == 0, done.output
    assert "min of 2 models" in done.output
    affinities = open_volume(tmp_path / "a.h5")
    assert affinities.read() == pytest.approx(predict(load_ensemble(members, "min"), image, device="cpu"), abs=1e-2)
    assert "threshold" not in affinities.metadata.extra
    done = CliRunner().invoke(cli.app, [*words, "--block", "4,16,16"])
    assert done.exit_code == 2
    assert "leave out --block" in done.stderr


def test_no_threshold_comes_with_it_and_its_digest_is_its_own(members):
    both, first = load_ensemble(members), load_ensemble(members[:1])
    assert both.goes_with == {}
    assert model_digest(both) != model_digest(first)


def test_refuses_members_that_do_not_fit(members, tmp_path):
    write_member(tmp_path / "c.pt", SMALL | {"offsets": "nearest"})
    with pytest.raises(NeuropilError, match=r"model\.offsets of .*c\.pt"):
        load_ensemble([members[0], tmp_path / "c.pt"])
    write_member(tmp_path / "d.pt", SMALL, {"voxel_size": [30, 6, 6]})
    write_member(tmp_path / "e.pt", SMALL, {"voxel_size": [8, 8, 8]})
    with pytest.raises(NeuropilError, match=r"voxels of about \(30\.0, 6\.0, 6\.0\) nm.* in .*e\.pt"):
        load_ensemble([tmp_path / "d.pt", tmp_path / "e.pt"])
