"""Files of weights, and the models that come with the package."""

import json
import re
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from commands import printed
from neuropil import Config, NeuropilError
from neuropil.models import build_network
from neuropil.models.checkpoint import export_weights, load_model, read_checkpoint, save_checkpoint
from neuropil.models.released import WEIGHTS, compacted, find_checkpoint, model_card, model_facts, released_models
from neuropil.volumes import Metadata, open_volume, write_volume
from real_data import data_file

TINY = Config.from_dict({"model": {"widths": [4, 6], "downsample": [[1, 2, 2]]}, "segment": {"threshold": 0.25}})


def checkpoint(folder: Path) -> Path:
    network = build_network(TINY.model)
    averaged = {name: tensor + 1 for name, tensor in network.state_dict().items()}
    content = {"config": TINY.to_dict(), "weights": network.state_dict(), "average": averaged}
    save_checkpoint(
        folder / "last.pt", {**content, "optimizer": {}, "info": {"iteration": 7, "stamps": {"/home/me": 1}}}
    )
    return folder / "last.pt"


def test_export_keeps_the_averaged_weights_the_recipe_and_what_is_known(tmp_path):
    path = export_weights(checkpoint(tmp_path), tmp_path / "m.safetensors", info={"adapted_rand_error": 0.1})
    first, copy = load_model(tmp_path / "last.pt"), load_model(path)
    assert copy.config == TINY
    assert copy.info == {"iteration": 7, "adapted_rand_error": 0.1}  # without the stamps of somebody's files
    for a, b in zip(first.network.state_dict().values(), copy.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert stat.S_IMODE(path.stat().st_mode) & stat.S_IROTH  # others may read what is to be shared


def test_export_with_another_threshold(tmp_path):
    tuned = TINY.model_copy(update={"segment": TINY.segment.model_copy(update={"threshold": 0.4})})
    path = export_weights(checkpoint(tmp_path), tmp_path / "m.safetensors", config=tuned)
    assert load_model(path).config.segment.threshold == 0.4


def test_wrong_files_are_refused_by_name(tmp_path):
    with pytest.raises(NeuropilError, match=r"ends in \.safetensors"):
        export_weights(checkpoint(tmp_path), tmp_path / "m.pt")
    other = tmp_path / "other.safetensors"
    other.write_bytes(save({"w": torch.zeros(2)}))
    with pytest.raises(NeuropilError, match="without a config"):
        load_model(other)
    for damage in (b"", b"nothing", other.read_bytes()[:-3]):
        other.write_bytes(damage)
        with pytest.raises(NeuropilError, match=r"other\.safetensors is not a file of weights"):
            load_model(other)


def test_neither_file_nor_name_lists_the_names():
    with pytest.raises(NeuropilError, match=r"no checkpoint at snemi4d.*snemi3d"):
        read_checkpoint("snemi4d")


def test_a_file_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint(tmp_path).rename("snemi3d")
    assert find_checkpoint("snemi3d") == Path("snemi3d")
    assert load_model("snemi3d").config == TINY


def test_all_models_together_are_small():
    assert sum((WEIGHTS / f"{name}.safetensors").stat().st_size for name in released_models()) <= 20_000_000


def test_weights_of_half_the_size_are_the_same_but_for_rounding(tmp_path):
    path = export_weights(checkpoint(tmp_path), tmp_path / "half.safetensors", compact=True)
    whole, half = read_checkpoint(tmp_path / "last.pt")["average"], load_model(path).network.state_dict()
    for name, tensor in read_checkpoint(path)["weights"].items():
        assert tensor.dtype == (torch.float16 if tensor.ndim > 1 else whole[name].dtype), name
        torch.testing.assert_close(half[name], whole[name], rtol=2**-11, atol=2**-24)
    with pytest.raises(NeuropilError, match=r"less than 65504.*conv"):
        compacted({"conv": torch.full((1, 1), 1e5)})


@pytest.mark.parametrize("name", released_models())
def test_each_model_is_small_opens_and_has_a_card(name):
    model = load_model(name)
    assert model.info["name"] == name
    kernels = {t.dtype for t in read_checkpoint(name)["weights"].values() if t.ndim > 1}
    assert kernels == {torch.float16}
    assert model.config.segment.threshold is not None
    assert model.info["voxel_size"]
    card = model_card(name)
    goes_with = (f"{model.config.segment.threshold:.3f}", f"minimum size {model.config.segment.min_size}")
    for word in (
        "licence",
        "sections",
        "voxel",
        "normalis",
        "adapted Rand",
        f"--tta {model.config.predict.tta}",
        *goes_with,
    ):
        assert word.lower() in card.lower(), word
    told = json.dumps(model.config.to_dict())
    assert "/home/" not in told
    assert "/work/" not in told


def test_threshold_and_minimum_size_travel_with_the_model(tmp_path, monkeypatch):
    """From the model's file through the affinities to the segmentation, by the command line."""
    image = np.random.default_rng(0).integers(0, 255, (6, 48, 48), np.uint8)
    write_volume(tmp_path / "image.h5", image, Metadata(voxel_size=(30, 6, 6)))
    monkeypatch.chdir(tmp_path)
    assert "1 view (stored with the model)" in printed("predict", "snemi3d", "image.h5", "-o", "a.zarr")
    stored = load_model("snemi3d").config.segment
    with open_volume(tmp_path / "a.zarr") as affinities:
        extra = affinities.metadata.extra
        assert (extra["threshold"], extra["min_size"], extra["score"]) == (stored.threshold, stored.min_size, "mean")
        assert (extra["made_by"]["name"], extra["made_by"]["voxel_size"]) == ("snemi3d", [30, 6, 6])
    origin = "stored with the affinities by snemi3d"
    for given, threshold, size in (
        ([], f"{stored.threshold:g} ({origin})", f"{stored.min_size} ({origin})"),
        (["--threshold", "0.75", "--min-size", "0"], "0.75 (as asked)", "0 (as asked)"),
    ):
        told = printed("segment", "a.zarr", "-o", "s.h5", *given)
        assert f"threshold {threshold}" in told
        assert f"minimum size {size}" in told
        with open_volume(tmp_path / "s.h5") as segmentation:
            made = segmentation.metadata.extra["segment"]
            assert f"{made['threshold']:g}" == threshold.split()[0]
            assert f"{made['min_size']}" == size.split()[0]


def test_models_are_listed_with_what_tells_them_apart():
    table = printed("models")
    for name in released_models():
        facts, card = model_facts(name), model_card(name)
        assert f"\n{name} " in "\n" + table
        row = f"| labels as they are | {facts.adapted_rand_error:.3f} |"
        assert row in card
        assert f"| {facts.voi_split:.3f} | {facts.voi_merge:.3f} |" in card
        for told in (facts.tissue, facts.licence, f"{facts.speed:.2g} Mvoxel/s", " nm (z, y, x)"):
            assert told in table


def test_a_card_that_lacks_a_fact_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("neuropil.models.released.WEIGHTS", tmp_path)
    (tmp_path / "mine.safetensors").write_bytes((WEIGHTS / "fib25.safetensors").read_bytes())
    (tmp_path / "mine.md").write_text("---\ntissue: any\n---\n# mine\n")
    assert model_card("mine") == "# mine\n"
    with pytest.raises(NeuropilError, match=r"facts of mine.*scored_on.*mine\.md"):
        model_facts("mine")


def test_info_prints_the_card():
    card = printed("info", "snemi3d")
    assert card.startswith(model_card("snemi3d").splitlines()[0])
    assert "6,163,408 weights" in card


@pytest.mark.slow
@pytest.mark.parametrize("name", released_models())
def test_the_scores_on_the_card_are_those_of_the_commands_on_it(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    card = model_card(name)
    commands = re.findall(r"^    neuropil +(.+)$", card, re.MULTILINE)
    rows = re.findall(r"^\| labels[^|]*\|((?: \d\.\d{3} \|){5})$", card, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["predict", "segment", "evaluate", "evaluate"]
    assert len(rows) == 2
    for file in set(re.findall(r"(\S+\.h5)/main", "\n".join(commands))):
        (tmp_path / file).symlink_to(data_file(f"{name.split('-')[0]}/{file}"))
    for command in commands[:2]:
        printed(*command.split())
    names = ("adapted_rand_error", "adapted_rand_precision", "adapted_rand_recall", "voi_split", "voi_merge")
    for command, row in zip(commands[2:], rows, strict=True):
        words = [*command.split(), "--json", "scores.json"]
        printed(*words)
        scores = json.loads((tmp_path / "scores.json").read_text())
        # Another processor rounds bfloat16 products elsewhere, or has none.
        assert [scores[key] for key in names] == pytest.approx([float(n) for n in row.split("|")[:5]], abs=0.005)
