"""The configurations of the classic package: those of affinities run, all but one; the others are refused at once."""

import re

import numpy as np
import pytest
import yaml

from classic_data import TINY
from compat.pytc.classic_files import FILES, SNEMI, ZEBRAFINCH
from neuropil import NeuropilError, open_volume, synthetic, write_volume
from neuropil.compat.pytc import program, read_settings, translate

RUN = [name for name in FILES if name != "SNEMI-Affinity-EffNet"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datasets" / "zebrafinch").mkdir(parents=True)
    for name in ("img_train", "seg_train"):
        (tmp_path / "datasets" / "zebrafinch" / f"{name}.txt").write_text(f"datasets/{name}.h5\n")
    return tmp_path


def written(*parts):
    paths = []
    for number, part in enumerate(parts):
        paths.append(f"{number}.yaml")
        with open(paths[-1], "w") as file:
            yaml.safe_dump(part, file)
    return paths


@pytest.mark.parametrize("name", RUN)
def test_files_of_affinities_are_translated(folder, name):
    classic = translate(read_settings(written(*FILES[name]), refuse=False))
    model, own = classic.config.model, FILES[name][1]
    edges = len(model.offsets)
    assert edges == {"SNEMI-Affinity-UNet-LR": 12, "Hydra-UNet-Aff-2D": 2}.get(name, 3)
    data = {**FILES[name][0].get("DATASET", {}), **own.get("DATASET", {})}
    assert str(classic.output) == data["OUTPUT_PATH"].rstrip("/")
    scale = data.get("DATA_SCALE", [1, 1, 1])
    assert list(classic.config.data.zoom) == list(classic.zoom) == scale
    if name.endswith("UNETR"):
        assert model.architecture in ("unetr", "swin_unetr")
        assert model.unetr is None or not model.unetr.conv_block
        assert model.swin_unetr is None or model.swin_unetr.version == 2


TOY = {
    "Hydra-UNet-Aff-2D": "MODEL.INPUT_SIZE [1,33,33] MODEL.OUTPUT_SIZE [1,33,33] INFERENCE.INPUT_SIZE [1,33,33] "
    "INFERENCE.OUTPUT_SIZE [1,33,33] INFERENCE.STRIDE [1,16,16] DATASET.DATA_SCALE [1,0.5,0.5]",
    "SNEMI-Affinity-UNETR": "MODEL.HIDDEN_SIZE 24 MODEL.MLP_DIM 32 MODEL.UNETR_NUM_HEADS 4 MODEL.UNETR_FEATURE_SIZE 4",
    "SNEMI-Affinity-SwinUNETR": "MODEL.SWIN_UNETR_FEATURE_SIZE 12 MODEL.DEPTHS (1,1,1,1) "
    "MODEL.SWIN_UNETR_NUM_HEADS (1,1,1,1)",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN)
def test_files_of_affinities_train_and_predict(folder, name, capsys):
    """At toy sizes, on synthetic tissue under the names that the files have."""
    if name.endswith("UNETR"):
        pytest.importorskip("monai")
    flat = name.startswith("Hydra")
    image, labels = synthetic.neuropil((1, 96, 96) if flat else (12, 64, 64), seed=4)
    write_volume("a.h5", image)
    write_volume("b.h5", labels)
    data = "DATASET.IS_ABSOLUTE_PATH True DATASET.IMAGE_NAME a.h5 DATASET.LABEL_NAME b.h5 INFERENCE.IMAGE_NAME a.h5 "
    rest = "INFERENCE.IS_ABSOLUTE_PATH True DATASET.REJECT_SAMPLING.SIZE_THRES -1 SYSTEM.NUM_GPUS 0"
    few = "SOLVER.ITERATION_TOTAL 1 INFERENCE.AUG_NUM None"
    words = [*TINY, *f"{data} {rest} {few}".split(), *TOY.get(name, "").split()]
    files = ["--config-base", "0.yaml", "--config-file", "1.yaml"]
    written(*FILES[name])
    assert program.main([*files, *words]) == 0, capsys.readouterr().err
    out = str(translate(read_settings(written(*FILES[name]))).output)
    checkpoint = ["--inference", "--checkpoint", f"{out}/checkpoint_00001.pth", "INFERENCE.OUTPUT_PATH", "predicted"]
    assert program.main([*files, *checkpoint[:3], *words, *checkpoint[3:]]) == 0, capsys.readouterr().err
    (found,) = (folder / "predicted").glob("*.h5")
    own = {**FILES[name][0]["MODEL"], **FILES[name][1].get("MODEL", {})}
    scale = [1, 0.5, 0.5] if flat else translate(read_settings(written(*FILES[name]))).zoom
    with open_volume(found / "vol0") as affinities:
        assert affinities.dtype == np.uint8
        assert affinities.shape == (
            own["OUT_PLANES"],
            *(round(n * factor) for n, factor in zip(image.shape, scale, strict=True)),
        )


def problems(*parts):
    with pytest.raises(NeuropilError) as error:
        translate(read_settings(written(*parts), refuse=False))
    return [re.sub(r"^\d\.yaml:\d+: ", "", line) for line in str(error.value).splitlines()]


def test_the_efficient_network_is_refused_by_name(folder):
    backbone, block = problems(*FILES["SNEMI-Affinity-EffNet"])
    assert backbone.startswith("MODEL.BACKBONE: expected resnet, got 'efficientnet'")
    assert block.startswith("MODEL.BLOCK_TYPE: expected residual, residual_se, got 'inverted_res'")


OTHERS = {
    "synapses": (
        {
            "MODEL": {"TARGET_OPT": ["1"], "OUT_PLANES": 3, "LABEL_DILATION": 1},
            "AUGMENTOR": {"COPYPASTE": {"ENABLED": True}},
            "INFERENCE": {"OUTPUT_SCALE": [0.5, 0.5, 0.5]},
        },
        [
            ("AUGMENTOR.COPYPASTE.ENABLED", "pasted neurons"),
            ("INFERENCE.OUTPUT_SCALE", "resample the result"),
            ("MODEL.LABEL_DILATION", "dilate the labels"),
            ("MODEL.TARGET_OPT", 'expected an affinity target ("2" or "2-z-y-x-v1"), got [\'1\']'),
            ("MODEL.TARGET_OPT", "the target '1' is not supported here; synaptic polarity"),
        ],
    ),
    "mitochondria": (
        {
            "MODEL": {
                "TARGET_OPT": ["0", "4-1-1", "6"],
                "OUT_PLANES": 3,
                "LOSS_OPTION": [["WeightedBCEWithLogitsLoss", "DiceLoss"]] * 2 + [["WeightedMSE"]],
                "LOSS_WEIGHT": [[1.0, 0.5], [1.0, 0.5], [5.0]],
                "WEIGHT_OPT": [["1", "0"], ["1-1", "0"], ["2-10.0-5.0"]],
                "OUTPUT_ACT": [["none", "sigmoid"], ["none", "sigmoid"], ["tanh"]],
            },
            "INFERENCE": {"OUTPUT_ACT": ["sigmoid", "sigmoid", "tanh"]},
        },
        [
            ("MODEL.TARGET_OPT", "expected an affinity target"),
            ("MODEL.TARGET_OPT", "the target '6' is not supported here"),
            ("MODEL.WEIGHT_OPT", 'expected "0"'),
            ("INFERENCE.OUTPUT_ACT", "affinities are probabilities"),
        ],
    ),
    "nuclei": (
        {
            "MODEL": {"ARCHITECTURE": "deeplabv3a", "TARGET_OPT": ["5"], "NORM_MODE": "bin", "REGU_OPT": ["Binary"]},
            "DATASET": {"LABEL_BINARY": True, "LABEL_EROSION": 1},
        },
        [
            ("DATASET.LABEL_BINARY", "give one id per neuron"),
            ("DATASET.LABEL_EROSION", "unknown key; did you mean MODEL.LABEL_EROSION"),
            ("MODEL.REGU_OPT", "leave regularisers out"),
            ("MODEL.ARCHITECTURE", "expected unet_3d"),
            ("MODEL.NORM_MODE", "expected bn"),
            ("MODEL.TARGET_OPT", "expected an affinity target"),
            ("MODEL.TARGET_OPT", "the target '5' is not supported here"),
        ],
    ),
    "semantic classes": (
        {
            "MODEL": {
                "TARGET_OPT": ["9-5", "0"],
                "TARGET_OPT_MULTISEG_SPLIT": [1, 1],
                "LOSS_OPTION": [["WeightedCE"], ["WeightedBCEWithLogitsLoss", "DiceLoss"]],
                "LOSS_KWARGS_KEY": [[["class_weight"]], []],
                "LOSS_KWARGS_VAL": [[[[1.0, 2.0]]], []],
                "LOSS_WEIGHT": [[2.0], [1.0, 1.0]],
                "WEIGHT_OPT": [["0"], ["1", "0"]],
                "OUTPUT_ACT": [["none"], ["none", "sigmoid"]],
            },
            "INFERENCE": {"OUTPUT_ACT": ["softmax", "sigmoid"]},
        },
        [
            ("MODEL.LOSS_KWARGS_KEY", "leave it out"),
            ("MODEL.LOSS_KWARGS_VAL", "leave it out"),
            ("MODEL.TARGET_OPT_MULTISEG_SPLIT", "one label volume"),
            ("MODEL.TARGET_OPT", "expected an affinity target"),
            ("MODEL.TARGET_OPT", "semantic classes are not learned here"),
            ("MODEL.LOSS_OPTION", "got 'WeightedCE'"),
            ("INFERENCE.OUTPUT_ACT", "expected sigmoid, got ['softmax', 'sigmoid']"),
        ],
    ),
    "pictures": (
        {
            "MODEL": {"ARCHITECTURE": "deeplabv3c", "AUX_OUT": True, "TARGET_OPT": ["0-1"], "LABEL_DILATION": 3},
            "DATASET": {"DO_2D": True, "LOAD_2D": True},
        },
        [
            ("MODEL.AUX_OUT", "deep_supervision"),
            ("MODEL.LABEL_DILATION", "dilate the labels"),
            ("MODEL.ARCHITECTURE", "got 'deeplabv3c'"),
            ("MODEL.TARGET_OPT", "expected an affinity target"),
            ("MODEL.TARGET_OPT", "the target '0-1' is not supported here"),
        ],
    ),
    "distances, by the names of older files": (
        {
            "MODEL": {
                "ARCHITECTURE": "unet_residual_3d",
                "TARGET_OPT": ["4-0-1", "8-0-40-16-16"],
                "OUTPUT_ACT": "none",
            },
            "AUGMENTOR": {"ROTATE": True},
            "DATASET": {"REJECT_SIZE_THRES": 1000},
        },
        [
            ("AUGMENTOR.ROTATE", "expected keys with values"),
            ("DATASET.REJECT_SIZE_THRES", "did you mean DATASET.REJECT_SAMPLING.SIZE_THRES"),
            ("MODEL.OUTPUT_ACT", "expected a list, got 'none'"),
            ("MODEL.ARCHITECTURE", "got 'unet_residual_3d'"),
            ("MODEL.TARGET_OPT", "expected an affinity target"),
            ("MODEL.TARGET_OPT", "4-0-1: expected a contour at least 1 wide"),
            ("MODEL.TARGET_OPT", "the target '8-0-40-16-16' is not supported here"),
            ("MODEL.TARGET_OPT", "expected 2 lists in MODEL.LOSS_OPTION"),
        ],
    ),
}


def test_a_mistake_in_every_part_is_told_at_once(folder):
    said = problems(
        {
            "SYSTEM": {"PARALLEL": "Q"},
            "MODEL": {"FILTERS": [1, 2], "ACT_MODE": "a", "PAD_MODE": "b", "WEIGHT_OPT": [["9"]]},
            "DATASET": {"PAD_MODE": "c"},
            "AUGMENTOR": {"ROTATE": {"P": 3}, "CUTBLUR": {"LENGTH_RATIO": 4}},
            "SOLVER": {"NAME": "d", "CLIP_GRADIENTS": {"ENABLED": True, "CLIP_TYPE": "e"}},
            "MONITOR": {"ITERATION_NUM": [1]},
            "INFERENCE": {"STRIDE": [1, 2], "AUG_MODE": "f", "BLENDING": "g", "OUTPUT_ENCODING": "h"},
        }
    )
    keys = (
        *("MODEL.FILTERS", "MODEL.ACT_MODE", "MODEL.PAD_MODE", "MODEL.TARGET_OPT", "MODEL.WEIGHT_OPT"),
        *("AUGMENTOR.ROTATE.P", "AUGMENTOR.CUTBLUR.LENGTH_RATIO", "SOLVER.NAME", "SOLVER.CLIP_GRADIENTS.CLIP_TYPE"),
        *("MONITOR.ITERATION_NUM", "SYSTEM.PARALLEL", "INFERENCE.STRIDE", "INFERENCE.AUG_MODE", "DATASET.PAD_MODE"),
        *("INFERENCE.BLENDING", "INFERENCE.OUTPUT_ENCODING"),
    )
    assert [line.split(":")[0] for line in said] == list(keys)


@pytest.mark.parametrize("kind", OTHERS)
def test_files_of_other_structures_are_refused_with_all_reasons_at_once(folder, kind):
    own, expected = OTHERS[kind]
    base = {name: values for name, values in SNEMI.items() if name != "MODEL"}
    said = problems(base, own)
    assert len(said) == len(expected), said
    for line, (key, why) in zip(said, expected, strict=True):
        assert line.startswith(f"{key}: "), said
        assert why in line


def test_lists_of_names_that_are_not_there_are_one_more_reason(folder):
    (folder / "datasets/zebrafinch/img_train.txt").unlink()
    said = problems(ZEBRAFINCH, {"MODEL": {"IN_PLANES": 2}})
    assert [line.split(":")[0] for line in said] == ["MODEL.IN_PLANES", "DATASET.IMAGE_NAME"]
