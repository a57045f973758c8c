"""The commands of the classic tutorial, letter by letter but for sizes, as processes in a fresh folder."""

import json
import re
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
        (["MODEL.REGU_OPT", "[Binary]"], "MODEL.REGU_OPT: ['Binary'] is not to be had here"),
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


FOREIGN = """
# of somebody else: other order of sections, quotes, None, tuples
INFERENCE:
    AUG_NUM: None
    INPUT_SIZE: (9, 49, 49)
    OUTPUT_SIZE: "(9, 49, 49)"
    STRIDE: (4, 32, 32)
    OUTPUT_PATH: 'outputs/foreign/test'
    IMAGE_NAME: "image/test-input.tif"
    PAD_SIZE: [4, 32, 32]
MONITOR:
    ITERATION_NUM: [1, 1]
SOLVER:
    BASE_LR: 4e-2
    LR_SCHEDULER_NAME: "MultiStepLR"
    STEPS: (1, 2)
    ITERATION_TOTAL: 2
    ITERATION_SAVE: 2
    SAMPLES_PER_BATCH: '1'
DATASET:
    IMAGE_NAME: image/train-input.tif@image/train-input.tif
    LABEL_NAME: [seg/train-labels.tif, seg/train-labels.tif]
    INPUT_PATH: 'datasets/SNEMI3D/'
    OUTPUT_PATH: outputs/foreign
    VALID_MASK_NAME: None
    PAD_SIZE: [4, 64, 64]
MODEL:
    NORM_MODE: "sync_bn"
    FILTERS: (4, 4, 4, 8, 8)
    TARGET_OPT: ['2', "4-1-1"]
    OUT_PLANES: 4
    LABEL_EROSION: [1, 0]
    LOSS_OPTION: [["WeightedBCEWithLogitsLoss", 'DiceLoss'], ["WeightedBCEWithLogitsLoss", 'DiceLoss']]
    LOSS_WEIGHT: ((1.0, 0.5), (1.0, 0.5))
    WEIGHT_OPT: [["1", "0"], ["1", "0"]]
    OUTPUT_ACT: [["none", "sigmoid"], ["none", "sigmoid"]]
    INPUT_SIZE: [9, 33, 33]
    OUTPUT_SIZE: [9, 33, 33]
SYSTEM: {NUM_GPUS: 4, NUM_CPUS: 4}
"""


def test_a_configuration_of_somebody_else_runs_and_nothing_in_it_is_ignored_silently(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "foreign.yaml").write_text(FOREIGN)
    assert program.main(["--config-file", "foreign.yaml"]) == 0
    said = capsys.readouterr()
    padded = "note: foreign.yaml:26: DATASET.PAD_SIZE: for --inference alone: patches to train on lie inside the volume"
    assert padded in said.out
    assert said.err.count("warning") == 1
    assert (folder / "outputs/foreign/checkpoint_00002.pth").exists()


def test_a_key_that_is_not_to_be_had_is_refused_with_its_line(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "foreign.yaml").write_text(FOREIGN.replace("PAD_SIZE: [4, 64, 64]", "LABEL_VAST: True"))
    assert program.main(["--config-file", "foreign.yaml"]) == 2
    assert (
        "foreign.yaml:26: DATASET.LABEL_VAST: True is not to be had here; turn the colours" in capsys.readouterr().err
    )


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


LABORATORY = """
INFERENCE:
  INPUT_SIZE: "[9, 49, 49]"
  OUTPUT_SIZE: '(9, 49, 49)'
  IMAGE_NAME: "['image/test-input.tif', 'image/train-input.tif']"
  AUG_NUM: "4"
  AUG_MODE: "mean"
  STRIDE: !!seq [4, 32, 32]
  BLENDING: 'gaussian'
  SAMPLES_PER_BATCH: "16"
AUGMENTOR: {ROTATE: {ENABLED: yes, P: '0.5'}, FLIP: {ENABLED: no}, GRAYSCALE: {P: .5}}
SYSTEM: {NUM_GPUS: '0', NUM_CPUS: "0"}
MODEL:
  TARGET_OPT: ("2",)
  LABEL_EROSION: '1'
  INPUT_SIZE: [9, 33, 33]
  OUTPUT_SIZE: [9, 33, 33]
  FILTERS: [4, 4, 4, 8, 8]
  LOSS_OPTION: (("WeightedBCEWithLogitsLoss",), )
  LOSS_WEIGHT: [["1.0"]]
  WEIGHT_OPT: [[1]]
  OUTPUT_ACT: [['none']]
  OUT_PLANES: 3
  PAD_MODE: replicate
  REGU_OPT: 'None'
DATASET:
  {IMAGE_NAME: image/train-input.tif, LABEL_NAME: seg/train-labels.tif, INPUT_PATH: datasets/SNEMI3D, OUTPUT_PATH: l}
SOLVER: {NAME: Adam, BASE_LR: '1e-3', BETAS: "(0.9, 0.99)", ITERATION_TOTAL: 2, ITERATION_SAVE: 2, SAMPLES_PER_BATCH: 1}
"""


def test_a_laboratory_file_of_quoted_values_runs_and_converts_with_the_same_lines(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "l.yaml").write_text(LABORATORY)
    assert program.main(["--config-file", "l.yaml"]) == 0
    notes = [line.removeprefix("note: ") for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert [re.findall(r"l\.yaml:\d+: ([A-Z_.]+)", note) for note in notes] == [
        ["AUGMENTOR.FLIP.ENABLED"],
        ["AUGMENTOR.ROTATE.P"],
    ]
    done = CliRunner().invoke(app, ["config", "convert", "l.yaml"])
    assert all(f"# {note}\n" in done.output for note in notes)
    assert (
        "INFERENCE.IMAGE_NAME is not part of a recipe: one test volume is, datasets/SNEMI3D/image/test-" in done.output
    )


MISTAKEN = """
SYSTEM: {NUM_GPUS: four, NUM_CPUS: 2.5, ROOT: /data}
MODEL:
  ARCHITECTURE: unet_residual_3d
  IN_PLANES: 2
  TARGET_OPT: 2
  LOSS_OPTION: WeightedBCE
  FILTERS: 32
  INPUT_SIZE: "9x33x33"
  ISOTROPY: [False, False, nan, True, True]
  MIXED_PRECISION: True
DATASET: {IMAGE_NAME: 3, LABEL_NAME: {train: a.tif}, INPUT_PATH: [1, {a: b}], LABEL_VAST: yes}
SOLVER: {NAME: [SGD], LR: 0.1, STEPS: [0.5, 0.75], BASE_LR: fast, ITERATION_TOTAL: 1e5}
INFERENCE: {AUG_NUM: "all", STRIDE: None, OUTPUT_ACT: 2026-01-01}
NOTES: "made by somebody"
1: 2
"""


def test_every_mistake_of_a_file_is_named_with_its_line(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "m.yaml").write_text(MISTAKEN)
    assert program.main(["--config-file", "m.yaml"]) == 2
    said = capsys.readouterr().err.removeprefix("scripts/main.py: ").splitlines()
    assert [re.fullmatch(r"m\.yaml:(\d+): ([\w.]+): .+", line).groups() for line in said] == [
        *(("2", f"SYSTEM.{key}") for key in ("NUM_GPUS", "NUM_CPUS", "ROOT")),
        *(("5", "MODEL.IN_PLANES"), ("6", "MODEL.TARGET_OPT"), ("7", "MODEL.LOSS_OPTION"), ("8", "MODEL.FILTERS")),
        *(("9", "MODEL.INPUT_SIZE"), ("10", "MODEL.ISOTROPY"), ("11", "MODEL.MIXED_PRECISION")),
        *(("12", f"DATASET.{key}") for key in ("IMAGE_NAME", "LABEL_NAME.train", "INPUT_PATH", "LABEL_VAST")),
        *(("13", f"SOLVER.{key}") for key in ("NAME", "LR", "STEPS", "BASE_LR", "ITERATION_TOTAL")),
        *(("14", f"INFERENCE.{key}") for key in ("AUG_NUM", "STRIDE", "OUTPUT_ACT")),
        *(("15", "NOTES"), ("16", "1")),
        ("4", "MODEL.ARCHITECTURE"),  # what keys and values mean together is looked at last
    ]
