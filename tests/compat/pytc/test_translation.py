"""What the shipped configurations and those of others ask for, as a typed recipe."""

import json
import re
from pathlib import Path

import pytest

from neuropil import NeuropilError
from neuropil.compat.pytc import read_settings, translate
from neuropil.config import config_to_yaml, load_config
from neuropil.models import build_network
from neuropil.training.schedule import learning_rate
from recorded import CLASSIC, needs_classic

CONFIGS = Path(__file__).parents[3] / "configs" / "SNEMI"
LEAST = ["MODEL.TARGET_OPT", '["2"]', "MODEL.OUT_PLANES", "3", "INFERENCE.STRIDE", "[4, 128, 128]"]


def shipped(name, *words):
    return translate(read_settings([CONFIGS / "SNEMI-Base.yaml", CONFIGS / f"SNEMI-{name}.yaml"], words))


def given(*words):
    return translate(read_settings([], [*LEAST, *words]))


def test_the_tutorial_has_the_published_values():
    classic = shipped("Affinity-UNet")
    config = classic.config
    network = config.model.unet_3d
    assert network.widths == (32, 64, 96, 128, 160)
    assert network.isotropy == (False, False, False, True, True)
    assert (network.isotropic, network.norm, network.squeeze, network.padding) == (False, "group", True, "replicate")
    assert config.model.offsets == ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
    assert config.model.label_erosion == 1
    bce, dice = config.loss.terms
    assert (bce.loss, bce.weight, bce.balance, bce.channels, bce.activation) == ("bce", 1.0, "rare", (0, 3), "none")
    assert (dice.loss, dice.weight, dice.balance, dice.activation) == ("dice", 0.5, "none", "sigmoid")
    optimizer, training, predict = config.optimizer, config.training, config.predict
    assert (optimizer.name, optimizer.learning_rate, optimizer.momentum) == ("sgd", 0.02, 0.9)
    assert (optimizer.schedule, optimizer.warmup, optimizer.weight_decay) == ("cosine", 1000, 1e-4)
    assert (optimizer.clip, optimizer.swa) == (0, 0)
    assert (training.patch, training.batch, training.iterations) == ((17, 257, 257), 2, 150_000)
    assert (training.checkpoint_every, training.log_every, training.image_every) == (10_000, 200, 1000)
    assert training.image_order == "zyx", "red is z in the pictures of classic runs"
    assert (predict.tile, predict.overlap) == ((17, 513, 513), (9, 257, 257))
    assert (predict.tta, predict.tta_mode, predict.keep) == (8, "min", "nearest")
    assert config.data.train[0].image == "datasets/SNEMI3D/image/train-input.tif"
    assert config.data.train[0].labels == "datasets/SNEMI3D/seg/train-labels.tif"
    assert classic.output == Path("outputs/SNEMI_UNet")
    assert classic.images == ("datasets/SNEMI3D/image/test-input.tif",)
    assert classic.predictions == (Path("outputs/SNEMI_UNet/test/result_txy.h5/vol0"),)
    assert classic.plain_name == Path("outputs/SNEMI_UNet/test/result.h5")
    assert (classic.written.keep, classic.written.encoding, classic.written.blend) == ("channels", "uint8", "gaussian")
    assert (classic.written.pad, classic.written.stride) == ((2, 64, 64), (8, 256, 256))
    assert not classic.notes


def test_long_range_affinities_are_all_learned_and_predicted():
    config = shipped("Affinity-UNet-LR").config
    assert len(config.model.offsets) == 12
    assert config.model.offsets[9:] == ((-4, 0, 0), (0, -27, 0), (0, 0, -27))
    assert config.predict.keep == "all"
    assert [term.channels for term in config.loss.terms] == [(n, n + 3) for n in (0, 0, 3, 3, 6, 6, 9, 9)]


def test_several_erosion_rates_are_learned_besides():
    config = shipped("Affinity-UNet-MER").config
    assert (config.model.label_erosion, config.model.aux_erosions) == (1, (2, 4))
    assert [(term.loss, term.channels) for term in config.loss.terms[2:4]] == [("bce", (3, 6)), ("dice", (3, 6))]
    assert build_network(config.model).head.out_channels == 9


def test_transformers_are_those_of_monai():
    size = ["MODEL.INPUT_SIZE", "[64, 128, 128]", "MODEL.OUTPUT_SIZE", "[64, 128, 128]"]
    small = ["MODEL.HIDDEN_SIZE", "24", "MODEL.MLP_DIM", "32", "MODEL.UNETR_NUM_HEADS", "4"]
    classic = shipped("Affinity-UNet", "MODEL.ARCHITECTURE", "unetr", *size, *small)
    model = classic.config.model
    assert (model.architecture, model.unetr.grid, model.unetr.norm) == ("unetr", (4, 8, 8), "instance")
    assert (model.unetr.width, model.unetr.hidden, model.unetr.mlp, model.unetr.heads) == (16, 24, 32, 4)
    (idle,) = classic.notes
    for key in ("BLOCK_TYPE", "FILTERS", "ISOTROPY", "NORM_MODE", "ACT_MODE"):
        assert re.search(rf"yaml:\d+: MODEL.{key}\b", idle)
    model = given("MODEL.ARCHITECTURE", "swinunetr", "MODEL.USE_CHECKPOINT", "True").config.model
    assert (model.swin_unetr.width, model.swin_unetr.heads, model.recompute) == (48, (3, 6, 12, 24), True)


def test_foreground_and_contour_are_learned_besides():
    config = given(
        *("MODEL.TARGET_OPT", '["2", "0", "4-2-0"]', "MODEL.OUT_PLANES", "5"),
        *("MODEL.LOSS_OPTION", "[[WeightedBCEWithLogitsLoss],[WeightedBCEWithLogitsLoss],[WeightedBCEWithLogitsLoss]]"),
        *("MODEL.LOSS_WEIGHT", "[[1.0],[0.25],[0.75]]", "MODEL.WEIGHT_OPT", '[["1"],["1"],["1"]]'),
        *("MODEL.OUTPUT_ACT", "[[none],[none],[none]]"),
    ).config
    assert config.model.aux_foreground
    assert (config.model.aux_contour, config.model.aux_contour_background) == (2, False)
    # The network's channels: edges, contour, foreground.
    assert [(term.channels, term.weight) for term in config.loss.terms] == [
        ((0, 3), 1.0),
        ((3, 4), 0.75),
        ((4, 5), 0.25),
    ]


@pytest.mark.parametrize(
    ("words", "key", "said"),
    [
        (["MODEL.TARGET_OPT", '["0"]'], "MODEL.TARGET_OPT", "expected an affinity target"),
        (["MODEL.TARGET_OPT", '["2-1-1-1-v2"]'], "MODEL.TARGET_OPT", "'2-1-1-1-v2' is not supported here; long aff"),
        (["MODEL.TARGET_OPT", '["5-2d-0-0-5.0"]'], "MODEL.TARGET_OPT", "model.aux_distance"),
        (["MODEL.TARGET_OPT", "[]"], "MODEL.TARGET_OPT", "at least one target"),
        (["MODEL.TARGET_OPT", '["2","2"]'], "MODEL.LOSS_OPTION", "expected 2 lists in MODEL.LOSS_OPTION, one for each"),
        (
            ["MODEL.LABEL_EROSION", "[1, 2]"],
            "MODEL.LABEL_EROSION",
            "expected one number, or 1, as MODEL.TARGET_OPT has, got 2",
        ),
        (["MODEL.LOSS_OPTION", "[[GANLoss]]"], "MODEL.LOSS_OPTION", "got 'GANLoss'"),
        (["MODEL.WEIGHT_OPT", '[["2-5-5"]]'], "MODEL.WEIGHT_OPT", 'expected "0"'),
        (["MODEL.LOSS_WEIGHT", "[[1.0, 2.0]]"], "MODEL.LOSS_WEIGHT", "expected 1 values in MODEL.LOSS_WEIGHT"),
        (["MODEL.ISOTROPY", "[True]"], "MODEL.ISOTROPY", "MODEL.ISOTROPY as in MODEL.FILTERS, got 1 and 5"),
        (["MODEL.FILTERS", "[4, 4, 0, 4, 4]"], "MODEL.FILTERS", "model.unet_3d.widths[2]: expected a value ≥ 1, got 0"),
        (["MODEL.ARCHITECTURE", "deeplabv3a"], "MODEL.ARCHITECTURE", "expected unet_3d, unet_plus_3d, fpn_3d, unet_2d"),
        (["MODEL.ARCHITECTURE", "unetr", "MODEL.MLP_DIM", "0"], "MODEL.MLP_DIM", "expected a value ≥ 1, got 0"),
        (["MODEL.ARCHITECTURE", "unetr", "MODEL.NORM_NAME", "gn"], "MODEL.NORM_NAME", "expected instance, batch"),
        (["MODEL.ARCHITECTURE", "swinunetr", "MODEL.DEPTHS", "[2]"], "MODEL.DEPTHS", "model.swin_unetr.depths"),
        (["SOLVER.ITERATION_TOTAL", "0"], "SOLVER.ITERATION_TOTAL", "expected a value ≥ 1, got 0"),
        (["INFERENCE.AUG_NUM", "5"], "INFERENCE.AUG_NUM", "4, 8, 16 or None"),
        (["INFERENCE.AUG_NUM", "0"], "INFERENCE.AUG_NUM", "4, 8, 16 or None"),
        (["INFERENCE.STRIDE", "[9, 1, 1]"], "INFERENCE.STRIDE", "expected INFERENCE.STRIDE from 1 to [8, 256, 256]"),
        (["AUGMENTOR.ELASTIC.P", "1.5"], "AUGMENTOR.ELASTIC.P", "from 0 to 1, got 1.5"),
        (
            ["DATASET.IMAGE_NAME", "a@b", "DATASET.LABEL_NAME", "a"],
            "DATASET.LABEL_NAME",
            "as in DATASET.IMAGE_NAME, got 1 and 2",
        ),
        (["DATASET.IMAGE_NAME", "none.txt"], "DATASET.IMAGE_NAME", "none.txt cannot be read"),
    ],
)
def test_what_cannot_be_translated_is_refused_under_its_classic_name(words, key, said):
    with pytest.raises(NeuropilError) as refusal:
        given(*words)
    assert key in str(refusal.value)
    assert said in str(refusal.value)


def test_schedules_and_averages():
    steps = given("SOLVER.STEPS", "(10000, 50000)", "SOLVER.GAMMA", "0.2").config.optimizer
    assert (steps.schedule, steps.milestones, steps.decay, steps.warmup) == ("steps", (0.25,), 0.2, 0)
    held_out = ["DATASET.VAL_IMAGE_NAME", "v.h5", "DATASET.VAL_LABEL_NAME", "w.h5"]
    plateau = ["SOLVER.LR_SCHEDULER_NAME", "ReduceLROnPlateau"]
    assert given(*plateau, *held_out).config.optimizer.schedule == "plateau"
    with pytest.raises(NeuropilError, match=r"ReduceLROnPlateau needs the loss on DATASET\.VAL_IMAGE_NAME"):
        given(*plateau)
    swa = given("SOLVER.SWA.ENABLED", "True", "SOLVER.SWA.START_ITER", "30000").config.optimizer.swa
    assert swa == 0.25


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["AUGMENTOR.RESCALE.P", "0.25", "AUGMENTOR.ROTATE.ROT90", "False"],
            "RESCALE.P: ROTATE.P and RESCALE.P and ELASTIC.P are one number here: 1",
        ),
        (["AUGMENTOR.MOTIONBLUR.SECTIONS", "1"], "MOTIONBLUR.SECTIONS: MISSINGSECTION.NUM_SECTION and MOTIONBLUR.SECT"),
        (["AUGMENTOR.CUTNOISE.LENGTH_RATIO", "0.2"], "CUTBLUR.LENGTH_RATIO and CUTNOISE.LENGTH_RATIO are one number"),
        (["AUGMENTOR.FLIP.ENABLED", "False"], "FLIP.ENABLED: ROTATE.ROT90 still mirrors samples"),
        (["AUGMENTOR.ROTATE.P", "0.3"], "ROTATE.P: quarter turns are flips"),
        (["AUGMENTOR.MISSINGSECTION.P", "0.3"], "MISSINGSECTION.P: sections are blanked, where the classic"),
        (["AUGMENTOR.MISSINGPARTS.ENABLED", "True"], "MISSINGPARTS.ENABLED: two sections are torn along a line"),
        (["AUGMENTOR.MISALIGNMENT.P", "0.9"], "MISALIGNMENT.P: sections are displaced, where the classic"),
        (["MODEL.FILTERS", "[4,8,16,16,16]", "MODEL.ARCHITECTURE", "unetr"], "MODEL.FILTERS changes nothing here"),
    ],
)
def test_what_is_done_in_another_way_than_written_is_told(words, said):
    (note,) = given(*words).notes
    assert said in note


def test_a_contour_of_eroded_labels_is_told():
    words = [*("MODEL.TARGET_OPT", '["2", "4-1-0"]', "MODEL.OUT_PLANES", "4", "MODEL.LABEL_EROSION", "1")]
    for key, value in (
        ("LOSS_OPTION", "WeightedBCE"),
        ("LOSS_WEIGHT", 1.0),
        ("WEIGHT_OPT", '"1"'),
        ("OUTPUT_ACT", "none"),
    ):
        words += [f"MODEL.{key}", f"[[{value}],[{value}]]"]
    *_, note = given(*words).notes
    assert note == "command line: MODEL.LABEL_EROSION: the contour is that of labels as they are, without erosion"


def test_what_a_recipe_does_not_hold_is_listed():
    assert not given().left_out
    words = ["DATASET.OUTPUT_PATH", "o", "INFERENCE.OUTPUT_NAME", "r.h5", "SOLVER.ITERATION_RESTART", "True"]
    left = given(*words, "INFERENCE.IMAGE_NAME", "a.h5@b.h5", "INFERENCE.OUTPUT_PATH", "p").left_out
    assert [line.split()[2] for line in left] == [
        *("DATASET.OUTPUT_PATH", "INFERENCE.OUTPUT_PATH", "INFERENCE.OUTPUT_NAME", "SOLVER.ITERATION_RESTART"),
        "INFERENCE.IMAGE_NAME",
    ]


def test_devices_are_those_of_the_system_section():
    one, four, none = (given("SYSTEM.NUM_GPUS", number).config.training for number in "140")
    assert (one.device, one.devices, one.strategy) == ("auto", 1, "auto")
    assert (four.devices, four.strategy) == (4, "dp")
    assert (none.device, none.devices) == ("cpu", 1)
    assert given("SYSTEM.NUM_GPUS", "4", "SYSTEM.PARALLEL", "DDP").config.training.strategy == "ddp"


def test_home_and_variables_of_paths_are_filled_in(tmp_path, monkeypatch):
    monkeypatch.setenv("WHERE", str(tmp_path))
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "t.tif").touch()
    classic = given(
        "DATASET.INPUT_PATH", "${WHERE}", "INFERENCE.IMAGE_NAME", "t.tif", "DATASET.OUTPUT_PATH", "${WHERE}/o"
    )
    assert classic.images == (f"{tmp_path}/image/t.tif",)
    assert classic.predictions == (tmp_path / "o" / "test" / "result_txy.h5" / "vol0",)


def test_lists_of_volumes(tmp_path):
    (tmp_path / "list.txt").write_text("p.h5\n\nq.h5/raw\n")
    words = ["DATASET.INPUT_PATH", str(tmp_path), "DATASET.IMAGE_NAME", "a.h5@b.tif", "DATASET.LABEL_NAME", "list.txt"]
    pairs = given(*words).config.data.train
    assert [pair.image for pair in pairs] == [f"{tmp_path}/a.h5", f"{tmp_path}/b.tif"]
    assert [pair.labels for pair in pairs] == [f"{tmp_path}/p.h5", f"{tmp_path}/q.h5/raw"]
    two = given("INFERENCE.IMAGE_NAME", "[x.h5, y.h5]", "INFERENCE.IS_ABSOLUTE_PATH", "True")
    assert two.images == ("x.h5", "y.h5")
    assert [str(path) for path in two.predictions] == [f"path/to/output/test/result_txy.h5/vol{n}" for n in (0, 1)]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("INFERENCE.OUTPUT_NAME a", ["a_txy.h5/vol0", "a_txy.h5/vol1"]),
        ("INFERENCE.OUTPUT_NAME b/a", ["b/a_txy.h5/vol0", "b/a_txy.h5/vol1"]),
        ("INFERENCE.OUTPUT_NAME a.hdf5 INFERENCE.AUG_NUM None", ["a.hdf5/vol0", "a.hdf5/vol1"]),
        ("INFERENCE.AUG_NUM 16 INFERENCE.DO_SINGLY True", ["result_0_txyz.h5/vol0", "result_1_txyz.h5/vol0"]),
        ("INFERENCE.AUG_NUM 4 INFERENCE.OUTPUT_NAME a.zarr", ["a_0.zarr", "a_1.zarr"]),
    ],
)
def test_names_of_results_are_the_classic_ones(words, names):
    classic = given("INFERENCE.IMAGE_NAME", "a.h5@b.h5", *words.split())
    assert [str(path) for path in classic.predictions] == [f"path/to/output/test/{name}" for name in names]


def test_a_list_of_names_lies_in_the_working_folder_or_in_that_of_the_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("p.h5\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "other.txt").write_text("q.h5\n")
    for name, volume in (("list.txt", "p.h5"), ("other.txt", "q.h5")):
        assert given("DATASET.INPUT_PATH", "data", "INFERENCE.IMAGE_NAME", name).images == (f"data/{volume}",)


def test_a_file_elsewhere_in_the_download_is_found_and_said(tmp_path):
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "test-input.tif").touch()
    classic = given("DATASET.INPUT_PATH", str(tmp_path), "INFERENCE.IMAGE_NAME", "test-input.tif")
    assert classic.images == (f"{tmp_path}/image/test-input.tif",)
    assert "taking" in classic.notes[0]


def test_the_native_recipe_of_a_configuration_reads_back(tmp_path):
    config = shipped("Affinity-UNet-LR").config
    path = tmp_path / "native.yaml"
    path.write_text(config_to_yaml(config))
    assert load_config([path]) == config


def test_sections_by_themselves_have_two_edges():
    config = given("DATASET.DO_2D", "True", "MODEL.ARCHITECTURE", "unet_2d", "MODEL.OUT_PLANES", "2").config
    assert config.model.offsets == ((0, -1, 0), (0, 0, -1))
    with pytest.raises(NeuropilError, match=r"expected 3 in MODEL.OUT_PLANES"):
        given("MODEL.ARCHITECTURE", "unet_2d", "MODEL.OUT_PLANES", "2")


@needs_classic
def test_augmentors_are_drawn_as_often_as_in_the_classic_package():
    drawn = json.loads((CLASSIC / "augment.json").read_text())["p"]
    augment = shipped("Affinity-UNet").config.augment
    ours = {
        "Rescale": augment.warp_probability * augment.scale_probability,
        "Elastic": augment.warp_probability * augment.elastic_probability,
        "Grayscale": augment.intensity_probability,
        "MissingParts": augment.partly_missing,
        "MissingSection": augment.missing,
        "MisAlignment": augment.step + augment.slip,
        "MotionBlur": augment.motion,
        "CutBlur": augment.cut_blur,
        "CutNoise": augment.cut_noise,
    }
    assert augment.several
    assert ours == {name: drawn[name] for name in ours}
    nothing = given("AUGMENTOR.ENABLED", "False").config.augment
    assert not any([nothing.flip, nothing.scale, nothing.elastic, nothing.contrast, nothing.step, nothing.missing])


@needs_classic
def test_learning_rates_are_those_of_the_classic_schedulers():
    recorded = json.loads((CLASSIC / "lr.json").read_text())
    for name, run in recorded.items():
        words = [word for key, value in run["settings"].items() for word in (f"SOLVER.{key}", str(value))]
        optimizer = given(*words).config.optimizer
        total = run["settings"]["ITERATION_TOTAL"]
        ours = [learning_rate(optimizer, iteration, iteration / total) for iteration, _ in run["lr"]]
        assert ours == pytest.approx([rate for _, rate in run["lr"]], rel=1e-5, abs=1e-14), name


def test_sections_by_themselves_are_seen_in_eight_views_at_most():
    flat = "MODEL.ARCHITECTURE unet_2d DATASET.DO_2D True MODEL.OUT_PLANES 2 INFERENCE.AUG_NUM 16 "
    sizes = "MODEL.INPUT_SIZE [1,33,33] MODEL.OUTPUT_SIZE [1,33,33]"
    classic = translate(read_settings([], ["MODEL.TARGET_OPT", '["2"]', *(flat + sizes).split()]))
    assert classic.config.predict.tta == 8
    assert classic.predictions[0].parent.name == "result_txy.h5"


def test_normalisation_of_transformers_is_not_ignored_in_silence():
    words = "MODEL.ARCHITECTURE unetr DATASET.MEAN 0.3 MODEL.OUT_PLANES 3 INFERENCE.STRIDE [4,128,128]"
    classic = translate(read_settings([], ["MODEL.TARGET_OPT", '["2"]', *words.split()]))
    assert any("DATASET.MEAN" in note and "unetr has no such thing" in note for note in classic.notes)
