"""The commands of the classic tutorial, letter by letter but for sizes, as processes in a fresh folder."""

import json
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from classic_data import SMALL, TINY, clone, free_port, run
from neuropil import NeuropilError, load_config, open_volume
from neuropil.cli import app
from neuropil.compat.pytc import program
from neuropil.models.checkpoint import read_checkpoint
from recorded import checkpoint, needs_classic

BASE = "--config-base configs/SNEMI/SNEMI-Base.yaml --config-file configs/SNEMI/SNEMI-Affinity-UNet.yaml"
CONFIGS = shlex.split(BASE)
EIGHT = "0,1,2,3,4,5,6,7"


def warnings(done):
    return [line for line in done.stderr.splitlines() if "warning:" in line.lower() and "Future" not in line]


def iteration(path):
    return read_checkpoint(path)["info"]["iteration"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Trained by the tutorial's first command: two processes through torch.distributed.launch."""
    folder = clone(tmp_path_factory.mktemp("clone"))
    launch = "python -m torch.distributed.launch --nproc_per_node=2 --master_port=1234 scripts/main.py --distributed"
    launch = launch.replace("1234", str(free_port()))  # tests run side by side
    done = run(folder, [*shlex.split(launch), *CONFIGS, *TINY], CUDA_VISIBLE_DEVICES=EIGHT)
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "launch.txt").write_text(json.dumps({"out": done.stdout, "warnings": warnings(done)}))
    return folder


def trained(folder):
    return folder / "outputs" / "SNEMI_UNet"


def main(folder, monkeypatch, *words):
    """A command without a launcher, in this process; its exit code."""
    monkeypatch.chdir(folder)
    return program.main([*CONFIGS, *words])


def test_two_processes_train_on_the_processor_with_one_warning(folder):
    said = json.loads((folder / "launch.txt").read_text())
    (warning,) = said["warnings"]
    assert "no GPU is visible for 2 processes" in warning
    assert "gloo" in warning
    assert said["out"].count("wrote ") == 1, "only the first process speaks"


def test_checkpoints_and_events_lie_in_the_output_path(folder):
    names = {path.name for path in trained(folder).iterdir()}
    assert {"checkpoint_00001.pth", "checkpoint_00002.pth", "config.yaml"} <= names
    assert [name for name in names if name.startswith("events.out.tfevents")]
    assert iteration(trained(folder) / "checkpoint_00001.pth") == 1
    assert load_config([trained(folder) / "config.yaml"]).training.iterations == 2


def test_tensorboard_reads_scalars_and_pictures(folder):
    events = EventAccumulator(str(trained(folder))).Reload()
    assert {"loss/train", "loss/term/bce", "loss/term/dice", "learning_rate"} <= set(events.Tags()["scalars"])
    assert [one.step for one in events.Scalars("loss/train")] == [1, 2]
    (pictures,) = events.Tags()["images"]
    shown = events.Images(pictures)[-1]
    assert (shown.step, shown.height, shown.width) == (2, 33, 4 * 33)


def test_data_parallel_training_goes_on_from_either_ending(folder, monkeypatch, capsys):
    more = [*TINY, "DATASET.OUTPUT_PATH", "outputs/again", "SOLVER.ITERATION_TOTAL", "3"]
    saved = str(trained(folder) / "checkpoint_00002.pth.tar")
    assert main(folder, monkeypatch, "--checkpoint", saved, *more) == 0
    said = capsys.readouterr()
    assert f"no {saved}; taking {saved.removesuffix('.tar')}" in said.out
    assert "no GPU is visible (SYSTEM.NUM_GPUS is 1)" in said.err
    assert [path.name for path in sorted((folder / "outputs/again").glob("*.pth"))] == ["checkpoint_00003.pth"]


def test_reruns_into_the_same_folder_work(folder, monkeypatch):
    """Training, and then prediction, given twice: the second replaces what the first left."""
    out = ["DATASET.OUTPUT_PATH", "outputs/twice", "INFERENCE.OUTPUT_PATH", "outputs/twice/test"]
    words = [*TINY, *out, "SOLVER.ITERATION_TOTAL", "1", "INFERENCE.AUG_NUM", "None"]
    saved = folder / "outputs/twice/checkpoint_00001.pth"
    found = []
    for seed in ("1", "2"):
        assert main(folder, monkeypatch, "--manual-seed", seed, *words) == 0
        assert main(folder, monkeypatch, "--inference", "--checkpoint", str(saved), *words) == 0
        found.append(open_volume(folder / "outputs/twice/test/result.h5/vol0").read())
    assert (found[0] != found[1]).any(), "the second network predicted the second file"
    assert iteration(saved) == 1


def test_iteration_restart_takes_the_weights_alone(folder, monkeypatch):
    more = [*TINY, "DATASET.OUTPUT_PATH", "outputs/restart", "SOLVER.ITERATION_RESTART", "True"]
    saved = str(trained(folder) / "checkpoint_00002.pth")
    assert main(folder, monkeypatch, *more, "SOLVER.ITERATION_TOTAL", "1", "--checkpoint", saved) == 0
    assert iteration(folder / "outputs/restart/checkpoint_00001.pth") == 1


def test_inference_in_eight_views_then_segmentation_and_scores(folder, monkeypatch, capsys):
    saved = str(trained(folder) / "checkpoint_00002.pth")
    assert main(folder, monkeypatch, "--inference", "--checkpoint", saved, *TINY) == 0
    assert "vol0" in capsys.readouterr().out
    affinities = open_volume(trained(folder) / "test" / "result_txy.h5" / "vol0")
    assert (trained(folder) / "test" / "result.h5").samefile(trained(folder) / "test" / "result_txy.h5")
    assert (affinities.dtype, affinities.metadata.encoding) == (np.uint8, None)
    assert affinities.shape == (3, 12, 64, 64)
    assert (affinities.metadata.extra["made_by"]["tta"], affinities.metadata.extra["made_by"]["tta_mode"]) == (8, "min")

    known = ["INFERENCE.IMAGE_NAME", "image/train-input.tif", "INFERENCE.OUTPUT_PATH", "outputs/scored"]
    labels, more = "datasets/SNEMI3D/seg/train-labels.tif", ["INFERENCE.AUG_NUM", "4", "SYSTEM.NUM_CPUS", "2"]
    words = ["--inference", "--checkpoint", saved, "--evaluate", labels, *TINY, *known, *more]
    assert main(folder, monkeypatch, *words) == 0
    said, warned = capsys.readouterr()
    assert "NUM_CPUS" not in warned, "workers are for training"
    assert "adapted Rand error" in said
    assert "VI in bits" in said
    scores = json.loads((folder / "outputs/scored/scores.json").read_text())
    assert 0 <= scores["adapted_rand_error"] <= 1
    assert open_volume(folder / "outputs/scored/segmentation.h5").shape == (12, 64, 64)

    # The same in the native words.
    out = str(folder / "native.h5")
    for verb in (["segment", "outputs/scored/result.h5", "-o", out], ["evaluate", out, labels]):
        done = CliRunner().invoke(app, verb)
        assert done.exit_code == 0, done.output
    assert f"{scores['adapted_rand_error']:.4f}" in done.output


@needs_classic
def test_training_goes_on_from_a_checkpoint_of_the_classic_program(folder, monkeypatch, capsys):
    shutil.copy(checkpoint("unet_3d_residual_se"), folder / "classic.pth.tar")
    network = ["MODEL.FILTERS", "[8,12,16,20,24]", "MODEL.NORM_MODE", "bn", "SOLVER.ITERATION_TOTAL", "3"]
    words = ["--checkpoint", "classic.pth.tar", *TINY, *network, "DATASET.OUTPUT_PATH", "outputs/classic"]
    assert main(folder, monkeypatch, *words) == 0
    assert "classic.pth.tar is of PyTorch Connectomics" in capsys.readouterr().out
    assert iteration(folder / "outputs/classic/checkpoint_00003.pth") == 3
    assert main(folder, monkeypatch, "--checkpoint", "classic.pth.tar", *TINY) == 2
    assert "do not fit the network of this config" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--inference"], "--inference needs --checkpoint"),
        (["--evaluate", "labels.tif"], "give both"),
        (["--manual-seed", "-1"], "--manual-seed: expected a whole number from 0"),
        (["--manual-seed", "99999999999999999999"], "--manual-seed: expected a whole number from 0"),
        (["--inference", "--checkpoint", "CHECKPOINT", "--evaluate", "none.tif"], "none.tif"),
        (["--inference", "--checkpoint", "CHECKPOINT", "--evaluate", "a.tif@b.tif"], "--evaluate: expected 1 volumes"),
        (["--inference", "--checkpoint", "CHECKPOINT", "MODEL.ARCHITECTURE", "unetr"], "MODEL.ARCHITECTURE: "),
        (["--checkpoint", "outputs/none.pth"], "no file outputs/none.pth"),
        (["MODEL.REGU_OPT", "[Binary]"], "MODEL.REGU_OPT: ['Binary'] is not supported here"),
        (["DATASET.INPUT_PATH", "elsewhere"], "elsewhere/image/train-input.tif"),
        (["DATASET.IMAGE_NAME", "None", "DATASET.LABEL_NAME", "None"], "DATASET.IMAGE_NAME: expected a volume"),
        (["--inference", "--checkpoint", "CHECKPOINT", "MODEL.FILTERS", "[4,4,4,4,4]"], "MODEL.FILTERS, ISOTROPY"),
        (["--inference", "--checkpoint", "CHECKPOINT", "INFERENCE.IMAGE_NAME", "None"], "INFERENCE.IMAGE_NAME: "),
    ],
)
def test_wrong_input_is_one_message_and_exit_code_2(folder, monkeypatch, capsys, words, said):
    words = [str(trained(folder) / "checkpoint_00002.pth") if word == "CHECKPOINT" else word for word in words]
    assert main(folder, monkeypatch, *TINY, *words) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert "Traceback" not in told.err
    assert "result.h5" not in told.out, "told before work is done"


def test_a_configuration_is_needed(capsys):
    assert program.main(["--inference"]) == 2
    assert "--config-file" in capsys.readouterr().err


def test_flags_of_launchers_are_taken_in_both_spellings(monkeypatch):
    for flag in ("--local_rank", "--local-rank"):
        options = program.parse(["--config-file", "a.yaml", f"{flag}=1", "--manual-seed", "7", "A.B", "-1"])
        assert (options.local_rank, options.manual_seed, options.overrides) == (1, 7, ["A.B", "-1"])


def test_config_convert_prints_the_native_recipe(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, ["config", "convert", CONFIGS[1], CONFIGS[3], "MODEL.PAD_MODE", "zeros"])
    assert done.exit_code == 0, done.output
    assert "padding: zeros" in done.output
    recipe = tmp_path / "native.yaml"
    recipe.write_text(done.output)
    config = load_config([recipe])
    assert (config.training.patch, config.optimizer.name, config.predict.tta) == ((17, 257, 257), "sgd", 8)
    recipe = tmp_path / "written.yaml"
    done = CliRunner().invoke(app, ["config", "convert", CONFIGS[1], CONFIGS[3], "-o", str(recipe)])
    assert f"wrote {recipe}; now: neuropil run {recipe} --out outputs/SNEMI_UNet" in done.output
    assert "DATASET.OUTPUT_PATH is not part of a recipe: give it as --out" in done.output
    assert isinstance(CliRunner().invoke(app, ["config", "convert", "none.yaml"]).exception, SystemExit | NeuropilError)


@pytest.mark.slow
def test_torchrun_and_a_plain_start_as_processes(folder):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    out = ["DATASET.OUTPUT_PATH", "outputs/torchrun"]
    done = run(folder, [*torchrun, "scripts/main.py", "--distributed", *CONFIGS, *TINY, *out])
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(warnings(done)) == 1
    plain = ["python", "-u", "scripts/main.py", *CONFIGS, *TINY, "DATASET.OUTPUT_PATH", "outputs/plain"]
    done = run(folder, plain, CUDA_VISIBLE_DEVICES="0,1")
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(warnings(done)) == 1
    for name in ("torchrun", "plain"):
        assert (folder / "outputs" / name / "checkpoint_00002.pth").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_transformers_train_and_predict(folder, monkeypatch, capsys, name):
    pytest.importorskip("monai")
    out = ["DATASET.OUTPUT_PATH", f"outputs/{name}", "INFERENCE.OUTPUT_PATH", f"outputs/{name}"]
    words = [*TINY, "MODEL.ARCHITECTURE", name, *SMALL[name].split(), *out, "INFERENCE.AUG_NUM", "None"]
    assert main(folder, monkeypatch, *words) == 0
    assert f"MODEL.ACT_MODE change nothing here: MODEL.ARCHITECTURE {name} has no such thing" in capsys.readouterr().out
    saved = folder / "outputs" / name / "checkpoint_00002.pth"
    assert iteration(saved) == 2
    assert main(folder, monkeypatch, "--inference", "--checkpoint", str(saved), *words) == 0
    with open_volume(folder / "outputs" / name / "result.h5") as affinities:
        assert affinities.shape == (3, 12, 64, 64)
        assert len(set(affinities.read().ravel().tolist())) > 2, "a prediction, not a constant"


def test_several_images_become_numbered_arrays_each_with_its_scores(folder, monkeypatch, capsys):
    """Names with ``@`` between, a list, and a file of names: vol0, vol1 … in their order."""
    saved = str(trained(folder) / "checkpoint_00002.pth")
    predict = ["--inference", "--checkpoint", saved, *TINY, "INFERENCE.AUG_NUM", "None"]
    images = ["image/train-input.tif", "image/test-input.tif"]
    (folder / "datasets/SNEMI3D/names.txt").write_text("\n".join(images))
    for number, names in enumerate(["@".join(images), f"[{', '.join(images)}]", "names.txt"]):
        out = f"outputs/several_{number}"
        assert main(folder, monkeypatch, *predict, "INFERENCE.IMAGE_NAME", names, "INFERENCE.OUTPUT_PATH", out) == 0
        made = sorted(path.name for path in (folder / out).iterdir())
        assert made == ["result.h5"]
    one = ["INFERENCE.IMAGE_NAME", images[1], "INFERENCE.OUTPUT_PATH", "outputs/one"]
    assert main(folder, monkeypatch, *predict, *one) == 0
    for number, single in ((1, "outputs/one/result.h5"), (0, None)):
        found = [open_volume(folder / f"outputs/several_{k}/result.h5/vol{number}").read() for k in range(3)]
        expected = open_volume(folder / single).read() if single else found[0]
        assert all((other == expected).all() for other in found)

    labels = "datasets/SNEMI3D/seg/train-labels.tif"
    scored = ["INFERENCE.IMAGE_NAME", "@".join([images[0]] * 2), "INFERENCE.OUTPUT_PATH", "outputs/several_scored"]
    assert main(folder, monkeypatch, *predict, "--evaluate", f"{labels}@{labels}", *scored) == 0
    assert "segmentation_1.h5 and outputs/several_scored/scores_1.json" in capsys.readouterr().out
    first, second = (json.loads((folder / f"outputs/several_scored/scores_{n}.json").read_text()) for n in (0, 1))
    assert first == second
    assert main(folder, monkeypatch, *predict, "--evaluate", labels, *scored) == 2
    assert "--evaluate: expected 2 volumes of labels with @ between" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["LR", "MER"])
def test_the_other_configurations_train_and_predict(folder, monkeypatch, variant):
    monkeypatch.chdir(folder)
    words = [CONFIGS[0], CONFIGS[1], "--config-file", f"configs/SNEMI/SNEMI-Affinity-UNet-{variant}.yaml", *TINY]
    wide = ["INFERENCE.INPUT_SIZE", "[9,64,64]", "INFERENCE.OUTPUT_SIZE", "[9,64,64]", "INFERENCE.AUG_NUM", "None"]
    assert program.main(words) == 0
    out = folder / "outputs" / f"SNEMI_UNet_{variant}"
    assert program.main([*words, *wide, "--inference", "--checkpoint", str(out / "checkpoint_00002.pth")]) == 0
    assert open_volume(out / "test" / "result.h5").shape[0] == {"LR": 12, "MER": 9}[variant]


def test_an_error_of_one_rank_is_no_traceback(folder):
    done = subprocess.run(
        [sys.executable, "scripts/main.py", *CONFIGS, "SOLVER.NAME", "Lion"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == "scripts/main.py: command line: SOLVER.NAME: expected SGD, Adam, AdamW, got 'Lion'\n"
