"""Labels as other programs have them: ids as floats, -1 and other ids for "not labelled", voxels of another size."""

import pickle
import warnings

import h5py
import numpy as np
import pytest

from neuropil import Box, evaluate
from neuropil.blockwise import evaluate_blocks, tune_blocks
from neuropil.dataset import VolumeDataset
from neuropil.errors import NeuropilError, Note
from neuropil.evaluation.placing import common_box, place
from neuropil.evaluation.tuning import tune_pairs
from neuropil.pipeline.inspecting_labels import label_facts
from neuropil.sources import LabelledVolume
from neuropil.volumes import Metadata, array_volume, open_volume, require_labels
from neuropil.volumes.scored import scored_labels, tell_unlabelled

LABELS = np.random.default_rng(0).integers(0, 5, (3, 8, 9))


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
def test_ids_in_floats_are_read_and_fractions_refused(tmp_path, dtype):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["labels"] = LABELS.astype(dtype)
        file["half"] = LABELS + 0.5
        file["large"] = np.full((1, 2, 2), 2.0**54 * 3)
    volume = require_labels(open_volume(tmp_path / "a.h5/labels"))
    assert volume.dtype.kind == "u"
    assert (volume.read() == LABELS).all()
    assert (pickle.loads(pickle.dumps(volume)).read() == LABELS).all()
    for name in ("half", "large"):
        with pytest.raises(NeuropilError, match=rf"whole numbers.*{name}"):
            require_labels(open_volume(tmp_path / "a.h5" / name)).read()


@pytest.mark.parametrize("dtype", ["i1", "i4", "i8"])
def test_minus_one_is_not_labelled(dtype):
    labels = np.where(LABELS == 2, -1, LABELS).astype(dtype)
    placed = place(array_volume(LABELS), array_volume(labels))
    assert set(np.unique(placed.labels.read())) == {0, 1, 3, 4}
    with pytest.raises(NeuropilError, match="--ignore"):
        scored_labels(array_volume(labels - 3)).read()


def test_ids_to_ignore_of_any_size():
    labels = LABELS.astype(np.uint64)
    labels[0] = 2**64 - 1
    kept = scored_labels(array_volume(labels), (2**64 - 1, 3, -7)).read()
    assert not kept[0].any()
    assert set(np.unique(kept)) == {0, 1, 2, 4}
    assert (kept[1:][kept[1:] > 0] == LABELS[1:][kept[1:] > 0]).all()


def in_file(folder, most, dtype):
    with h5py.File(folder / "a.h5", "w") as file:
        file["s"] = np.ones((2, 4, 4), np.uint8)
        file["t"] = np.array([1, 1, 1, most], dtype)[np.zeros((2, 4, 1), int) + np.arange(4)]
    return [open_volume(folder / "a.h5" / name) for name in "st"]


@pytest.mark.parametrize(
    ("most", "dtype"), [(2**64 - 1, "u8"), (2**32 - 1, "u4"), (2**32 - 1, "u8"), (2**16 - 1, "u2"), (2**8 - 1, "u1")]
)
def test_the_largest_id_of_a_type_is_told_and_not_once_it_is_named(tmp_path, most, dtype):
    segmentation, labels = in_file(tmp_path, most, dtype)
    image = array_volume(np.zeros((2, 4, 4), np.uint8))
    with pytest.warns(Note, match=f"id {most}.*--ignore {most}"):
        evaluate(segmentation, labels)
    with pytest.warns(Note, match=f"id {most}.*--ignore {most}"):
        evaluate_blocks(segmentation, labels)
    with pytest.warns(Note, match=f"id {most}.*data.unlabelled: {most}"):
        VolumeDataset([LabelledVolume(image, labels)], (2, 4, 4), unlabelled=[0])
    with pytest.warns(Note, match=f"id {most}.*--ignore {most}"):
        label_facts(labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert evaluate(segmentation, scored_labels(labels, [most])).adapted_rand_error == 0
        evaluate(segmentation, labels, box=Box((0, 0, 0), (2, 4, 3)))
        VolumeDataset([LabelledVolume(image, labels)], (2, 4, 4), unlabelled=[most])


@pytest.mark.parametrize("ids", [[255, 255], [200, 255], [254, 255], [1, 255, 300]])
def test_255_among_ids_like_it_is_one_of_them(ids):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tell_unlabelled(np.array(ids, np.uint16), "a.h5")


def test_the_largest_id_is_told_when_thresholds_are_scored(tmp_path):
    labels = in_file(tmp_path, 2**64 - 1, "u8")[1]
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["a"] = np.ones((3, 2, 4, 4), np.float32)
    pair = open_volume(tmp_path / "b.h5/a"), labels
    with pytest.warns(Note, match=f"--ignore {2**64 - 1}"):
        tune_pairs([pair])
    with pytest.warns(Note, match=f"--ignore {2**64 - 1}"):
        tune_blocks([pair], block=(1, 4, 4))


def test_voxels_of_another_size_are_told_or_refused():
    a = array_volume(LABELS, Metadata(voxel_size=(30, 6, 6)))
    with pytest.warns(Note, match="voxels of different size, 30 × 6 × 6 and 30 × 12 × 12 nm"):
        common_box(a, array_volume(LABELS, Metadata(voxel_size=(30, 12, 12))))
    with pytest.raises(NeuropilError, match="origins do not say"):
        common_box(a, array_volume(LABELS, Metadata(voxel_size=(30, 12, 12), origin=(0, 0, 0))))


def test_a_volume_of_zeros_is_told():
    with pytest.warns(Note, match="are 0"):
        array_volume(np.zeros((3, 40, 40), np.uint8)).read()


def test_a_mask_for_labels_is_told():
    with pytest.warns(Note, match="taken for one neuron"):
        scored_labels(array_volume(LABELS > 0))
