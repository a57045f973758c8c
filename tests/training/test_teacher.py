"""Learning from another network's affinities: turned with the labels, computed once, in place of labels too."""

import numpy as np
import pytest
import torch

from neuropil import Config, NeuropilError, open_volume, predict, train, write_volume
from neuropil.config import VolumePair
from neuropil.dataset import VolumeDataset
from neuropil.models.checkpoint import read_checkpoint
from neuropil.sources import LabelledVolume
from neuropil.targets import affinities_from_labels
from neuropil.training.batches import prepare
from neuropil.volumes import LOGIT8, Metadata, array_volume
from training_data import equal, recipe, stripes, weights

OFFSETS = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, -3, 0), (0, 0, -3), (-3, 0, 0))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return stripes(tmp_path_factory.mktemp("stripes"))


def drawn(augment, labelled=True, mask=None, memory=4e9):
    """Batches of a volume whose teacher says exactly what the labels do, and the samples they are made of."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (6, 7, 8)).repeat(3, 0).repeat(4, 1).repeat(4, 2).astype(np.uint32)
    image = (labels * 60).astype(np.uint8)
    exact = LOGIT8.encode(affinities_from_labels(labels, OFFSETS).values)
    teacher = array_volume(exact, Metadata(offsets=OFFSETS, encoding=LOGIT8))
    model = {"offsets": OFFSETS, "label_erosion": 0}
    config = Config.from_dict({"model": model, "augment": augment, "training": {"patch": [12, 12, 12]}})
    config = config.model_copy(
        update={"data": config.data.model_copy(update={"train": (VolumePair(image="i", labels="l", teacher="t"),)})}
    )
    known = None if mask is None else array_volume(mask)
    pair = LabelledVolume(array_volume(image), array_volume(labels) if labelled else None, known, teacher=teacher)
    dataset = VolumeDataset([pair], (12, 12, 12), augment=config.augment, offsets=OFFSETS, memory=memory)
    for number in range(8):
        yield prepare([dataset[number]], config, 0, config.augment), dataset[number]


@pytest.mark.parametrize("memory", [4e9, 0], ids=["kept", "read by box"])
@pytest.mark.parametrize("augment", [{}, {"cube": True}, {"slip": 1.0}], ids=str)
def test_a_teacher_that_is_right_says_what_the_labels_say(augment, memory):
    for batch, _ in drawn(augment, memory=memory):
        assert torch.equal(batch.soft_validity_BEZYX, batch.validity_BEZYX)
        assert torch.equal(batch.soft_BEZYX.bool() & batch.validity_BEZYX, batch.target_BEZYX)


def test_samples_whose_labels_are_displaced_learn_from_labels_alone():
    seen = set()
    for batch, sample in drawn({"step": 0.5}):
        stepped = sample.warp is not None
        seen.add(stepped)
        assert batch.soft_validity_BEZYX.any() != stepped
        assert batch.validity_BEZYX.any()
    assert seen == {False, True}


def test_without_labels_only_the_teacher_speaks_and_nothing_is_displaced():
    for batch, sample in drawn({"step": 0.5, "rotate": 45.0}, labelled=False):
        assert sample.warp is None
        assert not batch.validity_BEZYX.any()
        assert batch.soft_BEZYX.any()


def test_a_mask_holds_for_the_teacher_too():
    mask = np.ones((18, 28, 32), np.uint8)
    mask[:, :14] = 0
    for batch, sample in drawn({"flip": False, "transpose": False}, labelled=False, mask=mask):
        ends = sample.mask_ZYX
        assert torch.equal(batch.soft_validity_BEZYX[0, 2, :, :, 1:], (ends[..., 1:] & ends[..., :-1]))


def test_a_student_learns_an_unlabelled_volume_from_its_teacher(data, tmp_path):
    lesson = ["training.iterations=60", "optimizer.learning_rate=0.01"]
    teacher = train(recipe(data, *lesson), tmp_path / "teacher")
    unlabelled = f'data.train=[{{"image": "{data}/image.h5", "box": "0:5,:,:"}}]'
    student = train(recipe(data, *lesson, unlabelled), tmp_path / "student", teacher=teacher)
    with open_volume(tmp_path / "student" / "teacher" / "0.zarr") as kept:
        assert kept.metadata.encoding == LOGIT8
        assert kept.shape == (9, 5, 64, 96)
    a, b = (predict(path, f"{data}/image.h5", tta=1) for path in (teacher, student))
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9
    assert not equal(weights(teacher), weights(student))


def test_the_teacher_is_asked_once_and_resuming_equals_never_having_stopped(data, tmp_path):
    constant = "optimizer.schedule=constant"
    teacher = train(recipe(data, "training.iterations=1"), tmp_path / "teacher")
    whole = train(recipe(data, "training.iterations=6", constant), tmp_path / "whole", teacher=teacher)
    half = train(recipe(data, "training.iterations=3", constant), tmp_path / "half", teacher=teacher)
    kept = next((tmp_path / "half" / "teacher" / "0.zarr").rglob("c/*/*/*/*"))
    before = kept.stat().st_mtime_ns
    again = train(recipe(data, "training.iterations=6", constant), tmp_path / "half", resume=half, teacher=str(teacher))
    assert kept.stat().st_mtime_ns == before
    assert equal(read_checkpoint(whole)["average"], read_checkpoint(again)["average"])
    with pytest.raises(NeuropilError, match=r"learned from a teacher; give it again"):
        train(recipe(data, "training.iterations=9", constant), tmp_path / "other", resume=again)


def test_what_cannot_teach_is_refused(data, tmp_path):
    teacher = train(recipe(data, "training.iterations=1", 'model.offsets="nearest"'), tmp_path / "teacher")
    far = recipe(data, "training.iterations=1", "model.offsets=[[0,0,-5]]")
    with pytest.raises(NeuropilError, match=r"teacher that knows some of model.offsets \[\(0, 0, -5\)\], got"):
        train(far, tmp_path / "student", teacher=teacher)
    codes = np.zeros((1, 6, 64, 96), np.uint8)
    write_volume(tmp_path / "far.h5", codes, Metadata(offsets=((0, 0, -5),), encoding=LOGIT8))
    write_volume(tmp_path / "plain.h5", codes, Metadata(offsets=((0, 0, -1),)))
    for name, message in (("far", "knows some of model.offsets"), ("plain", "encoding logit8")):
        pair = f'{{"image": "{data}/image.h5", "labels": "{data}/labels.h5", "teacher": "{tmp_path}/{name}.h5"}}'
        config = recipe(data, "training.iterations=1", f"data.train=[{pair}]")
        with pytest.raises(NeuropilError, match=message):
            train(config, tmp_path / "student")
        with pytest.raises(NeuropilError, match="give only one of them"):
            train(config, tmp_path / "student", teacher=teacher)
    bare = recipe(data, "training.iterations=1", f'data.train=[{{"image": "{data}/image.h5"}}]')
    with pytest.raises(NeuropilError, match="train with --teacher MODEL"):
        train(bare, tmp_path / "student")


def test_weights_that_do_not_fit_are_told_before_the_teacher_predicts(data, tmp_path):
    teacher = train(recipe(data, "training.iterations=1"), tmp_path / "teacher")
    other = recipe(data, "training.iterations=1", "model.norm=none", "model.widths=[5,7]")
    with pytest.raises(NeuropilError, match=r"model.widths"):
        train(other, tmp_path / "student", teacher=teacher, pretrained=teacher)
    assert not (tmp_path / "student" / "teacher").exists()
