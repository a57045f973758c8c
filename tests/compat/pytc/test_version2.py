"""Files of the classic package's version 2: one line where version 1 is expected, and a recipe on request."""

import pytest
import yaml
from typer.testing import CliRunner

from neuropil import NeuropilError, load_config
from neuropil.cli import app
from neuropil.compat.pytc import program
from neuropil.compat.pytc.version2 import is_version_2, translate_version_2
from neuropil.models import build_network

SNEMI = {
    "experiment_name": "mednext_s_snemi",
    "_base_": ["../../connectomics/config/all_profiles.yaml"],
    "default": {
        "pipeline_profile": "aff12",
        "system": {"profile": "all-gpu-cpu"},
        "model": {
            "arch": {"profile": "mednext_s"},
            "input_size": [32, 160, 160],
            "output_size": [32, 160, 160],
            "loss": {"deep_supervision": True},
        },
        "data": {
            "dataloader": {"profile": "cached", "patch_size": [32, 160, 160], "batch_size": 12},
            "data_transform": {"pad_size": [16, 80, 80]},
            "augmentation": {"profile": "aug_em_neuron"},
            "split_enabled": True,
            "split_train_range": [0.0, 0.8],
        },
        "inference": {
            "model": {"select_channel": [0, 1, 2], "crop_pad": [15, 16, 79, 80, 79, 80]},
            "window": {"window_size": [32, 160, 160], "overlap": 0.5, "blending": "bump"},
            "test_time_augmentation": {"enabled": True, "flip_axes": "all", "ensemble_mode": "min"},
        },
        "decoding": {
            "steps": [
                {
                    "template": "decoding_waterz",
                    "kwargs": {
                        "thresholds": 0.4,
                        "merge_function": "aff85_his256",
                        "aff_threshold": [0.1, 0.999],
                        "dust_merge_size": 800,
                        "dust_remove_size": 600,
                    },
                }
            ]
        },
    },
    "train": {
        "data": {"train": {"image": "a.tif", "label": "b.tif", "resolution": [30, 6, 6]}},
        "optimization": {
            "max_epochs": 100,
            "n_steps_per_epoch": 200,
            "accumulate_grad_batches": 4,
            "optimizer": {"name": "AdamW", "lr": 5e-4, "weight_decay": 0.01, "betas": [0.9, 0.999]},
            "scheduler": {"name": "WarmupCosineLR", "warmup_epochs": 5},
            "ema": {"enabled": True, "decay": 0.999},
        },
        "monitor": {"checkpoint": {"save_top_k": 5}},
    },
    "test": {"data": {"test": {"path": "datasets/SNEMI/", "image": "test-input.tif", "label": "test-labels.h5"}}},
    "tune": {"n_trials": 25},
}
BANIS = {
    "experiment_name": "banis",
    "default": {
        "model": {"arch": {"type": "mednext"}, "mednext": {"size": "L", "kernel_size": 3}, "input_size": [128] * 3},
        "data": {
            "label_transform": {
                "erosion": 0,
                "targets": [
                    {"name": "affinity", "kwargs": {"offsets": ["1-0-0", [0, 10, 0]], "affinity_mode": "banis"}},
                    {"name": "skeleton_aware_edt", "kwargs": {}},
                ],
            }
        },
        "decoding": {"steps": [{"name": "decode_affinity_cc"}]},
    },
    "train": {"optimization": {"max_epochs": 1000, "max_steps": 50000}},
}


def written(folder, values, name="v2.yaml"):
    path = folder / name
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def test_a_file_for_neurons_becomes_a_recipe(tmp_path):
    config, notes, output = translate_version_2(written(tmp_path, SNEMI))
    model, training, optimizer = config.model, config.training, config.optimizer
    assert (model.architecture, model.mednext.size, model.mednext.kernel, model.deep_supervision) == (
        *("mednext", "S", 3),
        True,
    )
    assert len(model.offsets) == 12
    assert model.offsets[:3] == ((0, 0, -1), (0, -1, 0), (-1, 0, 0))
    assert model.label_erosion == 1
    assert (training.patch, training.batch, training.iterations) == ((32, 160, 160), 12, 20000)
    assert (optimizer.name, optimizer.learning_rate, optimizer.warmup) == ("adamw", 5e-4, 1000)
    assert (optimizer.ema, optimizer.accumulate) == (0.999, 4)
    assert (config.data.train[0].image, config.data.voxel_size) == ("a.tif", (30, 6, 6))
    assert config.data.test.labels == "datasets/SNEMI/test-labels.h5"
    assert (config.predict.tta, config.predict.tta_mode, config.predict.overlap) == (16, "min", (16, 80, 80))
    segment = config.segment
    assert (segment.score, segment.threshold, segment.low, segment.high) == ("q85", 0.6, 0.1, 0.999)
    assert segment.min_size == 800
    assert str(output) == "outputs/mednext_s_snemi"
    said = "\n".join(notes)
    for part in ("all_profiles.yaml", "aug_em_neuron", "data.split_", "not translated: ", "monitor.checkpoint"):
        assert part in said
    build_network(config.model)


def test_edges_that_are_stored_at_their_source(tmp_path):
    config, notes, _ = translate_version_2(written(tmp_path, BANIS))
    assert config.model.offsets == ((1, 0, 0), (0, 10, 0))
    assert config.training.iterations == 50000
    said = "\n".join(notes)
    assert "not here: skeleton_aware_edt" in said
    assert "decode_affinity_cc is not here" in said


def test_bases_that_are_there_are_read_first(tmp_path):
    written(tmp_path, {"default": {"model": {"input_size": [8, 64, 64], "arch": {"type": "rsunet"}}}}, "base.yaml")
    own = {"_base_": "base.yaml", "default": {"pipeline_profile": "aff9", "model": {"input_size": [16, 64, 64]}}}
    config, notes, _ = translate_version_2(written(tmp_path, own))
    assert (config.model.architecture, config.training.patch) == ("residual_unet", (16, 64, 64))
    assert (config.model.widths, config.model.norm) == ((18, 36, 48, 64, 80), "group")
    assert len(config.model.offsets) == 9
    assert not [note for note in notes if "no " in note]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": {"arch": {"type": "monai_unet"}}}, "expected mednext or rsunet, got 'monai_unet'"),
        ({"model": {"arch": {"type": "rsunet"}}, "pipeline_profile": "bcd"}, "without affinities"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, change, said):
    with pytest.raises(NeuropilError, match=said):
        translate_version_2(written(tmp_path, {"experiment_name": "a", "default": change}))


def test_the_command_of_version_1_says_so_in_one_line(tmp_path, capsys):
    path = written(tmp_path, SNEMI)
    assert program.main(["--config-file", str(path)]) == 2
    assert capsys.readouterr().err == (
        f"scripts/main.py: {path} is a configuration of PyTorch Connectomics version 2: neuropil config convert {path} "
        "-o recipe.yaml\n"
    )
    done = CliRunner().invoke(app, ["config", "convert", str(path), "-o", str(tmp_path / "recipe.yaml")])
    assert done.exit_code == 0, done.output
    assert "now: neuropil run" in done.output
    assert load_config([tmp_path / "recipe.yaml"]).model.architecture == "mednext"


def test_other_files_are_not_taken_for_it():
    assert not is_version_2({"MODEL": {}, "SYSTEM": {}})
    assert not is_version_2({"model": {}, "training": {}, "data": {}, "optimizer": {}})
