"""Every key of the classic vocabulary is honoured, accepted with a reason, or refused with what to do instead."""

from dataclasses import replace

import pytest

from neuropil import NeuropilError
from neuropil.compat.pytc import VOCABULARY, read_settings, translate

LEAST = ["MODEL.TARGET_OPT", '["2"]', "MODEL.OUT_PLANES", "3", "INFERENCE.STRIDE", "[4, 128, 128]"]
VERDICTS = {"honoured", "accepted", "refused"}


def of(verdict):
    return sorted(name for name, key in VOCABULARY.items() if key.verdict == verdict)


# The names of the classic defaults, from their first release to v1.0.
CLASSIC = {
    "SYSTEM": "NUM_GPUS NUM_CPUS DISTRIBUTED PARALLEL DISTRIBUTED_BACKEND DEBUG",
    "MODEL": """ARCHITECTURE BLOCK_TYPE BACKBONE DEPLOY_MODE FILTERS BLOCKS KERNEL_SIZES ATTENTION ISOTROPY TARGET_OPT
        TARGET_OPT_MULTISEG_SPLIT LABEL_EROSION LABEL_DILATION WEIGHT_OPT LOSS_OPTION OUTPUT_ACT LOSS_WEIGHT
        LOSS_KWARGS_KEY LOSS_KWARGS_VAL IN_PLANES OUT_PLANES PAD_MODE NORM_MODE ACT_MODE POOLING_LAYER
        MIXED_PRECESION EMBEDDING HEAD_DEPTH INPUT_SIZE OUTPUT_SIZE REGU_OPT REGU_TARGET REGU_WEIGHT FINETUNE
        EXACT SIZE_MATCH PRE_MODEL PRE_MODEL_LAYER PRE_MODEL_ITER RETURN_FEATS AUX_OUT SWIN_UNETR_FEATURE_SIZE
        DEPTHS SWIN_UNETR_NUM_HEADS NORM_NAME SWIN_UNETR_DROPOUT_RATE ATTN_DROP_RATE DROPOUT_PATH_RATE NORMALIZE
        USE_CHECKPOINT SPATIAL_DIMS DOWNSAMPLE USE_V2 UNETR_FEATURE_SIZE HIDDEN_SIZE MLP_DIM UNETR_NUM_HEADS
        POS_EMBED CONV_BLOCK RES_BLOCK UNETR_DROPOUT_RATE""",
    "DATASET": """DATA_SCALE IMAGE_SCALE LABEL_SCALE VALID_MASK_SCALE SCALE_FACTOR IMAGE_NAME LABEL_NAME VALID_MASK_NAME
        VAL_IMAGE_NAME VAL_LABEL_NAME VAL_VALID_MASK_NAME VAL_PAD_SIZE LABEL_VAST INPUT_PATH OUTPUT_PATH
        IS_ABSOLUTE_PATH IS_ISOTROPIC DO_2D LOAD_2D DROP_CHANNEL REDUCE_LABEL PAD_SIZE PAD_MODE ENSURE_MIN_SIZE
        NORMALIZE_RANGE LABEL_BINARY LABEL_MAG DO_CHUNK_TITLE DATA_CHUNK_NUM DATA_CHUNK_IND CHUNK_IND_SPLIT
        DATA_COORD_RANGE DATA_CHUNK_STRIDE DATA_CHUNK_ITER VALID_RATIO REJECT_SAMPLING.SIZE_THRES
        REJECT_SAMPLING.DIVERSITY REJECT_SAMPLING.P REJECT_SAMPLING.NUM_TRIAL MEAN STD MATCH_ACT DISTRIBUTED""",
    "AUGMENTOR": """ENABLED SMOOTH ADDITIONAL_TARGETS_NAME ADDITIONAL_TARGETS_TYPE ROTATE.ROT90 RESCALE.FIX_ASPECT
        FLIP.DO_ZTRANS ELASTIC.ALPHA ELASTIC.SIGMA MISSINGPARTS.ITER MISSINGSECTION.NUM_SECTION
        MISALIGNMENT.DISPLACEMENT MISALIGNMENT.ROTATE_RATIO MOTIONBLUR.SECTIONS MOTIONBLUR.KERNEL_SIZE
        CUTBLUR.LENGTH_RATIO CUTBLUR.DOWN_RATIO_MIN CUTBLUR.DOWN_RATIO_MAX CUTBLUR.DOWNSAMPLE_Z
        CUTNOISE.LENGTH_RATIO CUTNOISE.SCALE COPYPASTE.AUG_THRES """
    + " ".join(
        f"{kind}.ENABLED {kind}.P {kind}.SKIP"
        for kind in (
            *("ROTATE", "RESCALE", "FLIP", "ELASTIC", "GRAYSCALE", "MISSINGPARTS", "MISSINGSECTION", "MISALIGNMENT"),
            *("MOTIONBLUR", "CUTBLUR", "CUTNOISE", "COPYPASTE"),
        )
    ),
    "SOLVER": """NAME LR_SCHEDULER_NAME ITERATION_STEP ITERATION_SAVE ITERATION_TOTAL ITERATION_VAL ITERATION_RESTART
        BASE_LR BIAS_LR_FACTOR WEIGHT_DECAY_BIAS MOMENTUM BETAS WEIGHT_DECAY WEIGHT_DECAY_NORM GAMMA STEPS
        WARMUP_FACTOR WARMUP_ITERS WARMUP_METHOD SAMPLES_PER_BATCH CLIP_GRADIENTS.ENABLED
        CLIP_GRADIENTS.CLIP_TYPE CLIP_GRADIENTS.CLIP_VALUE CLIP_GRADIENTS.NORM_TYPE SWA.ENABLED SWA.LR_FACTOR
        SWA.START_ITER SWA.MERGE_ITER SWA.BN_UPDATE_ITER""",
    "MONITOR": "LOG_OPT VIS_OPT ITERATION_NUM",
    "INFERENCE": """INPUT_SIZE OUTPUT_SIZE TENSORSTORE_PATH INPUT_PATH IMAGE_NAME OUTPUT_PATH OUTPUT_NAME
        IS_ABSOLUTE_PATH DO_CHUNK_TITLE DO_SINGLY DO_SINGLY_START_INDEX DO_SINGLY_STEP PAD_SIZE UNPAD OUTPUT_ACT STRIDE
        BLENDING AUG_MODE AUG_NUM DATA_SCALE OUTPUT_SCALE DO_EVAL TEST_NUM TEST_ID SAMPLES_PER_BATCH
        MODEL_RETURN_FEATS OUTPUT_ENCODING AUG_EDGES""",
}


def test_the_vocabulary_is_the_classic_one():
    """And two keys of ours: INFERENCE.OUTPUT_ENCODING and AUG_EDGES."""
    assert {f"{section}.{name}" for section, names in CLASSIC.items() for name in names.split()} == set(VOCABULARY)


@pytest.mark.parametrize("name", VOCABULARY)
def test_every_key_is_classified(name):
    key = VOCABULARY[name]
    assert key.verdict in VERDICTS
    assert bool(key.why) == (key.verdict != "honoured"), "accepted and refused keys say why, honoured ones need not"
    assert name == name.upper()


@pytest.mark.parametrize("verdict", sorted(VERDICTS))
def test_translation_reads_what_is_honoured_and_nothing_else(verdict):
    settings = read_settings([], LEAST)
    translate(settings)
    if verdict == "honoured":
        assert set(of(verdict)) == settings.read
    else:
        assert not set(of(verdict)) & settings.read


@pytest.mark.parametrize("name", of("refused"))
def test_a_refused_key_may_only_ask_for_nothing(name):
    key = VOCABULARY[name]
    other = 7 if not isinstance(key.default, str) else "something"
    with pytest.raises(NeuropilError, match=rf"^command line: {name}: .*; .*") as refusal:
        read_settings([], [name, str(other)])
    assert key.why in str(refusal.value)
    for harmless in (key.default, *key.harmless):
        if harmless != "":
            read_settings([], [name, str(harmless)])


@pytest.mark.parametrize("name", of("accepted"))
def test_an_accepted_key_changes_nothing_and_says_so(name):
    plain, changed = (translate(read_settings([], [*LEAST, *more])) for more in ([], [name, "[7, 7, 7, 7]"]))
    assert changed.config == plain.config
    assert not plain.notes
    assert changed.notes == (f"command line: {name} changes nothing here: {VOCABULARY[name].why}",)


@pytest.mark.parametrize("name", of("accepted"))
def test_an_accepted_key_is_told_even_with_its_default_unless_that_is_off(name):
    default = VOCABULARY[name].default
    notes = translate(read_settings([], [*LEAST, name, str(default)])).notes
    assert [note.split()[2] for note in notes] == ([name] if default else [])


CHANGES = {
    "SYSTEM.PARALLEL": "DDP",
    "MODEL.BLOCK_TYPE": "residual_se",
    "MODEL.FILTERS": "[4, 4, 4, 4, 6]",
    "MODEL.ISOTROPY": "[False, True, True, True, True]",
    "MODEL.TARGET_OPT": '["2-2-3-3-v1"]',
    "MODEL.LABEL_EROSION": "2",
    "MODEL.WEIGHT_OPT": '[["0"]]',
    "MODEL.LOSS_OPTION": '[["WeightedMSE"]]',
    "MODEL.LOSS_WEIGHT": "[[3.0]]",
    "MODEL.NORM_MODE": "gn",
    "MODEL.ACT_MODE": "relu",
    "MODEL.INPUT_SIZE": "[9, 130, 130]",
    "MODEL.BLOCKS": "[1, 2, 2, 2]",
    "MODEL.PAD_MODE": "zeros",
    "DATASET.IMAGE_NAME": "a.h5",
    "DATASET.LABEL_NAME": "c.h5",
    "DATASET.VALID_MASK_NAME": "m.h5",
    "DATASET.VAL_IMAGE_NAME": "a.h5",
    "DATASET.VAL_LABEL_NAME": "c.h5",
    "DATASET.VAL_VALID_MASK_NAME": "m.h5",
    "DATASET.REJECT_SAMPLING.DIVERSITY": "3",
    "DATASET.REJECT_SAMPLING.SIZE_THRES": "1000",
    "SOLVER.SWA.START_ITER": "4000",
    "DATASET.DATA_SCALE": "[1, 2, 2]",
    "INFERENCE.DATA_SCALE": "[1, 2, 2]",
    "INFERENCE.INPUT_SIZE": "[8, 140, 140]",
    "INFERENCE.INPUT_PATH": "far",
    "INFERENCE.IS_ABSOLUTE_PATH": "True",
    "INFERENCE.IMAGE_NAME": "t.h5",
    "INFERENCE.STRIDE": "[3, 100, 100]",
    "INFERENCE.AUG_MODE": "min",
    "INFERENCE.OUTPUT_NAME": "elsewhere.tif",
    "INFERENCE.AUG_NUM": "4",
    "INFERENCE.AUG_EDGES": "False",
    "INFERENCE.BLENDING": "bump",
    "INFERENCE.DO_SINGLY": "True",
    "INFERENCE.OUTPUT_ENCODING": "float32",
    "INFERENCE.PAD_SIZE": "[1, 2, 3]",
    "DATASET.PAD_SIZE": "[1, 2, 3]",
    "SOLVER.NAME": "AdamW",
    "SOLVER.WARMUP_METHOD": "constant",
    "INFERENCE.SAMPLES_PER_BATCH": "2",
    "SOLVER.LR_SCHEDULER_NAME": "WarmupCosineLR",
    "SOLVER.GAMMA": "0.3",
    "SOLVER.BETAS": "(0.8, 0.99)",
    "SOLVER.STEPS": "(100,)",
    "MONITOR.ITERATION_NUM": "[5, 6]",
    "MODEL.SWIN_UNETR_FEATURE_SIZE": "24",
    "MODEL.DEPTHS": "(1, 1, 1, 1)",
    "MODEL.SWIN_UNETR_NUM_HEADS": "(3, 3, 3, 3)",
    "MODEL.NORM_NAME": "batch",
    "MODEL.HIDDEN_SIZE": "96",
    "MODEL.UNETR_NUM_HEADS": "4",
}
UNETR, SWIN = (["MODEL.ARCHITECTURE", name] for name in ("unetr", "swinunetr"))
NEEDED = {
    **dict.fromkeys([f"MODEL.{name}" for name in ("UNETR_FEATURE_SIZE", "UNETR_NUM_HEADS", "HIDDEN_SIZE")], UNETR),
    **dict.fromkeys(["MODEL.MLP_DIM", "MODEL.NORM_NAME", "MODEL.CONV_BLOCK"], UNETR),
    **dict.fromkeys([f"MODEL.SWIN_UNETR_{name}" for name in ("FEATURE_SIZE", "NUM_HEADS")], SWIN),
    **dict.fromkeys(["MODEL.DEPTHS", "MODEL.USE_CHECKPOINT", "MODEL.USE_V2"], SWIN),
    "MODEL.INPUT_SIZE": ["MODEL.OUTPUT_SIZE", None],
    "MODEL.BLOCKS": ["MODEL.ARCHITECTURE", "fpn_3d"],
    "MODEL.LOSS_OPTION": ["MODEL.WEIGHT_OPT", '[["0"]]', "MODEL.OUTPUT_ACT", '[["sigmoid"]]'],
    "DATASET.INPUT_PATH": ["DATASET.IMAGE_NAME", "a.h5", "DATASET.LABEL_NAME", "b.h5"],
    "DATASET.IS_ABSOLUTE_PATH": ["DATASET.IMAGE_NAME", "a.h5", "DATASET.LABEL_NAME", "b.h5"],
    "DATASET.LABEL_NAME": ["DATASET.IMAGE_NAME", "a.h5", "DATASET.LABEL_NAME", "b.h5"],
    "DATASET.IMAGE_NAME": ["DATASET.IMAGE_NAME", "b.h5", "DATASET.LABEL_NAME", "b.h5"],
    "DATASET.VALID_MASK_NAME": ["DATASET.IMAGE_NAME", "a.h5", "DATASET.LABEL_NAME", "b.h5"],
    "DATASET.VAL_IMAGE_NAME": ["DATASET.VAL_IMAGE_NAME", "b.h5", "DATASET.VAL_LABEL_NAME", "b.h5"],
    "DATASET.VAL_LABEL_NAME": ["DATASET.VAL_IMAGE_NAME", "a.h5", "DATASET.VAL_LABEL_NAME", "b.h5"],
    "DATASET.VAL_VALID_MASK_NAME": ["DATASET.VAL_IMAGE_NAME", "a.h5", "DATASET.VAL_LABEL_NAME", "b.h5"],
    "AUGMENTOR.CUTBLUR.LENGTH_RATIO": ["AUGMENTOR.CUTBLUR.LENGTH_RATIO", "0.5"],
    "AUGMENTOR.CUTNOISE.LENGTH_RATIO": ["AUGMENTOR.CUTBLUR.LENGTH_RATIO", "0.1"],
    "AUGMENTOR.MISSINGSECTION.NUM_SECTION": ["AUGMENTOR.MOTIONBLUR.SECTIONS", "1"],
    "AUGMENTOR.MOTIONBLUR.SECTIONS": ["AUGMENTOR.MISSINGSECTION.NUM_SECTION", "1"],
    "AUGMENTOR.FLIP.ENABLED": ["AUGMENTOR.ROTATE.ENABLED", "False"],
    "AUGMENTOR.ROTATE.ENABLED": ["AUGMENTOR.FLIP.ENABLED", "False"],
    "AUGMENTOR.ROTATE.P": ["AUGMENTOR.ROTATE.ROT90", "False"],
    "AUGMENTOR.RESCALE.P": ["AUGMENTOR.ELASTIC.ENABLED", "False"],
    **{
        f"SOLVER.WARMUP_{name}": ["SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR"]
        for name in ("ITERS", "FACTOR", "METHOD")
    },
    "SOLVER.CLIP_GRADIENTS.ENABLED": ["SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "norm"],
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": [
        *("SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "norm", "SOLVER.CLIP_GRADIENTS.ENABLED", "True")
    ],
    "SOLVER.SWA.ENABLED": ["SOLVER.SWA.START_ITER", "3000"],
    "SOLVER.SWA.START_ITER": ["SOLVER.SWA.ENABLED", "True", "SOLVER.SWA.START_ITER", "3000"],
    "INFERENCE.INPUT_PATH": ["INFERENCE.IMAGE_NAME", "t.h5"],
    "INFERENCE.DO_SINGLY": ["INFERENCE.IMAGE_NAME", "t.h5"],
    "INFERENCE.IS_ABSOLUTE_PATH": ["INFERENCE.IMAGE_NAME", "t.h5"],
}
CHECKS = {  # these have one meaning here, and say so when they are given another
    *(
        "MODEL.ARCHITECTURE",
        "MODEL.BACKBONE",
        "MODEL.OUT_PLANES",
        "MODEL.OUTPUT_SIZE",
        "MODEL.OUTPUT_ACT",
        "INFERENCE.OUTPUT_SIZE",
    ),
    *("INFERENCE.OUTPUT_ACT", "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "DATASET.DO_2D", "DATASET.PAD_MODE"),
}


def other(name):
    """Some other value of a key, as it is typed."""
    default = VOCABULARY[name].default
    if name in CHANGES:
        return CHANGES[name]
    if isinstance(default, bool):
        return str(not default)
    if isinstance(default, float):
        return str(default / 2)
    return str(default + 1) if isinstance(default, int) else "elsewhere"


@pytest.mark.parametrize("name", [name for name in of("honoured") if name not in CHECKS])
def test_an_honoured_key_changes_what_is_done(name):
    before = [str(word) for word in NEEDED.get(name, [])]
    if before[1:] == ["None"]:  # sizes go together
        plain = translate(read_settings([], LEAST))
        changed = translate(read_settings([], [*LEAST, before[0], other(name), name, other(name)]))
    else:
        plain, changed = (translate(read_settings([], [*LEAST, *before, *more])) for more in ([], [name, other(name)]))
    assert replace(changed, notes=()) != replace(plain, notes=())


@pytest.mark.parametrize(
    "words",
    [
        "MODEL.ARCHITECTURE deeplabv3a",
        "MODEL.BACKBONE repvgg MODEL.ARCHITECTURE fpn_3d",
        "MODEL.OUT_PLANES 4",
        "MODEL.OUTPUT_SIZE [8,128,128]",
        "MODEL.OUTPUT_ACT [[tanh]]",
        "INFERENCE.OUTPUT_SIZE [8,128,128]",
        "INFERENCE.OUTPUT_ACT [softmax]",
        "DATASET.PAD_MODE symmetric",
        "SOLVER.CLIP_GRADIENTS.CLIP_TYPE value SOLVER.CLIP_GRADIENTS.ENABLED True",
    ],
)
def test_a_meaning_that_there_is_not_is_refused_by_name(words):
    with pytest.raises(NeuropilError, match=f"^command line: {words.split()[0]}: .*expected"):
        translate(read_settings([], [*LEAST, *words.split()]))


@pytest.mark.parametrize("name", sorted(name for name in of("honoured") if type(VOCABULARY[name].default) is int))
def test_numbers_must_be_numbers(name):
    with pytest.raises(NeuropilError, match=f"{name}: expected a whole number, got 'many'"):
        read_settings([], [name, "many"])
