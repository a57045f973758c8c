"""A recipe for one's own data fits that data, whatever its voxels are like."""

import numpy as np
import pytest

from neuropil.config import AugmentConfig, Config, check_trainable
from neuropil.config.learning import MUON_RATE
from neuropil.errors import NeuropilError
from neuropil.geometry import Box
from neuropil.models import build_network
from neuropil.models.checkpoint import load_model
from neuropil.pipeline.checking import check_volumes
from neuropil.pipeline.own_data import LEAST, new_recipe
from neuropil.training.batches import open_dataset
from neuropil.training.run import start_from
from neuropil.volumes import Metadata, open_volume, write_volume

GREY = np.random.default_rng(0).integers(0, 255, (9, 32, 32)).astype(np.uint8)
REGIONS = np.repeat(np.repeat(np.arange(1, 17, dtype=np.uint8).reshape(1, 4, 4), 8, 1), 8, 2) * np.ones(
    (9, 1, 1), np.uint8
)


def test_a_recipe_names_what_it_read(tmp_path):
    write_volume(tmp_path / "i.h5", np.zeros((60, 64, 64), np.uint8), Metadata(voxel_size=(8, 8, 8)))
    write_volume(tmp_path / "l.h5", np.ones((60, 64, 64), np.uint16))
    recipe = new_recipe([(f"{tmp_path}/i.h5", f"{tmp_path}/l.h5")], minutes=3)
    check_trainable(recipe.config)
    assert recipe.config.model.anisotropic_levels == 0
    assert recipe.config.training.minutes == 3
    assert "60, 64, 64" in recipe.reasons[0]


@pytest.mark.parametrize(
    ("image", "labels", "settings", "says"),
    [
        (np.zeros((9, 32, 32), np.uint8), np.ones((8, 32, 32), np.uint8), {}, "--box"),
        (np.zeros((9, 32, 32), np.uint8), np.full((9, 32, 32), 0.5, np.float32), {}, "integer ids"),
        (np.zeros((9, 32, 32), np.uint8), np.full((9, 32, 32), -1, np.int32), {}, "ids from 0"),
        (np.zeros((9, 32, 32), np.uint8), np.zeros((9, 32, 32), np.uint32), {}, "nothing but 0"),
        (REGIONS, GREY, {}, "exchange the two"),
        (GREY, GREY, {}, "looks like an image"),
        (GREY, REGIONS, {"masks": ("a", "b")}, "one mask for each"),
        (np.zeros((3, 9, 32, 32), np.uint8), np.ones((9, 32, 32), np.uint8), {}, "expected an image"),
        (np.zeros((9, 32, 32), np.uint8), np.ones((9, 32, 32), np.uint8), {"voxel_size": None}, "--voxel-size"),
        (np.zeros((1, 32, 32), np.uint8), np.ones((1, 32, 32), np.uint8), {}, "label more"),
        (np.zeros((9, 32, 32), np.uint8), np.ones((8, 32, 32), np.uint8), {"box": "0:9,:,:"}, "inside"),
    ],
    ids=[
        "shapes",
        "fractions as labels",
        "negative ids",
        "no labels",
        "swapped",
        "two images",
        "masks",
        "4-D image",
        "voxel size",
        "too small",
        "box outside",
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, image, labels, settings, says):
    write_volume(tmp_path / "i.h5", image)
    write_volume(tmp_path / "l.h5", labels)
    with pytest.raises(NeuropilError, match=says):
        new_recipe([(f"{tmp_path}/i.h5", f"{tmp_path}/l.h5")], **{"voxel_size": (30.0, 6.0, 6.0), **settings})


def write_pair(folder, name, labels, size=(8.0, 8.0, 8.0)):
    """An image of noise and its labels; their paths."""
    grey = np.random.default_rng(1).integers(0, 255, labels.shape).astype(np.uint8)
    image, truth = f"{folder}/{name}_image.h5", f"{folder}/{name}_labels.h5"
    write_volume(image, grey, Metadata(voxel_size=size))
    write_volume(truth, labels)
    return image, truth


def labelled_in(pair):
    """How many voxels of a pair's box have an id."""
    with open_volume(pair.labels) as labels:
        return np.count_nonzero(labels.read(Box.parse(pair.box, labels.box)))


def test_every_part_holds_labels_where_most_of_the_stack_is_empty(tmp_path):
    labels = np.zeros((200, 64, 64), np.uint16)
    labels[20:46] = 1
    config = new_recipe([write_pair(tmp_path, "a", labels)]).config
    parts = (*config.data.train, *config.data.validation, config.data.test)
    assert all(labelled_in(part) > 0 for part in parts)
    assert sum(labelled_in(part) for part in {part.box: part for part in parts}.values()) == 26 * 64 * 64
    assert len(check_volumes(config)) == 3


def test_several_volumes_are_learned_from_whole_but_for_the_largest(tmp_path):
    pairs = [write_pair(tmp_path, str(n), np.ones((n, 60, 60), np.uint8)) for n in (60, 80, 64)]
    data = new_recipe(pairs).config.data
    assert [pair.image for pair in data.train] == [pairs[1][0], pairs[0][0], pairs[2][0]]
    assert data.validation[0].image == data.test.image == pairs[1][0]
    assert data.train[1].box == "0:60,0:60,0:60"


def test_volumes_of_different_voxel_size_are_refused(tmp_path):
    pairs = [write_pair(tmp_path, str(n), np.ones((40, 60, 60), np.uint8), (n, 8, 8)) for n in (8.0, 16.0)]
    with pytest.raises(NeuropilError, match=r"16 × 8 × 8 nm, in .*_image\.h5"):
        new_recipe(pairs)


@pytest.mark.parametrize("minutes", [7, 60])
@pytest.mark.parametrize(("edge", "stem"), [(60, 1), (64, 2)])
def test_a_small_isotropic_box_gets_a_patch_that_is_not_flat(tmp_path, edge, stem, minutes):
    pair = write_pair(tmp_path, "a", np.ones((edge, edge, edge), np.uint8))
    recipe = new_recipe([pair], minutes=minutes)
    config = recipe.config
    assert any("half the resolution" in line for line in recipe.reasons) == (stem == 2)
    assert config.training.patch == (32, 32, 32)
    assert config.model.stem == (stem, stem, stem)
    check_volumes(config)


@pytest.mark.parametrize(
    ("minutes", "widths"),
    [(7, (16, 48, 96, 128)), (240, (32, 64, 72, 72))],
)
def test_isotropic_data_are_turned_like_cubes_and_coarse(tmp_path, minutes, widths):
    pair = write_pair(tmp_path, "a", np.ones((100, 160, 160), np.uint8))
    config = new_recipe([pair], minutes=minutes).config
    assert (config.model.stem, config.training.patch) == ((2, 2, 2), (80, 80, 80))
    assert config.model.widths == widths
    assert config.segment.min_size == 1000  # of 8 nm
    assert config.augment.cube
    assert config.model.label_erosion == 0
    assert config.augment.by_section == 0
    assert config.augment.elastic > 0
    check_trainable(config)
    # What is chosen on may be thinner than a patch, yet whole at the coarsest level.
    shape = open_dataset(config.data.validation, config, seed=0)[0].image_ZYX.shape
    assert all(n % 16 == 0 for n in shape)


@pytest.mark.parametrize("far", [True, False])
def test_zero_is_guessed_from_where_zeros_lie(tmp_path, far):
    labels = np.ones((40, 128, 128), np.uint8)
    labels[:, ::8] = 0
    if far:
        labels[:, 40:, 20:120] = 0
    recipe = new_recipe([write_pair(tmp_path, "a", labels)])
    assert recipe.config.data.unlabelled == (0 if far else None)
    assert any("0 is not annotated" in line for line in recipe.reasons) == far


def test_what_is_masked_does_not_count(tmp_path):
    pair = write_pair(tmp_path, "a", np.ones((60, 64, 64), np.uint8))
    mask = np.zeros((60, 64, 64), np.uint8)
    mask[10:50] = 1
    write_volume(tmp_path / "m.h5", mask)
    data = new_recipe([pair], masks=[f"{tmp_path}/m.h5"]).config.data
    assert data.train[0].mask == f"{tmp_path}/m.h5"
    assert data.train[0].box.startswith("10:")
    assert data.test.box.split(",")[0].endswith(":50")


def test_a_recipe_from_a_trained_model_takes_its_network(tmp_path):
    pair = write_pair(tmp_path, "a", np.ones((60, 256, 256), np.uint8), (40.0, 6.0, 6.0))
    recipe = new_recipe([pair], pretrained="snemi3d")
    known = load_model("snemi3d").config
    assert recipe.config.model == known.model
    assert recipe.config.training.pretrained == "snemi3d"
    assert (recipe.config.optimizer.name, recipe.config.optimizer.learning_rate) == ("muon", MUON_RATE / 2)
    assert recipe.config.augment == AugmentConfig()
    start_from(build_network(recipe.config.model), recipe.config, "snemi3d")
    own = new_recipe([pair]).config
    with pytest.raises(NeuropilError, match=r"model.widths .*config new IMAGE LABELS --pretrained snemi3d"):
        start_from(build_network(own.model), own, "snemi3d")


def test_isotropic_data_are_deformed_as_a_whole_by_a_trained_model_too(tmp_path):
    pair = write_pair(tmp_path, "a", np.ones((100, 160, 160), np.uint8))
    config = new_recipe([pair], pretrained="snemi3d").config
    assert (config.augment.cube, config.augment.by_section) == (False, 0)
    assert config.augment.elastic > 0
    check_trainable(config)


def test_sparse_labels_are_drawn_until_a_patch_holds_some(tmp_path):
    labels = np.zeros((60, 256, 256), np.uint8)
    labels[:, 40:90, 40:90] = labels[:, 170:220, 170:220] = 1
    config = new_recipe([write_pair(tmp_path, "a", labels)]).config
    assert config.data.min_foreground == LEAST
    patches = open_dataset(config.data.train, config, seed=0)
    assert all((patches[number].labels_ZYX > 0).any() for number in range(20))
    everywhere = open_dataset(config.data.train, Config(training=config.training), seed=0)
    assert not all((everywhere[number].labels_ZYX > 0).any() for number in range(20))
    assert new_recipe([write_pair(tmp_path, "b", labels * 0 + 1)]).config.data.min_foreground == 0
