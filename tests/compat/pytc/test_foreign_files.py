"""Configuration files of other people: odd ways of writing, quoted values, mistakes."""

import re

import pytest
from typer.testing import CliRunner

from classic_data import clone
from neuropil.cli import app
from neuropil.compat.pytc import program


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return clone(tmp_path_factory.mktemp("clone"))


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
    padded = (
        "note: foreign.yaml:26: DATASET.PAD_SIZE: used by --inference only: patches to train on lie inside the volume"
    )
    assert padded in said.out
    assert said.err.count("warning") == 1
    assert (folder / "outputs/foreign/checkpoint_00002.pth").exists()


def test_a_key_that_is_not_to_be_had_is_refused_with_its_line(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "foreign.yaml").write_text(FOREIGN.replace("PAD_SIZE: [4, 64, 64]", "LABEL_VAST: True"))
    assert program.main(["--config-file", "foreign.yaml"]) == 2
    assert (
        "foreign.yaml:26: DATASET.LABEL_VAST: True is not supported here; turn the colours" in capsys.readouterr().err
    )


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
