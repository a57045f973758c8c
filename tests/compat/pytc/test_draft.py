"""Mistakes are reported under the key that somebody wrote, never under its neighbour, and never as a traceback."""

import re

import pytest

from neuropil import NeuropilError
from neuropil.compat.pytc import VOCABULARY, read_settings, translate

LEAST = ["MODEL.TARGET_OPT", '["2"]', "MODEL.OUT_PLANES", "3", "INFERENCE.STRIDE", "[4, 128, 128]"]
HOSTILE = [
    *("-1", "0", "1.5", "9999999999999999999999", ".nan", ".inf", "-.inf", "True", "''", "'  '", "many", "{}"),
    *("[]", "[1]", "[None, 3, 3]", "[null, 3, 3]", "[0, 0, 0]", "[-3, -3, -3, -3, -3]", "[[]]", "[[1, 2], [3]]"),
    *("(1,)", "['']", "[a, b]", "${NOT_SET_ANYWHERE}/a"),
]
VOLUMES = [
    *("DATASET.IMAGE_NAME", "a.h5@b.h5", "DATASET.LABEL_NAME", "c.h5@d.h5", "INFERENCE.IMAGE_NAME", "t.h5"),
    *("DATASET.VAL_IMAGE_NAME", "a.h5@b.h5", "DATASET.VAL_LABEL_NAME", "c.h5@d.h5"),
]
SOLVER = [
    *("SOLVER.LR_SCHEDULER_NAME", "WarmupMultiStepLR", "SOLVER.SWA.ENABLED", "True", "SOLVER.SWA.START_ITER", "300"),
    *("SOLVER.CLIP_GRADIENTS.ENABLED", "True", "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "norm"),
    *("AUGMENTOR.ROTATE.ROT90", "False"),
]


UNETR, SWIN = (["MODEL.ARCHITECTURE", name] for name in ("unetr", "swinunetr"))
HONOURED = [name for name, key in VOCABULARY.items() if key.verdict == "honoured"]


@pytest.mark.parametrize(
    ("others", "names"),
    [
        ([], ""),
        (VOLUMES, "_NAME|_PATH"),
        (SOLVER, "SOLVER"),
        (UNETR, "MODEL.(UNETR|HID|MLP|NORM_NAME|INPUT)"),
        (SWIN, "MODEL.(SWIN|DEPTHS|NORM_NAME|USE)"),
    ],
    ids=["alone", "volumes", "solver", "unetr", "swinunetr"],
)
def test_whatever_stands_behind_a_key_an_error_names_that_key(others, names):
    wrong = []
    for name in filter(re.compile(names).search, HONOURED):
        for value in HOSTILE:
            try:
                translate(read_settings([], [*LEAST, *others, name, value]))
            except NeuropilError as error:
                wrong += [(name, value, line) for line in str(error).splitlines() if name not in line]
    assert not wrong


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("SYSTEM.NUM_GPUS -1", "command line: SYSTEM.NUM_GPUS: expected a whole number of at least 0, got -1"),
        ("MODEL.INPUT_SIZE [9,33]", "command line: MODEL.INPUT_SIZE: expected three whole numbers"),
        ("MODEL.INPUT_SIZE [9,33,33]", "command line: MODEL.INPUT_SIZE: the network returns as many voxels as it"),
        ("INFERENCE.INPUT_SIZE [9,33]", "command line: INFERENCE.INPUT_SIZE: expected three whole numbers"),
        ("MODEL.FILTERS [4,4]", "command line: MODEL.FILTERS: expected as many values in MODEL.ISOTROPY"),
        ("AUGMENTOR.ELASTIC.ALPHA -2", "command line: AUGMENTOR.ELASTIC.ALPHA: expected a value ≥ 0, got -2"),
        ("AUGMENTOR.MISALIGNMENT.DISPLACEMENT -1", "command line: AUGMENTOR.MISALIGNMENT.DISPLACEMENT: "),
        ("AUGMENTOR.CUTNOISE.LENGTH_RATIO 3", "command line: AUGMENTOR.CUTNOISE.LENGTH_RATIO: expected a value from 0"),
        ("AUGMENTOR.MOTIONBLUR.SECTIONS -1", "command line: AUGMENTOR.MOTIONBLUR.SECTIONS: expected a value ≥ 1"),
        ("SOLVER.SWA.ENABLED True", "command line: SOLVER.SWA.ENABLED: expected SOLVER.SWA.START_ITER"),
        ("SOLVER.CLIP_GRADIENTS.ENABLED True", "command line: SOLVER.CLIP_GRADIENTS.ENABLED: gradients are clipped"),
        ("MODEL.HIDDEN_SIZE 100 MODEL.ARCHITECTURE unetr", "command line: MODEL.HIDDEN_SIZE: expected MODEL.UNETR_NUM"),
        (
            "MODEL.SWIN_UNETR_FEATURE_SIZE 36 MODEL.SWIN_UNETR_NUM_HEADS [5,5,5,5] MODEL.ARCHITECTURE swinunetr",
            "command line: MODEL.SWIN_UNETR_NUM_HEADS: expected MODEL.SWIN_UNETR_NUM_HEADS to divide",
        ),
        ("DATASET.LABEL_NAME a.h5", "command line: DATASET.LABEL_NAME: expected as many volumes in DATASET.LABEL_NAME"),
        ("DATASET.VAL_LABEL_NAME a.h5", "command line: DATASET.VAL_LABEL_NAME: expected as many volumes"),
        ("DATASET.VALID_MASK_NAME a.h5", "command line: DATASET.VALID_MASK_NAME: expected as many volumes"),
        ("DATASET.OUTPUT_PATH ${NOT_SET_ANYWHERE}/a", "command line: DATASET.OUTPUT_PATH: the environment variable"),
        ("INFERENCE.OUTPUT_NAME ''", "command line: INFERENCE.OUTPUT_NAME: expected a name"),
        ("INFERENCE.OUTPUT_ENCODING int8", "command line: INFERENCE.OUTPUT_ENCODING: expected uint8, logit8"),
        ("INFERENCE.PAD_SIZE [1,2]", "command line: INFERENCE.PAD_SIZE: expected three whole numbers"),
        ('MODEL.TARGET_OPT ["2","4-0-1"]', "command line: MODEL.TARGET_OPT: 4-0-1: expected a contour at least 1 wide"),
    ],
)
def test_of_keys_that_do_not_fit_together_the_one_that_was_written_is_named(words, said):
    with pytest.raises(NeuropilError) as refusal:
        translate(read_settings([], [*LEAST, *words.split()]))
    assert str(refusal.value).startswith(said)


def test_paths_of_pairs_are_reported_under_the_key_of_their_kind(monkeypatch):
    monkeypatch.delenv("NOT_SET_ANYWHERE", raising=False)
    with pytest.raises(NeuropilError, match=r"^command line: DATASET\.LABEL_NAME: the environment variable NOT_SET"):
        translate(
            read_settings([], [*LEAST, "DATASET.IMAGE_NAME", "a.h5", "DATASET.LABEL_NAME", "${NOT_SET_ANYWHERE}/b.h5"])
        )
