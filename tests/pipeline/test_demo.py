import json

import pytest

from neuropil import NeuropilError, open_volume
from neuropil.models.checkpoint import load_model
from neuropil.pipeline.demo import demo, find_data, recipe


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A machine without data and without network, and less tissue than the demo grows for people."""
    monkeypatch.delenv("NEUROPIL_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NEUROPIL_SNEMI3D_URL", "http://127.0.0.1:9/snemi.zip")
    monkeypatch.setattr("neuropil.models.precision.amx_fault", str)  # remembered in the cache, which is empty here
    monkeypatch.setattr("neuropil.pipeline.demo.SYNTHETIC", (32, 144, 144))
    monkeypatch.setattr("neuropil.pipeline.demo.PARTS", ((0, 24), (24, 28), (28, 32)))


def test_without_data_and_network_it_says_so_and_shows_synthetic_tissue(nowhere, tmp_path, capsys):
    path = demo(out=tmp_path / "out", minutes=0.01)
    told = capsys.readouterr().out
    assert "synthetic tissue instead" in told
    scores = json.loads(path.read_text())
    assert scores["data"] == "synthetic"
    assert scores["trained"]["adapted_rand_error"] == scores["adapted_rand_error"]
    assert scores["untrained"].keys() == scores["shipped"].keys() == scores["trained"].keys() <= scores.keys()
    assert scores["box"] == "28:32,0:144,0:144"
    assert 0 < scores["threshold"] < 1
    assert set(scores["seconds"]) >= {"shipped", "untrained", "train", "segment"}
    out = tmp_path / "out"
    with open_volume(out / "segmentation.h5") as segmentation, open_volume(out / "affinities.zarr") as affinities:
        assert str(segmentation.box) == scores["box"]
        assert affinities.metadata.extra["threshold"] == scores["threshold"]
    assert (out / "demo.png").stat().st_size > 10_000
    page = (out / "index.html").read_text()
    assert "data:image/png;base64" in page
    assert "untrained" in page
    assert "shipped" in page
    assert (out / "checkpoints" / "last.pt").exists()
    assert (out / "shipped" / "segmentation.h5").exists()


def test_without_minutes_only_the_shipped_model_is_shown(nowhere, tmp_path, capsys):
    path = demo(out=tmp_path / "out", minutes=0)
    scores = json.loads(path.read_text())
    assert scores["shipped"]["adapted_rand_error"] == scores["adapted_rand_error"]
    assert "trained" not in scores
    assert "untrained" not in scores
    assert scores["threshold"] == load_model("snemi3d").config.segment.threshold
    assert "comes with the model" in capsys.readouterr().out
    with open_volume(tmp_path / "out" / "segmentation.h5") as segmentation:
        assert str(segmentation.box) == scores["box"]
    assert (tmp_path / "out" / "demo.png").stat().st_size > 10_000
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_recipe_keeps_the_parts_apart(nowhere, tmp_path):
    stack = find_data(None, tmp_path)
    config = recipe(stack, 3.0)
    assert [p.box for p in (*config.data.train, *config.data.validation, config.data.test)] == [
        "0:24,0:144,0:144",
        "24:28,0:144,0:144",
        "28:32,0:144,0:144",
    ]
    assert config.training.minutes == 3
    assert stack.test.intersect(stack.train).size == stack.test.intersect(stack.validation).size == 0


def test_wrong_input(nowhere, tmp_path):
    with pytest.raises(NeuropilError, match="SNEMI3D"):
        demo(data=tmp_path, out=tmp_path / "out")
    with pytest.raises(NeuropilError, match="minutes"):
        demo(out=tmp_path / "out", minutes=-1)
