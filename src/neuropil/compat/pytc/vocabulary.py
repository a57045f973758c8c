"""Every key of the classic vocabulary with its default, and how it is treated here.

*Honoured* keys are translated into the recipe. *Accepted* keys may hold any value, because they have no effect here;
each says why. *Refused* keys may only hold their default (or nothing), because other values are not supported; each
says what to do instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["honoured", "accepted", "refused"]


@dataclass(frozen=True)
class Key:
    """One key of the vocabulary."""

    default: Any
    verdict: Verdict
    why: str = ""
    """Accepted: why it has no effect. Refused: what to do instead."""
    kinds: tuple[type, ...] = ()
    """Further types that a value may have."""
    harmless: tuple[Any, ...] = ()
    """Refused: further values that ask for nothing. Honoured: ``(None,)`` where None is a value."""


def _honoured(default: Any, *kinds: type) -> Key:
    return Key(default, "honoured", kinds=kinds)


def _accepted(default: Any, why: str) -> Key:
    return Key(default, "accepted", why)


def _refused(default: Any, instead: str, *harmless: Any) -> Key:
    return Key(default, "refused", instead, harmless=harmless)


_OTHER_NETWORK = "it belongs to networks that MODEL.ARCHITECTURE refuses"
_NO_DROPOUT = "leave it at 0; nothing is dropped"
_NO_PADDING = "patches to validate on lie inside the volume, so that nothing is padded"
_TILES = "a stack of tiles (its .json file as a name) is opened like any volume and read box by box"
_RESAMPLE = "resample the volume first and name the result"
_SKIP = "leave it empty; an augmentation is on or off for all volumes"

_SYSTEM = {
    "NUM_GPUS": _honoured(4),
    "NUM_CPUS": _honoured(4),
    "DISTRIBUTED": _honoured(False),
    "PARALLEL": _honoured("DP"),
    "DISTRIBUTED_BACKEND": _accepted("nccl", "NCCL on GPUs and gloo on processors are chosen automatically"),
    "DEBUG": _accepted(False, "errors are always reported"),
}

_MODEL = {
    "ARCHITECTURE": _honoured("unet_3d"),
    "BLOCK_TYPE": _honoured("residual"),
    "BACKBONE": _honoured("resnet"),
    "DEPLOY_MODE": _accepted(False, _OTHER_NETWORK),
    "FILTERS": _honoured([28, 36, 48, 64, 80]),
    "BLOCKS": _honoured([2, 2, 2, 2]),
    "KERNEL_SIZES": _accepted([3, 3, 5, 3, 3], _OTHER_NETWORK),
    "ATTENTION": _accepted("squeeze_excitation", _OTHER_NETWORK),
    "ISOTROPY": _honoured([False, False, False, True, True]),
    "TARGET_OPT": _honoured(["0"]),
    "TARGET_OPT_MULTISEG_SPLIT": _refused(None, "give one label volume with one id per neuron"),
    "LABEL_EROSION": _honoured(None, int, list),
    "LABEL_DILATION": _refused(None, "dilate the labels before training", 0),
    "WEIGHT_OPT": _honoured([["1"]]),
    "LOSS_OPTION": _honoured([["WeightedBCE"]]),
    "OUTPUT_ACT": _honoured([["none"]]),
    "LOSS_WEIGHT": _honoured([[1.0]]),
    "LOSS_KWARGS_KEY": _refused(None, "leave it out; a native recipe has loss.weight_cap and loss.focal_gamma"),
    "LOSS_KWARGS_VAL": _refused(None, "leave it out; a native recipe has loss.weight_cap and loss.focal_gamma"),
    "IN_PLANES": _refused(1, "give one grey channel; combine several into one volume first"),
    "OUT_PLANES": _honoured(1),
    "PAD_MODE": _honoured("replicate"),
    "NORM_MODE": _honoured("bn"),
    "ACT_MODE": _honoured("elu"),
    "POOLING_LAYER": _honoured(False),
    "MIXED_PRECESION": _honoured(False),
    "EMBEDDING": _accepted(1, "the classic package reads it nowhere"),
    "HEAD_DEPTH": _accepted(1, "the classic package reads it nowhere"),
    "INPUT_SIZE": _honoured([8, 256, 256]),
    "OUTPUT_SIZE": _honoured([8, 256, 256]),
    "REGU_OPT": _refused(None, "leave regularisers out; a native recipe has auxiliary targets instead (model.aux_…)"),
    "REGU_TARGET": _refused(None, "leave regularisers out"),
    "REGU_WEIGHT": _refused(None, "leave regularisers out"),
    "FINETUNE": _refused("", "give another DATASET.OUTPUT_PATH", None),
    "EXACT": _refused(True, "leave it out; the weights of --checkpoint must fit the network in all names and shapes"),
    "SIZE_MATCH": _refused(
        True, "leave it out; the weights of --checkpoint must fit the network in all names and shapes"
    ),
    "PRE_MODEL": _refused("", "give --checkpoint, with SOLVER.ITERATION_RESTART True for the weights alone", None),
    "PRE_MODEL_LAYER": _refused("", "give --checkpoint; it loads whole networks", None),
    "PRE_MODEL_ITER": _refused(0, "give --checkpoint; it knows its iteration"),
    "RETURN_FEATS": _refused(None, "leave it out; the network returns affinities"),
    "AUX_OUT": _refused(False, "leave it out; a native recipe has model.deep_supervision"),
    "SWIN_UNETR_FEATURE_SIZE": _honoured(48),
    "DEPTHS": _honoured((2, 2, 2, 2)),
    "SWIN_UNETR_NUM_HEADS": _honoured((3, 6, 12, 24)),
    "NORM_NAME": _honoured("instance"),
    "SWIN_UNETR_DROPOUT_RATE": _refused(0.0, _NO_DROPOUT),
    "ATTN_DROP_RATE": _refused(0.0, _NO_DROPOUT),
    "DROPOUT_PATH_RATE": _refused(0.0, _NO_DROPOUT),
    "NORMALIZE": _refused(True, "leave it out; the features of each stage are normalised"),
    "USE_CHECKPOINT": _honoured(False),
    "SPATIAL_DIMS": _refused(3, "leave it at 3; volumes have three axes"),
    "DOWNSAMPLE": _refused("merging", "leave it at merging"),
    "USE_V2": _honoured(False),
    "UNETR_FEATURE_SIZE": _honoured(16),
    "HIDDEN_SIZE": _honoured(768),
    "MLP_DIM": _honoured(3072),
    "UNETR_NUM_HEADS": _honoured(12),
    "POS_EMBED": _accepted("perceptron", "every value gives the same linear embedding of blocks of voxels"),
    "CONV_BLOCK": _honoured(True),
    "RES_BLOCK": _refused(True, "leave it at True"),
    "UNETR_DROPOUT_RATE": _refused(0.0, _NO_DROPOUT),
}

_DATASET = {
    "DATA_SCALE": Key([1.0, 1.0, 1.0], "honoured", harmless=(None,)),
    "IMAGE_SCALE": _refused(None, _RESAMPLE, [1.0, 1.0, 1.0]),
    "LABEL_SCALE": _refused(None, _RESAMPLE, [1.0, 1.0, 1.0]),
    "VALID_MASK_SCALE": _refused(None, _RESAMPLE, [1.0, 1.0, 1.0]),
    "SCALE_FACTOR": _accepted([2, 3, 3], _OTHER_NETWORK),
    "IMAGE_NAME": _honoured(None, str, list),
    "LABEL_NAME": _honoured(None, str, list),
    "VALID_MASK_NAME": _honoured(None, str, list),
    "VAL_IMAGE_NAME": _honoured(None, str, list),
    "VAL_LABEL_NAME": _honoured(None, str, list),
    "VAL_VALID_MASK_NAME": _honoured(None, str, list),
    "VAL_PAD_SIZE": _accepted([0, 0, 0], _NO_PADDING),
    "LABEL_VAST": _refused(False, "turn the colours into ids first and name the result"),
    "INPUT_PATH": _honoured("path/to/input", list),
    "OUTPUT_PATH": _honoured("path/to/output"),
    "IS_ABSOLUTE_PATH": _honoured(False),
    "IS_ISOTROPIC": _honoured(False),
    "DO_2D": _honoured(False),
    "LOAD_2D": _accepted(False, "an image of one section is a volume of one section"),
    "DROP_CHANNEL": _accepted(False, "volumes have one channel"),
    "REDUCE_LABEL": _accepted(True, "ids of any size are made compact"),
    "PAD_SIZE": _honoured([2, 64, 64]),
    "PAD_MODE": _honoured("reflect"),
    "ENSURE_MIN_SIZE": _refused(False, "make MODEL.INPUT_SIZE as small as the smallest volume"),
    "NORMALIZE_RANGE": _honoured(True),
    "LABEL_BINARY": _refused(False, "give one id per neuron"),
    "LABEL_MAG": _refused(0, _RESAMPLE),
    "DO_CHUNK_TITLE": _accepted(0, _TILES),
    "DATA_CHUNK_NUM": _accepted([1, 1, 1], _TILES),
    "DATA_CHUNK_IND": _accepted(None, _TILES),
    "CHUNK_IND_SPLIT": _accepted(None, _TILES),
    "DATA_COORD_RANGE": _refused(None, "write a native recipe, where every volume may have a box"),
    "DATA_CHUNK_STRIDE": _accepted(True, _TILES),
    "DATA_CHUNK_ITER": _accepted(1000, _TILES),
    "VALID_RATIO": _accepted(0.5, "the loss counts only usable voxels, so patches with few of them do no harm"),
    "REJECT_SAMPLING.SIZE_THRES": _honoured(-1),
    "REJECT_SAMPLING.DIVERSITY": _honoured(-1),
    "REJECT_SAMPLING.P": _accepted(0.95, "rejected positions are always drawn again"),
    "REJECT_SAMPLING.NUM_TRIAL": _accepted(50, "50 positions are tried, then the one with most labels is taken"),
    "MEAN": _honoured(0.5),
    "STD": _honoured(0.5),
    "MATCH_ACT": _refused("none", "leave it out; the network takes grey values from 0 to 1"),
    "DISTRIBUTED": _accepted(False, "several processes always share the samples"),
}

_AUGMENTOR = {
    "ENABLED": _honoured(True),
    "SMOOTH": _refused(False, "set it to False; smoothing labels can erase thin processes"),
    "ADDITIONAL_TARGETS_NAME": _accepted(["label"], "labels and masks always move with the image"),
    "ADDITIONAL_TARGETS_TYPE": _accepted(["mask"], "labels and masks always move with the image"),
    "ROTATE.ENABLED": _honoured(True),
    "ROTATE.ROT90": _honoured(True),
    "ROTATE.P": _honoured(1.0),
    "RESCALE.ENABLED": _honoured(True),
    "RESCALE.FIX_ASPECT": _refused(False, "leave it out; y and x are scaled independently"),
    "RESCALE.P": _honoured(0.5),
    "FLIP.ENABLED": _honoured(True),
    "FLIP.P": _accepted(1.0, "each flip and exchange of axes is drawn with probability one half"),
    "FLIP.DO_ZTRANS": _refused(0, "leave it out; y and x are exchanged, z stays", False),
    "ELASTIC.ENABLED": _honoured(True),
    "ELASTIC.P": _honoured(0.75),
    "ELASTIC.ALPHA": _honoured(16.0),
    "ELASTIC.SIGMA": _honoured(4.0),
    "GRAYSCALE.ENABLED": _honoured(True),
    "GRAYSCALE.P": _honoured(0.75),
    "MISSINGPARTS.ENABLED": _honoured(True),
    "MISSINGPARTS.P": _honoured(0.9),
    "MISSINGPARTS.ITER": _accepted(64, "sections are torn along a straight line, which has no width"),
    "MISSINGSECTION.ENABLED": _honoured(True),
    "MISSINGSECTION.P": _honoured(0.5),
    "MISSINGSECTION.NUM_SECTION": _honoured(2),
    "MISALIGNMENT.ENABLED": _honoured(True),
    "MISALIGNMENT.P": _honoured(0.5),
    "MISALIGNMENT.DISPLACEMENT": _honoured(16),
    "MISALIGNMENT.ROTATE_RATIO": _accepted(0.5, "single sections are displaced and never rotated"),
    "MOTIONBLUR.ENABLED": _honoured(True),
    "MOTIONBLUR.P": _honoured(0.5),
    "MOTIONBLUR.SECTIONS": _honoured(2),
    "MOTIONBLUR.KERNEL_SIZE": _honoured(11),
    "CUTBLUR.ENABLED": _honoured(True),
    "CUTBLUR.P": _honoured(0.5),
    "CUTBLUR.LENGTH_RATIO": _honoured(0.4),
    "CUTBLUR.DOWN_RATIO_MIN": _accepted(2.0, "the factor is drawn from 2 to 8 for each sample"),
    "CUTBLUR.DOWN_RATIO_MAX": _accepted(8.0, "the factor is drawn from 2 to 8 for each sample"),
    "CUTBLUR.DOWNSAMPLE_Z": _refused(False, "leave it out; boxes become coarser in y and x"),
    "CUTNOISE.ENABLED": _honoured(True),
    "CUTNOISE.P": _honoured(0.75),
    "CUTNOISE.LENGTH_RATIO": _honoured(0.4),
    "CUTNOISE.SCALE": _honoured(0.3),
    "COPYPASTE.ENABLED": _refused(False, "leave it out; pasted neurons have no affinities to learn"),
    "COPYPASTE.AUG_THRES": _accepted(0.7, "it belongs to COPYPASTE, which is refused"),
    "COPYPASTE.P": _accepted(0.8, "it belongs to COPYPASTE, which is refused"),
} | {
    f"{name}.SKIP": _refused([], _SKIP, None)
    for name in (
        *("ROTATE", "RESCALE", "FLIP", "ELASTIC", "GRAYSCALE", "MISSINGPARTS", "MISSINGSECTION", "MISALIGNMENT"),
        *("MOTIONBLUR", "CUTBLUR", "CUTNOISE", "COPYPASTE"),
    )
}

_SOLVER = {
    "NAME": _honoured("SGD"),
    "LR_SCHEDULER_NAME": _honoured("MultiStepLR"),
    "ITERATION_STEP": _accepted(1, "the classic package reads it nowhere; a native recipe has optimizer.accumulate"),
    "ITERATION_SAVE": _honoured(5000),
    "ITERATION_TOTAL": _honoured(40000),
    "ITERATION_VAL": _honoured(5000),
    "ITERATION_RESTART": _honoured(False),
    "BASE_LR": _honoured(0.001),
    "BIAS_LR_FACTOR": _refused(1.0, "leave it at 1; all parameters have one learning rate"),
    "WEIGHT_DECAY_BIAS": _refused(0.0, "leave it at 0; biases are never decayed"),
    "MOMENTUM": _honoured(0.9),
    "BETAS": _honoured((0.9, 0.999)),
    "WEIGHT_DECAY": _honoured(0.0001),
    "WEIGHT_DECAY_NORM": _refused(0.0, "leave it at 0; norms are never decayed"),
    "GAMMA": _honoured(0.1),
    "STEPS": _honoured((30000, 35000)),
    "WARMUP_FACTOR": _honoured(1.0 / 1000),
    "WARMUP_ITERS": _honoured(1000),
    "WARMUP_METHOD": _honoured("linear"),
    "SAMPLES_PER_BATCH": _honoured(2),
    "CLIP_GRADIENTS.ENABLED": _honoured(False),
    "CLIP_GRADIENTS.CLIP_TYPE": _honoured("value"),
    "CLIP_GRADIENTS.CLIP_VALUE": _honoured(1.0),
    "CLIP_GRADIENTS.NORM_TYPE": _refused(2.0, "leave it at 2; gradients are clipped by their Euclidean norm"),
    "SWA.ENABLED": _honoured(False),
    "SWA.LR_FACTOR": _accepted(0.05, "the schedule also sets the learning rate while weights are averaged"),
    "SWA.START_ITER": _honoured(90000),
    "SWA.MERGE_ITER": _accepted(10, "the weights of every step are averaged"),
    "SWA.BN_UPDATE_ITER": _accepted(2000, "20 batches are used to update the statistics of batch norms"),
}

_MONITOR = {
    "LOG_OPT": _accepted([1, 1, 0], "scalars are always written"),
    "VIS_OPT": _accepted([0, 16], "pictures show the middle section of the first sample"),
    "ITERATION_NUM": _honoured([20, 200]),
}

_INFERENCE = {
    "INPUT_SIZE": _honoured(None, list),
    "OUTPUT_SIZE": _honoured(None, list),
    "TENSORSTORE_PATH": _refused(None, "name the store itself as INFERENCE.IMAGE_NAME, such as volume.zarr/raw"),
    "INPUT_PATH": _honoured(None, str, list),
    "IMAGE_NAME": _honoured(None, str, list),
    "OUTPUT_PATH": _honoured(""),
    "OUTPUT_NAME": _honoured("result.h5"),
    "IS_ABSOLUTE_PATH": _honoured(None, bool),
    "DO_CHUNK_TITLE": _accepted(None, _TILES),
    "DO_SINGLY": _honoured(False),
    "DO_SINGLY_START_INDEX": _refused(0, "remove finished images from INFERENCE.IMAGE_NAME"),
    "DO_SINGLY_STEP": _refused(1, "name in INFERENCE.IMAGE_NAME only the images of this process"),
    "PAD_SIZE": _honoured(None, list),
    "UNPAD": _refused(True, "leave it out; predictions lie on the image voxel for voxel"),
    "OUTPUT_ACT": _honoured(["sigmoid"]),
    "STRIDE": _honoured([4, 128, 128]),
    "BLENDING": _honoured("gaussian"),
    "AUG_MODE": _honoured("mean"),
    "AUG_NUM": Key(8, "honoured", harmless=(None,)),
    "DATA_SCALE": _honoured(None, list),
    "OUTPUT_SCALE": _refused([1.0, 1.0, 1.0], "resample the result", None),
    "DO_EVAL": _refused(True, "leave it out; norms use their statistics from training"),
    "TEST_NUM": _refused(1, "start one process per volume, each with its own INFERENCE.IMAGE_NAME"),
    "TEST_ID": _accepted(0, "it belongs to TEST_NUM, which is refused"),
    "SAMPLES_PER_BATCH": _honoured(4),
    "MODEL_RETURN_FEATS": _refused(None, "leave it out; the network returns affinities"),
    # Two keys of our own.
    "OUTPUT_ENCODING": _honoured("uint8"),
    "AUG_EDGES": _honoured(None, bool),
}

VOCABULARY: dict[str, Key] = {
    f"{section}.{name}": key
    for section, keys in (
        ("SYSTEM", _SYSTEM),
        ("MODEL", _MODEL),
        ("DATASET", _DATASET),
        ("AUGMENTOR", _AUGMENTOR),
        ("SOLVER", _SOLVER),
        ("MONITOR", _MONITOR),
        ("INFERENCE", _INFERENCE),
    )
    for name, key in keys.items()
}
