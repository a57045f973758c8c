"""The benchmarks run, at a size where what they measure means nothing."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neuropil import NEAREST, Box, Config, affinities_from_labels, evaluate, open_volume, synthetic, write_volume
from neuropil.config import PredictConfig
from neuropil.inference import predict_volume
from neuropil.models import build_network
from neuropil.models.checkpoint import save_checkpoint
from neuropil.models.precision import processor_here
from neuropil.segmentation import segment
from reference.hostile import CASES

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A stack with as many sections as SNEMI3D's training data, as its recipes name it."""
    folder = tmp_path_factory.mktemp("data") / "snemi3d"
    folder.mkdir()
    image, labels = synthetic.neuropil((80, 40, 40), seed=0)
    write_volume(folder / "image.h5", image)
    write_volume(folder / "labels_z000-099.h5", labels)
    return folder.parent


@pytest.fixture
def benchmark(monkeypatch, capsys):
    """Runs a script of ``benchmarks/`` with arguments and gives what it printed."""

    def run(name, *given):
        monkeypatch.setattr(sys, "argv", [name, *map(str, given)])
        runpy.run_path(str(ROOT / "benchmarks" / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_an_ablation_measures_each_variant_once_and_tells_the_table(data, tmp_path, benchmark, monkeypatch):
    monkeypatch.setenv("NEUROPIL_DATA", str(data))
    small = ["--set", "training.patch=[4,32,32]", "--set", "model.widths=[4,6]", "--set", "training.precision=fp32"]
    given = ["--iterations", 2, "--variants", "minutes,full", "--out", tmp_path, *small]
    said = benchmark("ablation.py", *given)
    assert "| minutes | 1 | 2 |" in said
    assert "| full | 1 | 2 |" in said
    path = tmp_path / "minutes-2-iterations" / "minutes-seed0" / "result.json"
    result = json.loads(path.read_text())
    assert result["box"] == "60:80,0:40,0:40"
    assert 0 <= result["adapted_rand_error"] <= 1
    # What was measured is not measured again: the table tells what lies there.
    path.write_text(json.dumps(result | {"adapted_rand_error": 0.123}))
    again = benchmark("ablation.py", *given)
    assert "| minutes | 1 | 2 | 0.123 |" in again
    assert benchmark("ablation.py", "--out", tmp_path) in again


def test_the_curve_is_measured_in_evaluations(tmp_path, benchmark):
    """A run of this size says nothing of speed."""
    said = benchmark("evaluation.py", "--quick", "--only", "curve", "--out", tmp_path / "a.json")
    assert "evaluations of" in said
    result = json.loads((tmp_path / "a.json").read_text())
    assert set(result) == {"machine", "curve"}
    assert result["curve"]["merges"] > 100


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_symmetries_are_scored_as_predict_and_segment_would(data, tmp_path, benchmark, precision):
    if precision == "bf16" and not processor_here().has_bf16:
        pytest.skip("no bfloat16 on this processor")
    config = Config.from_dict(
        {"model": {"widths": [2, 3], "downsample": [[1, 2, 2]]}, "training": {"precision": "fp32"}}
    )
    checkpoint, out = tmp_path / "last.pt", tmp_path / "rows.json"
    weights = build_network(config.model).state_dict()
    save_checkpoint(checkpoint, {"config": config.to_dict(), "weights": weights, "info": {}})
    stack = [checkpoint, *(data / "snemi3d" / name for name in ("image.h5", "labels_z000-099.h5"))]
    given = ["--box", "60:64,:,:", "--thresholds", "0.2:0.6:0.2", "--precision", precision, "--min-size", 5]
    said = benchmark("symmetries.py", *stack, *given, "--views", "1,4", "--out", out)
    assert f"4 views, mean, {precision}: VI within" in said
    curves = json.loads(out.read_text())
    assert list(curves) == ["1", "4"]
    assert list(curves["4"]) == ["0.2", "0.4", "0.6"]
    # What one pass over all views says of four is what `predict` and `segment` say with four.
    box = Box.parse("60:64,:,:", open_volume(stack[1]).box)
    for tta in (1, 4):
        predict_volume(stack[0], stack[1], tmp_path / "a.zarr", PredictConfig(tta=tta, precision=precision), box=box)
        found = segment(open_volume(tmp_path / "a.zarr"), threshold=0.4, min_size=5)
        scores = evaluate(found, open_volume(stack[2]).read(box))
        assert curves[str(tta)]["0.4"]["voi_split"] == scores.voi_split
        assert curves[str(tta)]["0.4"]["voi_merge"] == scores.voi_merge
    assert "give a checkpoint" in benchmark("symmetries.py")


def test_speed_of_training_is_told(tmp_path, benchmark):
    small = ["training.patch=[4,32,32]", "model.widths=[4,6]", "training.precision=fp32", "augment.step=0.3"]
    sets = [part for one in small for part in ("--set", one)]
    given = ["--patch", "4,32,32", "--samples", 1, "--steps", 2, "--piece", 1, "--json", tmp_path / "a.json"]
    said = benchmark("training.py", *given, *sets)
    assert "12 edges, full augmentation" in said
    assert "times the plain loop's" in said
    found = json.loads((tmp_path / "a.json").read_text())
    assert 0 < found["share waiting"] < 1
    assert min(found["step"], found["plain step"], found["plain network"], found["3 edges, full augmentation"]) > 0


def test_prediction_is_timed_beside_plain_pytorch(tmp_path, benchmark):
    out = tmp_path / "speed.json"
    given = ["--shape", "5,40,40", "--threads", 1, "--only", "plain;neuropil", "--out", out]
    said = benchmark("inference.py", *given)
    assert "neuropil / plain: " in said
    ways = json.loads(out.read_text())["ways"]
    assert set(ways) == {"plain", "neuropil"}
    assert all(way["voxels_per_second"] > 0 and way["peak_bytes"] > 10**7 for way in ways.values())


def test_the_segmentation_is_timed_stage_by_stage(benchmark, tmp_path):
    said = benchmark("segmentation.py", "--crop", "4,24,24", "--only", "neuropil mean", "--out", tmp_path / "table.md")
    assert "4×24×24 voxels of synthetic affinities" in said
    assert all(f"| – {stage} |" in said for stage in ("watershed", "graph and merging"))
    assert (tmp_path / "table.md").read_text(encoding="utf-8").strip() == said.strip()


def test_inputs_for_the_worst_case_are_beside_the_volume(benchmark):
    said = benchmark("segmentation.py", "--crop", "4,24,24", "--hostile", "--voxels", 300)
    assert "| the volume |" in said
    assert said.count("\n| ") == len(CASES) + 1 + 1


def test_a_table_stands_between_its_markers(tmp_path):
    script = runpy.run_path(str(ROOT / "benchmarks" / "segmentation.py"))
    page = tmp_path / "page.md"
    around = "before\n<!-- segmentation real: begin -->\n{}\n<!-- segmentation real: end -->\nafter\n"
    page.write_text(around.format("old"))
    script["write_between"](page, "real", "new\n")
    assert (
        page.read_text() == "before\n<!-- segmentation real: begin -->\nnew\n<!-- segmentation real: end -->\nafter\n"
    )
    with pytest.raises(SystemExit, match="markers"):
        script["write_between"](page, "scaling", "new")
    speed = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    assert all(f"<!-- segmentation {name}: begin -->" in speed for name in ("real", "synthetic", "scaling"))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_mirror_images_have_the_affinities_of_mirrored_labels(axis):
    mirrored = runpy.run_path(str(ROOT / "benchmarks" / "segmentation.py"))["mirrored"]
    labels = np.random.default_rng(axis).integers(1, 3, (4, 5, 6))
    codes = (255 * affinities_from_labels(labels, NEAREST)[0]).astype(np.uint8)
    twice = affinities_from_labels(np.concatenate([labels, np.flip(labels, axis)], axis), NEAREST)[0]
    np.testing.assert_array_equal(mirrored(codes, axis), (255 * twice).astype(np.uint8))


@pytest.mark.slow
def test_convolutions_are_right_in_processes_of_their_own(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "convolutions.py"), "--only", "scan", "--cases", "2"]
    done = subprocess.run([*command, "--repeats", "1", "--seconds", "120"], capture_output=True, text=True, check=True)
    assert "wrong" in done.stdout.splitlines()[-5]
    numbers = [[int(n) for n in line.split()[1:]] for line in done.stdout.splitlines()[-4:]]
    assert sum(right for right, *_ in numbers) == 2
    assert all(others == [0, 0, 0] for _, *others in numbers)


@pytest.mark.parametrize("name", ["card", "train narrow", "predict narrow", "segment"])
def test_what_a_gpu_is_measured_by_runs_on_a_processor(name):
    script = runpy.run_path(str(ROOT / "benchmarks" / "gpu.py"))
    assert sum(script["PARTS"].values()) <= 150
    found = script["part"](name, "cpu", True)
    assert json.loads(json.dumps(found)) == found
    assert script["line"](name, found).startswith(name)
    if "package" in found:
        assert found["share of alone"] == pytest.approx(found["package"] / found["alone"])


@pytest.mark.slow
def test_each_part_is_written_as_soon_as_it_is_there(benchmark, tmp_path):
    parts = ("card", "segment")
    chosen = [word for part in parts for word in ("--only", part)]
    said = benchmark("gpu.py", "--tiny", "--device", "cpu", "--out", tmp_path / "gpu.jsonl", *chosen)
    assert tuple(json.loads(line)["part"] for line in (tmp_path / "gpu.jsonl").read_text().splitlines()) == parts
    assert "failed" not in said


@pytest.mark.slow
def test_training_by_the_clock_leaves_weights_and_scores(data, tmp_path):
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(
        "model: {widths: [4, 6], downsample: [[1, 2, 2]]}\n"
        "training: {patch: [4, 32, 32], batch: 1, device: cpu, checkpoint_every: 5}\npredict: {tta: 1}\n"
    )
    out = tmp_path / "out"
    environ = os.environ | {"NEUROPIL_DATA": str(data), "OUT": str(out), "SCORED": "0:8"}
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    for weights in ([], [str(out / "weights.safetensors")]):
        command = ["bash", str(ROOT / "scripts" / "gpu_train.sh"), "0.03", str(recipe), *weights]
        done = subprocess.run(command, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + done.stdout
        assert 0 <= json.loads((out / "scores.json").read_text())["adapted_rand_error"] <= 1
        assert (out / "weights.safetensors").stat().st_size < 16 * 2**20
