import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from neuropil import Box, NeuropilError
from neuropil.config import AugmentConfig
from neuropil.dataset import VolumeDataset, Wanted, collate, sample_rng
from neuropil.sources import LabelledVolume
from neuropil.targets import erode_labels
from neuropil.training.batches import Numbers, batches, in_plain_words
from neuropil.volumes import Metadata, array_volume, create_volume, open_volume, write_volume


def pair(shape=(6, 40, 48), seed=0, **more):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, shape, dtype=np.uint8)
    labels = rng.integers(0, 4, (shape[0], shape[1] // 4, shape[2] // 4)).repeat(4, 1).repeat(4, 2).astype(np.uint32)
    return LabelledVolume(array_volume(image), array_volume(labels), **more)


def filled(dtype, value, labels=1, mask=None):
    """A pair of one value each."""
    volumes = [None if one is None else array_volume(np.full((2, 8, 8), one)) for one in (dtype(value), labels, mask)]
    return LabelledVolume(*volumes)


def test_a_sample_is_a_function_of_seed_and_number():
    one, two = VolumeDataset([pair()], (4, 16, 16), seed=3), VolumeDataset([pair()], (4, 16, 16), seed=3)
    assert all(torch.equal(one[n].image_ZYX, two[n].image_ZYX) for n in (0, 7, 10**9))
    other = VolumeDataset([pair()], (4, 16, 16), seed=4)
    assert not torch.equal(one[0].image_ZYX, other[0].image_ZYX)
    assert not torch.equal(one[0].image_ZYX, one[1].image_ZYX)


def test_the_dataset_and_the_augmentation_draw_apart():
    assert sample_rng(0, 5).random() != sample_rng(0, 5, part=1).random()
    assert sample_rng(0, 256).random() != sample_rng(0, 1, part=1).random()


def test_workers_draw_what_one_process_draws():
    data = VolumeDataset([pair()], (4, 16, 16), seed=0)
    numbers = [[0, 1], [2, 3], [4, 5], [6, 7]]
    alone = list(DataLoader(data, batch_sampler=numbers, collate_fn=collate))
    shared = list(DataLoader(data, batch_sampler=numbers, collate_fn=collate, num_workers=2))
    for a, b in zip(alone, shared, strict=True):
        assert [one.number for one in a] == [one.number for one in b]
        assert all(
            torch.equal(x, y) for one, two in zip(a, b, strict=True) for x, y in zip(one[:3], two[:3], strict=True)
        )
    assert len({batch[0].image_ZYX.sum().item() for batch in shared}) == 4


def test_one_process_draws_what_a_loader_draws():
    data = VolumeDataset([pair()], (4, 16, 16), seed=0)
    alone = batches(data, Numbers(3, 2), workers=0, pin=False)
    loader = iter(DataLoader(data, batch_sampler=Numbers(3, 2), collate_fn=collate))
    for _ in range(3):
        a, b = next(alone), next(loader)
        assert [one.number for one in a] == [one.number for one in b]
        assert all(torch.equal(x, y) for p, q in zip(a, b, strict=True) for x, y in zip(p[:3], q[:3], strict=True))


def test_every_position_is_reached_and_image_and_labels_match():
    labels = np.arange(1, 3 * 5 * 6 + 1, dtype=np.uint32).reshape(3, 5, 6)
    data = VolumeDataset([LabelledVolume(array_volume(labels.astype(np.uint8)), array_volume(labels))], (2, 4, 4))
    corners = set()
    for number in range(200):
        sample = data[number]
        assert torch.equal(sample.image_ZYX.int(), sample.labels_ZYX)
        corners.add(sample.labels_ZYX[0, 0, 0].item())
    assert corners == set(labels[:2, :2, :3].flatten().tolist())


def test_erosion_of_a_patch_equals_erosion_of_the_whole():
    source, margin = pair(), 2
    data = VolumeDataset([source], (3, 12, 12), margin=margin)
    whole = erode_labels(torch.from_numpy(source.labels.read().astype(np.int32)), margin)
    image = source.image.read()
    for number in range(30):
        sample = data[number]
        z, y, x = np.argwhere(
            np.lib.stride_tricks.sliding_window_view(image, (3, 12, 12))[:, :, :, 0, 0, :]
            .__eq__(sample.image_ZYX[0, 0].numpy())
            .all(-1)
        )[0]
        eroded = erode_labels(sample.labels_ZYX, margin)[:, margin:-margin, margin:-margin]
        assert torch.equal(eroded, whole[z : z + 3, y : y + 12, x : x + 12])


def test_the_box_bounds_the_patches_and_what_lies_outside_is_masked():
    source = pair(box=Box.parse("1:4,8:24,8:24"))
    data = VolumeDataset([source], (3, 16, 16), margin=3)
    sample = data[0]
    assert np.array_equal(sample.image_ZYX.numpy(), source.image.read()[1:4, 8:24, 8:24])
    assert sample.mask_ZYX[:, 3:-3, 3:-3].all()
    assert not sample.mask_ZYX[:, :3].any()
    assert not sample.labels_ZYX[:, :3].any()


def test_labels_with_an_origin_lie_where_it_says():
    image = np.arange(10 * 8 * 8, dtype=np.uint16).reshape(10, 8, 8)
    labels = array_volume(image[4:9].astype(np.uint32), Metadata(origin=(4, 0, 0)))
    sample = VolumeDataset([LabelledVolume(array_volume(image), labels)], (5, 8, 8))[0]
    assert torch.equal(sample.image_ZYX.int(), sample.labels_ZYX)


def test_masks_and_the_unlabelled_id():
    image, labels = np.zeros((2, 4, 4), np.uint8), np.ones((2, 4, 4), np.uint64)
    labels[0, 0, 0] = 2**64 - 1
    mask = np.ones((2, 4, 4), np.uint8)
    mask[1, 3, 3] = 0
    source = LabelledVolume(array_volume(image), array_volume(labels), array_volume(mask))
    sample = VolumeDataset([source], (2, 4, 4), unlabelled=[2**64 - 1])[0]
    assert sample.mask_ZYX.sum() == 30
    assert not sample.mask_ZYX[0, 0, 0]
    assert not sample.mask_ZYX[1, 3, 3]


def test_huge_ids_stay_apart():
    labels = np.array([[[2**64 - 1, 2**64 - 2, 0, 1]]], np.uint64)
    sample = VolumeDataset(
        [LabelledVolume(array_volume(np.zeros((1, 1, 4), np.uint8)), array_volume(labels))], (1, 1, 4)
    )[0]
    ids = sample.labels_ZYX.flatten().tolist()
    assert len(set(ids)) == 4
    assert ids[2] == 0


def test_weights_choose_between_volumes():
    bright = LabelledVolume(
        array_volume(np.full((2, 8, 8), 255, np.uint8)), array_volume(np.ones((2, 8, 8), np.uint8)), weight=3
    )
    dark = LabelledVolume(array_volume(np.zeros((2, 8, 8), np.uint8)), array_volume(np.ones((2, 8, 8), np.uint8)))
    data = VolumeDataset([bright, dark], (2, 4, 4))
    share = np.mean([data[n].image_ZYX.float().mean().item() > 0 for n in range(400)])
    assert share == pytest.approx(0.75, abs=0.08)


def test_volumes_are_chosen_as_numpy_chooses():
    sources = [pair(weight=weight) for weight in (1, 0.3, 2.5, 1e-3)]
    data = VolumeDataset(sources, (4, 16, 16), seed=5)
    share = np.array([source.weight for source in sources])
    for number in range(300):
        one, two = sample_rng(5, number), sample_rng(5, number)
        assert data._place(one)[0].pair is sources[two.choice(4, p=share / share.sum())]


def test_poor_places_are_drawn_again():
    labels = np.zeros((4, 64, 64), np.uint8)
    labels[:, 40:, 40:] = np.arange(1, 4).repeat(8)
    source = LabelledVolume(array_volume(np.zeros(labels.shape, np.uint8)), array_volume(labels))
    drawn = [VolumeDataset([source], (2, 16, 16), wanted=Wanted(0.5, 2))[n].labels_ZYX for n in range(30)]
    assert all((ids > 0).float().mean() >= 0.5 and ids[:, ::4, ::4].unique().count_nonzero() >= 2 for ids in drawn)
    plain = [VolumeDataset([source], (2, 16, 16))[n].labels_ZYX for n in range(30)]
    assert sum((ids > 0).float().mean() >= 0.5 for ids in plain) < 15


@pytest.mark.parametrize("memory", [1e9, 1])
def test_masked_ids_are_not_counted(memory):
    labels, mask = np.ones((2, 8, 32), np.uint64), np.ones((2, 8, 32), np.uint8)
    labels[:, :, 4:8], labels[:, :, 8:20], labels[:, :, 20:] = 2, 2**64 - 2, 3
    mask[:, :, 20:] = 0
    source = LabelledVolume(*(array_volume(array) for array in (np.zeros(labels.shape, np.uint8), labels, mask)))
    data = VolumeDataset([source], (2, 8, 8), unlabelled=[2**64 - 2], wanted=Wanted(ids=2, attempts=500), memory=memory)
    for number in range(30):
        sample = data[number]
        assert sample.labels_ZYX[sample.mask_ZYX].unique().tolist() == [1, 2]
        assert not sample.labels_ZYX[~sample.mask_ZYX].any()
    assert labels.max() == 2**64 - 2, "the volume itself stays as it is"


def test_where_nothing_is_good_enough_the_best_is_taken():
    labels = np.zeros((4, 64, 64), np.uint8)
    labels[:, :32] = 1
    source = LabelledVolume(array_volume(np.zeros(labels.shape, np.uint8)), array_volume(labels))
    data = VolumeDataset([source], (2, 16, 16), wanted=Wanted(ids=5, attempts=20))
    assert all((data[n].labels_ZYX > 0).all() for n in range(10))


def test_memory_is_bounded_over_all_volumes():
    size = 6 * 40 * 48 * 6
    assert VolumeDataset([pair(), pair()], (4, 16, 16), memory=2 * size).in_memory
    assert not VolumeDataset([pair(), pair()], (4, 16, 16), memory=2 * size - 1).in_memory


def test_workers_read_lazy_volumes(tmp_path):
    source = pair()
    write_volume(tmp_path / "i.h5", source.image.read())
    write_volume(tmp_path / "l.zarr", source.labels.read())
    lazy = LabelledVolume(open_volume(tmp_path / "i.h5"), open_volume(tmp_path / "l.zarr"))
    data = VolumeDataset([lazy], (4, 16, 16), memory=1)
    drawn = batches(data, Numbers(0, 2), 1, False)
    kept = VolumeDataset([source], (4, 16, 16))
    for one in next(drawn):
        assert torch.equal(one.image_ZYX, kept[one.number].image_ZYX)
        assert torch.equal(one.labels_ZYX, kept[one.number].labels_ZYX)


@pytest.mark.parametrize("way", ["folder", "server"])
def test_workers_read_precomputed_volumes(tmp_path, way):
    """Image, ids beyond 32 bits and mask, placed, in chunks smaller than a patch; from a folder and from a server."""
    rng, shape, placed = np.random.default_rng(5), (6, 40, 48), Metadata((30, 6, 6), (60, 100, 200))
    arrays = {
        "image": rng.integers(0, 256, shape, np.uint8),
        "labels": rng.integers(0, 4, (6, 10, 12)).repeat(4, 1).repeat(4, 2).astype(np.uint64) << np.uint64(40),
        "mask": (rng.random(shape) < 0.8).astype(np.uint8),
    }
    for name, array in arrays.items():
        chunked = {"metadata": placed, "chunks": (2, 7, 9)}
        with create_volume(tmp_path / f"{name}.precomputed", shape, array.dtype, **chunked) as volume:
            volume.write(volume.box, array)

    def drawn(pair, memory, workers):
        box = Box((61, 104, 202), (66, 138, 246))
        data = VolumeDataset([replace(pair, box=box)], (4, 16, 16), seed=2, margin=2, memory=memory)
        assert data.in_memory == (memory > 1)
        stream = batches(data, Numbers(3, 2), workers, False)
        return [next(stream) for _ in range(3)]

    with serving(tmp_path) as address:
        folder = str(tmp_path) if way == "folder" else f"precomputed://{address}"
        lazy = LabelledVolume(*(open_volume(f"{folder}/{name}.precomputed") for name in arrays))
        found = drawn(lazy, 1, 1)
    expected = drawn(LabelledVolume(*(array_volume(array, placed) for array in arrays.values())), 1e9, 0)
    for batch, other in zip(found, expected, strict=True):
        for one, two in zip(batch, other, strict=True):
            assert one.number == two.number
            assert all(torch.equal(a, b) for a, b in zip(one[:3], two[:3], strict=True))
    assert len({one.image_ZYX.sum().item() for batch in found for one in batch}) == 6


@contextmanager
def serving(folder):
    """The address at which files of a folder are handed out."""
    with Server(("127.0.0.1", 0), partial(Silent, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # chunks are asked for all at once


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_volumes_too_large_for_memory_are_read_box_by_box():
    kept = VolumeDataset([pair()], (4, 16, 16), margin=1)
    lazy = VolumeDataset([pair()], (4, 16, 16), margin=1, memory=1)
    for number in range(20):
        for a, b in zip(kept[number][:3], lazy[number][:3], strict=True):
            assert torch.equal(a, b)


def test_volumes_stay_on_the_device_that_trains():
    # The device without memory stands for a GPU: what lies on it shows where samples were cut out.
    here, there = (
        VolumeDataset([pair()], (4, 16, 16), margin=1, augment=AugmentConfig(rotate=30), device=device)
        for device in (None, torch.device("meta"))
    )
    both = [(here[number], there[number]) for number in range(12)]
    for a, b in both:
        for name in ("image_ZYX", "labels_ZYX", "mask_ZYX", "real_YX"):
            x, y = getattr(a, name), getattr(b, name)
            assert (x is None) == (y is None)
            assert x is None or (y.device.type, x.shape, x.dtype) == ("meta", y.shape, y.dtype)
    assert {b.real_YX is None for _, b in both} == {True, False}
    far = VolumeDataset([pair()], (4, 16, 16), device=torch.device("meta"), memory=1)
    assert far[0].image_ZYX.device.type == "cpu", "what does not fit is read box by box"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_beyond_the_border_the_last_voxels_are_repeated(dtype):
    array = np.random.default_rng(0).integers(0, 200, (2, 20, 24)).astype(dtype)
    array = array / dtype(256) if dtype == np.float32 else array
    source = LabelledVolume(array_volume(array), array_volume(np.ones(array.shape, np.uint8)))
    data = VolumeDataset([source], (2, 16, 16), augment=AugmentConfig(rotate=45, warp_probability=1))
    for number in range(8):
        sample = data[number]
        y, x = sample.warp.reach
        padded = np.pad(array, [(0, 0), (y, y), (x, x)], mode="edge")
        known = np.pad(np.ones((20, 24), bool), [(y, y), (x, x)])
        image, shape = sample.image_ZYX.numpy(), sample.image_ZYX.shape
        found = [
            (a, b)
            for a in range(5)
            for b in range(9)
            if np.array_equal(padded[:, a : a + shape[1], b : b + shape[2]], image)
        ]
        assert len(found) == 1
        (a, b) = found[0]
        real = np.ones(shape[1:], bool) if sample.real_YX is None else sample.real_YX.numpy()
        assert np.array_equal(real, known[a : a + shape[1], b : b + shape[2]])


@pytest.mark.parametrize(
    ("pairs", "patch", "message"),
    [
        ([], (1, 4, 4), r"data\.train"),
        ([pair()], (7, 16, 16), "patch"),
        (
            [LabelledVolume(array_volume(np.zeros((2, 8, 8), np.uint8)), array_volume(np.zeros((2, 8, 8))))],
            (1, 4, 4),
            "integers",
        ),
        ([LabelledVolume(array_volume(np.zeros((2, 8, 8), np.uint8)), pair().labels)], (1, 4, 4), "same shape"),
        ([pair(box=Box.parse("0:9,0:8,0:8"))], (1, 4, 4), "must lie inside"),
        ([filled(np.int64, 3)], (1, 4, 4), "an image must be uint8, uint16 or float .* an array in memory holds int64"),
        ([filled(np.float32, 3)], (1, 4, 4), "finite and lie in .*; an array in memory holds 3 to 3; rescale"),
        ([filled(np.float16, np.nan)], (1, 4, 4), "an array in memory holds nan to nan"),
        (
            [filled(np.uint8, 3, labels=np.int16(-2))],
            (1, 4, 4),
            "ids must not be negative, an array in memory holds -2",
        ),
        ([filled(np.uint8, 3, labels=np.uint16(0))] * 3, (1, 4, 4), "no voxel with an id .* in memory and 2 more"),
        ([filled(np.uint8, 3, mask=np.uint8(0))], (1, 4, 4), "no voxel with an id above 0 that may be used"),
    ],
    ids=[
        *(
            "no volumes",
            "patch too large",
            "float labels",
            "shapes differ",
            "box outside",
            "image of ids",
            "bright floats",
        ),
        *("not a number", "negative ids", "no labels", "all masked"),
    ],
)
def test_refuses(pairs, patch, message):
    with pytest.raises(NeuropilError, match=message):
        VolumeDataset(pairs, patch)


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_wrong_with_a_volume_that_is_read_lazily_is_told_in_plain_words(tmp_path, workers):
    """In a DataLoader worker, too: without the tracebacks that torch adds there."""
    write_volume(tmp_path / "i.h5", np.full((2, 8, 8), np.nan, np.float32))
    write_volume(tmp_path / "l.h5", np.ones((2, 8, 8), np.uint8))
    lazy = LabelledVolume(open_volume(tmp_path / "i.h5"), open_volume(tmp_path / "l.h5"))
    data = VolumeDataset([lazy], (1, 4, 4), memory=1)
    with pytest.raises(NeuropilError, match=r"^a float image must be .* holds nan to nan; [^\n]*$"), in_plain_words():
        next(batches(data, Numbers(0, 1), workers, False))


def test_one_volume_without_labels_among_others_is_background_to_learn():
    assert VolumeDataset([filled(np.uint8, 3, labels=np.uint8(0)), pair()], (1, 4, 4)).in_memory


def test_samples_of_sparse_labels_hold_usable_voxels_and_the_more_the_likelier():
    image = array_volume(np.zeros((20, 80, 80), np.uint8))
    labels = np.zeros((20, 80, 80), np.uint32)
    labels[4:8, 10:14, 60:64] = 1
    labels[12:18, 40:72, 8:40] = 2
    source = LabelledVolume(image, array_volume(labels))
    data = VolumeDataset([source], (4, 16, 16), unlabelled=[0])
    held = [data[n].mask_ZYX.sum().item() for n in range(200)]
    assert min(held) > 0
    # Drawn by voxels, the large part is met about a hundred times as often as the small one.
    small = [n for n in range(200) if (data[n].labels_ZYX == 1).any()]
    assert len(small) < 15
    assert data.possible((-1, 0, 0))
    assert not data.possible((0, 0, -60))


def test_volumes_that_are_not_kept_draw_again_until_a_voxel_counts():
    image = array_volume(np.zeros((8, 64, 64), np.uint8))
    labels = np.zeros((8, 64, 64), np.uint32)
    labels[:, 20:40, 20:40] = 1
    data = VolumeDataset([LabelledVolume(image, array_volume(labels))], (4, 16, 16), unlabelled=[0], memory=0)
    assert all(data[n].mask_ZYX.any() for n in range(60))


def test_volumes_that_count_everywhere_draw_the_places_they_always_drew():
    image, labels = array_volume(np.zeros((8, 64, 64), np.uint8)), array_volume(np.ones((8, 64, 64), np.uint32))
    data = VolumeDataset([LabelledVolume(image, labels)], (4, 16, 16), seed=3)
    for number in range(5):
        rng, used = sample_rng(3, number), sample_rng(3, number)
        rng.random()
        assert data._place(used)[1].start == tuple(int(rng.integers(0, n)) for n in (5, 49, 49))
        assert used.random() == rng.random()
