"""What the affinity and neuron configurations of the classic package say, key by key: the base of each and its own."""

_LOSSES = {
    "LOSS_OPTION": [["WeightedBCEWithLogitsLoss", "DiceLoss"]],
    "LOSS_WEIGHT": [[1.0, 0.5]],
    "WEIGHT_OPT": [["1", "0"]],
    "OUTPUT_ACT": [["none", "sigmoid"]],
}


def _losses(count):
    return {name: value * count for name, value in _LOSSES.items()}


SNEMI = {
    "SYSTEM": {"NUM_GPUS": 1, "NUM_CPUS": 1},
    "AUGMENTOR": {"SMOOTH": False},
    "MODEL": {
        **_LOSSES,
        "INPUT_SIZE": [17, 257, 257],
        "OUTPUT_SIZE": [17, 257, 257],
        "IN_PLANES": 1,
        "OUT_PLANES": 3,
        "TARGET_OPT": ["2"],
        "LABEL_EROSION": 1,
        "FILTERS": [32, 64, 96, 128, 160],
        "NORM_MODE": "gn",
    },
    "DATASET": {
        "IMAGE_NAME": "train-image.tif",
        "LABEL_NAME": "train-label.tif",
        "INPUT_PATH": "datasets/SNEMI3D/",
        "OUTPUT_PATH": "outputs/SNEMI3D/",
        "PAD_SIZE": [4, 64, 64],
    },
    "SOLVER": {
        "LR_SCHEDULER_NAME": "WarmupCosineLR",
        "BASE_LR": 0.02,
        "ITERATION_STEP": 1,
        "ITERATION_SAVE": 10000,
        "ITERATION_TOTAL": 150000,
        "SAMPLES_PER_BATCH": 2,
    },
    "MONITOR": {"ITERATION_NUM": [200, 1000]},
    "INFERENCE": {
        "INPUT_SIZE": [17, 513, 513],
        "OUTPUT_SIZE": [17, 513, 513],
        "OUTPUT_ACT": ["sigmoid"],
        "IMAGE_NAME": "test-input.tif",
        "OUTPUT_PATH": "outputs/SNEMI3D/test",
        "OUTPUT_NAME": "result.h5",
        "PAD_SIZE": [4, 32, 32],
        "AUG_MODE": "min",
        "AUG_NUM": "None",
        "STRIDE": [8, 256, 256],
        "SAMPLES_PER_BATCH": 4,
    },
}
_LARGE = {
    "SYSTEM": {"NUM_GPUS": 4, "NUM_CPUS": 16},
    "SOLVER": {
        "LR_SCHEDULER_NAME": "WarmupCosineLR",
        "BASE_LR": 0.04,
        "ITERATION_STEP": 1,
        "ITERATION_SAVE": 5000,
        "ITERATION_TOTAL": 200000,
        "SAMPLES_PER_BATCH": 2,
    },
}
_TILES = {
    "INPUT_SIZE": [33, 257, 257],
    "OUTPUT_SIZE": [33, 257, 257],
    "OUTPUT_ACT": ["sigmoid"],
    "IS_ABSOLUTE_PATH": False,
    "DO_CHUNK_TITLE": 1,
    "OUTPUT_NAME": "result.h5",
    "PAD_SIZE": [8, 128, 128],
    "AUG_MODE": "min",
    "AUG_NUM": "None",
    "STRIDE": [16, 128, 128],
}
_WIDE = {
    "FILTERS": [32, 64, 96, 128, 192],
    "NORM_MODE": "sync_bn",
    "IN_PLANES": 1,
    "OUT_PLANES": 3,
    "TARGET_OPT": ["2"],
}
JWR15 = {
    **_LARGE,
    "MODEL": {
        **_LOSSES,
        **_WIDE,
        "ARCHITECTURE": "unet_3d",
        "BLOCK_TYPE": "residual_se",
        "INPUT_SIZE": [17, 193, 193],
        "OUTPUT_SIZE": [17, 193, 193],
    },
    "DATASET": {
        "IMAGE_NAME": [f"vol{n}/im_orig_noPad.h5" for n in (1, 2, 3, 4)],
        "LABEL_NAME": [f"vol{n}/seg_gt_v2.h5" for n in (1, 2, 3, 4)],
        "INPUT_PATH": "datasets/JWR15/roi_8x8x3um/",
        "OUTPUT_PATH": "outputs/JWR15_Neuron/",
        "DATA_SCALE": [1.0, 2.0, 1.0],
        "PAD_SIZE": [2, 48, 48],
        "DISTRIBUTED": True,
        "REJECT_SAMPLING": {"DIVERSITY": 3},
        "DATA_CHUNK_NUM": [3, 16, 8],
    },
    "INFERENCE": {
        **_TILES,
        "INPUT_PATH": "datasets/JWR15/",
        "IMAGE_NAME": "jwr15.json",
        "OUTPUT_PATH": "outputs/JWR15_Neuron/test_all",
        "SAMPLES_PER_BATCH": 4,
    },
}
ZEBRAFINCH = {
    **_LARGE,
    "MODEL": {**_LOSSES, **_WIDE, "INPUT_SIZE": [33, 97, 97], "OUTPUT_SIZE": [33, 97, 97], "LABEL_EROSION": 1},
    "DATASET": {
        "IMAGE_NAME": "datasets/zebrafinch/img_train.txt",
        "LABEL_NAME": "datasets/zebrafinch/seg_train.txt",
        "OUTPUT_PATH": "outputs/Zebrafinch/",
        "IS_ABSOLUTE_PATH": True,
        "PAD_SIZE": [4, 32, 32],
        "DISTRIBUTED": True,
        "REJECT_SAMPLING": {"DIVERSITY": 3},
        "DATA_CHUNK_NUM": [25, 7, 8],
    },
    "INFERENCE": {
        **_TILES,
        "INPUT_PATH": "datasets/zebrafinch/",
        "IMAGE_NAME": "zebrafinch.json",
        "OUTPUT_PATH": "outputs/Zebrafinch/test",
        "SAMPLES_PER_BATCH": 12,
    },
}


def _own(name, model, folder="outputs/SNEMI_", data=None, inference=None, solver=None):
    """A file of a variant: its network, and where it writes."""
    return {
        "MODEL": model,
        "DATASET": {"OUTPUT_PATH": f"{folder}{name}", **(data or {})},
        "INFERENCE": {"OUTPUT_PATH": f"{folder}{name}/test", **(inference or {})},
        **({"SOLVER": solver} if solver else {}),
    }


def _erosions(*rates):
    return {"OUT_PLANES": 9, "TARGET_OPT": ["2", "2", "2"], "LABEL_EROSION": list(rates), **_losses(3)}


_SE = {"BLOCK_TYPE": "residual_se"}
_ADAM = {"NAME": "AdamW", "BASE_LR": 0.001}
_THREE = {"OUTPUT_ACT": ["sigmoid"] * 3}
FILES = {
    "SNEMI-Affinity-UNet": (SNEMI, _own("UNet", {"ARCHITECTURE": "unet_3d", **_SE})),
    "SNEMI-Affinity-UNet-LR": (
        SNEMI,
        _own(
            "UNet_LR",
            {
                "ARCHITECTURE": "unet_3d",
                **_SE,
                "OUT_PLANES": 12,
                "TARGET_OPT": ["2-1-1-1-v1", "2-2-3-3-v1", "2-3-9-9-v1", "2-4-27-27-v1"],
                **_losses(4),
            },
            inference={"OUTPUT_ACT": ["sigmoid"] * 4},
        ),
    ),
    "SNEMI-Affinity-UNet-MER": (
        SNEMI,
        _own("UNet_MER", {"ARCHITECTURE": "unet_3d", **_SE, **_erosions(1, 2, 4)}, inference=_THREE),
    ),
    "SNEMI-Affinity-UNet-2x": (
        SNEMI,
        _own("UNet_2x", {"ARCHITECTURE": "unet_plus_3d", **_SE}, data={"DATA_SCALE": [1.0, 2.0, 2.0]}),
    ),
    "SNEMI-Affinity-Contour-UNet-2x": (
        SNEMI,
        _own(
            "UNet_AC_2x",
            {
                "ARCHITECTURE": "unet_plus_3d",
                **_SE,
                "FILTERS": [32, 64, 96, 128, 160],
                "OUT_PLANES": 4,
                "TARGET_OPT": ["2", "4-1-1"],
                "LABEL_EROSION": 1,
                **_losses(2),
            },
            data={"DATA_SCALE": [2.0, 2.0, 2.0]},
            inference={"OUTPUT_ACT": ["sigmoid"] * 2},
        ),
    ),
    "SNEMI-Affinity-ResNet": (
        SNEMI,
        _own(
            "ResNet",
            {"ARCHITECTURE": "fpn_3d", "BACKBONE": "resnet", **_SE, "FILTERS": [32, 64, 96, 128, 192]},
        ),
    ),
    "SNEMI-Affinity-EffNet": (
        SNEMI,
        _own(
            "EffNet",
            {
                "ARCHITECTURE": "fpn_3d",
                "BACKBONE": "efficientnet",
                "BLOCK_TYPE": "inverted_res",
                "FILTERS": [32, 64, 96, 128, 192],
            },
        ),
    ),
    "SNEMI-Affinity-UNETR": (
        SNEMI,
        _own(
            "UNETR",
            {
                "ARCHITECTURE": "unetr",
                "INPUT_SIZE": [64, 128, 128],
                "OUTPUT_SIZE": [64, 128, 128],
                "UNETR_FEATURE_SIZE": 16,
                "HIDDEN_SIZE": 768,
                "MLP_DIM": 3072,
                "UNETR_NUM_HEADS": 12,
                "POS_EMBED": "perceptron",
                "NORM_NAME": "instance",
                "CONV_BLOCK": False,
                "RES_BLOCK": True,
                "UNETR_DROPOUT_RATE": 0.0,
            },
            inference={
                "INPUT_SIZE": [32, 256, 256],
                "OUTPUT_SIZE": [32, 256, 256],
                "STRIDE": [16, 128, 128],
                "SAMPLES_PER_BATCH": 2,
                "OUTPUT_NAME": "result_unetr.h5",
            },
            solver=_ADAM,
        ),
    ),
    "SNEMI-Affinity-SwinUNETR": (
        SNEMI,
        _own(
            "SwinUNETR",
            {
                "ARCHITECTURE": "swinunetr",
                "INPUT_SIZE": [64, 128, 128],
                "OUTPUT_SIZE": [64, 128, 128],
                "DEPTHS": "(2, 2, 2, 2)",
                "SWIN_UNETR_NUM_HEADS": "(3, 6, 12, 24)",
                "SWIN_UNETR_FEATURE_SIZE": 48,
                "NORM_NAME": "instance",
                "SWIN_UNETR_DROPOUT_RATE": 0.0,
                "ATTN_DROP_RATE": 0.0,
                "DROPOUT_PATH_RATE": 0.0,
                "NORMALIZE": True,
                "USE_CHECKPOINT": False,
                "SPATIAL_DIMS": 3,
                "DOWNSAMPLE": "merging",
                "USE_V2": True,
            },
            inference={
                "INPUT_SIZE": [32, 256, 256],
                "OUTPUT_SIZE": [32, 256, 256],
                "STRIDE": [16, 128, 128],
                "SAMPLES_PER_BATCH": 2,
                "OUTPUT_NAME": "result_swinunetr.h5",
            },
            solver=_ADAM,
        ),
    ),
    "JWR15-Neuron-Affinity-UNet-MER": (
        JWR15,
        _own("UNet_MER", _erosions(1, 4, 8), "outputs/JWR15_Neuron_", inference=_THREE),
    ),
    "Zebrafinch-Affinity-UNet": (ZEBRAFINCH, _own("UNet", {"ARCHITECTURE": "unet_3d", **_SE}, "outputs/Zebrafinch_")),
    "Zebrafinch-Affinity-UNet-MER": (
        ZEBRAFINCH,
        _own(
            "UNet_MER",
            {"ARCHITECTURE": "unet_3d", **_SE, **_erosions(1, 2, 4)},
            "outputs/Zebrafinch_",
            inference=_THREE,
        ),
    ),
    "Hydra-UNet-Aff-2D": (
        {
            "SYSTEM": {"NUM_GPUS": 1, "NUM_CPUS": 4},
            "MODEL": {
                **_LOSSES,
                "ARCHITECTURE": "unet_2d",
                **_SE,
                "INPUT_SIZE": [1, 193, 193],
                "OUTPUT_SIZE": [1, 193, 193],
                "IN_PLANES": 1,
                "OUT_PLANES": 2,
                "TARGET_OPT": ["2"],
                "NORM_MODE": "bn",
                "MIXED_PRECESION": False,
                "FILTERS": [32, 64, 128, 256, 512],
            },
            "DATASET": {
                "INPUT_PATH": "datasets/Hydra/seg_2d/",
                "IMAGE_NAME": "hydra_w03_export_s024.png",
                "LABEL_NAME": "hydra_w03_export_s024_seg.png",
                "OUTPUT_PATH": "outputs/Hydra_UNet_2D/",
                "PAD_SIZE": [0, 32, 32],
                "REJECT_SAMPLING": {"SIZE_THRES": 1000, "DIVERSITY": 2, "P": 1.0},
                "DO_2D": True,
                "LOAD_2D": True,
                "DATA_SCALE": [1.0, 0.25, 0.25],
            },
            "AUGMENTOR": {"MISSINGPARTS": {"ENABLED": False}},
        },
        {
            "SOLVER": {**_LARGE["SOLVER"], "BASE_LR": 0.01, "ITERATION_TOTAL": 100000, "SAMPLES_PER_BATCH": 8},
            "INFERENCE": {
                "INPUT_SIZE": [1, 513, 513],
                "OUTPUT_SIZE": [1, 513, 513],
                "OUTPUT_ACT": ["sigmoid"],
                "INPUT_PATH": "datasets/planes/test/",
                "IMAGE_NAME": "image/*.png",
                "OUTPUT_PATH": "outputs/Hydra_UNet_2D/test/",
                "OUTPUT_NAME": "result.h5",
                "PAD_SIZE": [0, 32, 32],
                "AUG_MODE": "mean",
                "AUG_NUM": 4,
                "STRIDE": [1, 256, 256],
                "SAMPLES_PER_BATCH": 16,
            },
        },
    ),
    "Cerebellum-P7-Affinity-UNet": (
        {
            **_LARGE,
            "MODEL": {
                **_LOSSES,
                **_WIDE,
                "ARCHITECTURE": "unet_plus_3d",
                **_SE,
                "INPUT_SIZE": [9, 257, 257],
                "OUTPUT_SIZE": [9, 257, 257],
                "LABEL_EROSION": 1,
            },
        },
        {
            "DATASET": {
                "IMAGE_NAME": "im.h5",
                "LABEL_NAME": "seg_gt.h5",
                "INPUT_PATH": "datasets/cerebellum_P7/gt-seg-vol/vol1",
                "OUTPUT_PATH": "outputs/Cerebellum_P7/",
                "PAD_SIZE": [4, 64, 64],
            },
            "INFERENCE": {
                "INPUT_SIZE": [17, 257, 257],
                "OUTPUT_SIZE": [17, 257, 257],
                "OUTPUT_ACT": ["sigmoid"],
                "IMAGE_NAME": "test-input.tif",
                "OUTPUT_PATH": "outputs/Cerebellum_P7/test",
                "OUTPUT_NAME": "result.h5",
                "PAD_SIZE": [4, 64, 64],
                "AUG_MODE": "min",
                "AUG_NUM": 4,
                "STRIDE": [8, 128, 128],
                "SAMPLES_PER_BATCH": 8,
            },
        },
    ),
}
