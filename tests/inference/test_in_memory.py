"""Prediction through the door that users take, with networks whose answer is known."""

import itertools
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from neuropil import Box, Config, NeuropilError
from neuropil.inference import predict, request, symmetries
from neuropil.inference.engine import Engine, choose_devices
from neuropil.models import build_network
from neuropil.models.checkpoint import Model
from neuropil.volumes import Metadata, array_volume

NEAREST = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
TWELVE = (
    *((-z, 0, 0) for z in (1, 2, 3, 4)),
    *((0, -y, 0) for y in (1, 3, 9, 27)),
    *((0, 0, -x) for x in (1, 3, 9, 27)),
)
SKEWED = ((1, 0, 0), (0, -1, 0), (0, 0, -1), (0, -7, 0), (-1, 2, 0), (-1, 0, 3), (-2, 4, -5))
"""No view but the first holds all of these: some are missing when y and x are exchanged, some when z is flipped."""


class Oracle(nn.Module):
    """Knows the affinities of an image whose grey values are ids, for whatever it is shown. Where the partner lies
    outside of what it is shown it says something that must not come through."""

    def __init__(self, offsets, nonsense=3.0):
        super().__init__()
        self.offsets, self.nonsense = offsets, nonsense

    def forward(self, image):
        logits = torch.full((len(image), len(self.offsets), *image.shape[2:]), self.nonsense)
        for e, offset in enumerate(self.offsets):
            here = symmetries.edges_inside(offset, image.shape[2:])
            if all(s.stop > s.start for s in here):
                there = tuple(slice(s.start + o, s.stop + o) for s, o in zip(here, offset, strict=True))
                a, b = image[:, 0][:, *here], image[:, 0][:, *there]
                # A sigmoid of these is exactly 1 or 0 in float32.
                logits[:, e][:, *here] = torch.where((a == b) & (a > 0), 200.0, -200.0)
        return logits


class Identity(nn.Module):
    """Returns its input as every channel."""

    def forward(self, image):
        return torch.logit(image).expand(-1, 3, -1, -1, -1)


def model(network, offsets=NEAREST):
    isotropic = {"offsets": offsets, "downsample": [[2, 2, 2]] * 3, "anisotropic_levels": 0}
    return Model(
        network, Config.from_dict({"model": isotropic, "training": {"precision": "fp32"}}), {"voxel_size": [9] * 3}
    )


def test_axes_are_exchanged_only_of_isotropic_models():
    network, image = Oracle(NEAREST), np.zeros((4, 9, 9), np.uint8)
    for settings, info in (
        ({}, {"voxel_size": [9, 9, 9]}),
        ({"downsample": [[2, 2, 2]] * 3, "anisotropic_levels": 0}, {}),
    ):
        config = Config.from_dict({"model": {"offsets": NEAREST, **settings}})
        with pytest.raises(NeuropilError, match="expected a model of isotropic voxels"):
            predict(Model(network, config, info), image, tta=48)


def truth(labels, offsets):
    """Affinities by the definition, edge by edge."""
    out = np.zeros((len(offsets), *labels.shape), np.float32)
    for e, (dz, dy, dx) in enumerate(offsets):
        for z, y, x in np.ndindex(labels.shape):
            a, b, c = z + dz, y + dy, x + dx
            if 0 <= a < labels.shape[0] and 0 <= b < labels.shape[1] and 0 <= c < labels.shape[2]:
                out[e, z, y, x] = labels[z, y, x] == labels[a, b, c] != 0
    return out


@pytest.fixture(scope="module")
def labels():
    """Blocky ids with background, so that every offset meets both answers."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 4, (4, 8, 9))
    return np.kron(coarse, np.ones((2, 6, 5), int))[:7, :41, :44].astype(np.uint8)


@pytest.fixture(scope="module")
def answers(labels):
    return {offsets: truth(labels, offsets) for offsets in (NEAREST, TWELVE, SKEWED)}


def views():
    """All counts of views and ways to combine them in one tile; in several tiles each way once, the rest and 48 views
    when there is time."""
    for tta, mode, tile in itertools.product((1, 4, 8, 16, 48), ("mean", "min", "max"), (None, (5, 30, 29))):
        slow = tile is not None and mode != {1: "mean", 4: "min", 8: "max", 16: "mean"}.get(tta)
        yield pytest.param(tta, mode, tile, marks=pytest.mark.slow if slow else (), id=f"{tta}-{mode}-{tile}")


@pytest.mark.parametrize(("tta", "mode", "tile"), list(views()))
@pytest.mark.parametrize("offsets", [NEAREST, TWELVE, SKEWED], ids=["nearest", "twelve", "skewed"])
def test_an_oracle_comes_back_exactly(labels, answers, offsets, tta, mode, tile):
    """Symmetries undone in space only lose 99 % of the boundaries, even of a perfect predictor."""
    overlap = None if tile is None else (4, 0, 0)
    oracle = model(Oracle(offsets), offsets)
    found = predict(oracle, labels, tta=tta, tta_mode=mode, tile=tile, overlap=overlap, keep="all")
    np.testing.assert_array_equal(found, answers[offsets])


def test_without_the_shift_the_oracle_is_lost(labels, answers, monkeypatch):
    """The test above can fail: with flipped edges left where they are found, thousands of them are wrong."""
    original = symmetries.readings

    def unshifted(view, offsets, keep):
        return tuple(r and r._replace(shift=(0, 0, 0)) for r in original(view, offsets, keep))

    monkeypatch.setattr(symmetries, "readings", unshifted)
    found = predict(model(Oracle(NEAREST)), labels, tta=16)
    assert np.mean(found != answers[NEAREST]) > 0.05


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 40, 3), (5, 1, 30), (2, 9, 8)], ids=str)
def test_volumes_smaller_than_the_offsets(shape):
    ids = np.random.default_rng(0).integers(0, 2, shape).astype(np.uint8)
    found = predict(model(Oracle(TWELVE), TWELVE), ids, tta=16, keep="all", tile=(8, 64, 64))
    np.testing.assert_array_equal(found, truth(ids, TWELVE))


@pytest.mark.parametrize("tile", [(2, 3, 3), (3, 8, 7), (9, 5, 20), (1000, 1000, 1000), None], ids=str)
def test_a_network_that_returns_its_input_is_blended_to_its_input(tile):
    image = np.random.default_rng(1).random((9, 21, 20), np.float32)
    binary = (image > 0.5).astype(np.float32)
    found = predict(model(Identity()), image, tta=1, tile=tile, overlap=(1, 1, 1))
    exact = predict(model(Identity()), binary, tta=1, tile=tile, overlap=(1, 1, 1))
    for e, offset in enumerate(NEAREST):
        inside = symmetries.edges_inside(offset, image.shape)
        np.testing.assert_allclose(found[e][inside], image[inside], rtol=0, atol=1e-6)
        np.testing.assert_array_equal(exact[e][inside], binary[inside])
        found[e][inside] = 0
    assert not found.any(), "edges that leave the volume must be 0"


def test_a_box_is_predicted_for_itself_and_only_the_edges_inside_it(labels):
    box = Box((1, 5, 7), (6, 40, 31))
    image = array_volume(labels, Metadata(origin=(100, 200, 300)))
    found = predict(model(Oracle(NEAREST)), image, tta=8, box=box.shift((100, 200, 300)))
    np.testing.assert_array_equal(found, truth(labels[box.slices], NEAREST))
    with pytest.raises(NeuropilError, match="inside the image, which holds 100:107,200:241,300:344"):
        predict(model(Oracle(NEAREST)), image, box=box)


def far_seeing():
    """A network whose field of view is 1, 3 and 3 voxels to each side."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ELU(), nn.Conv3d(4, 3, (1, 5, 5), padding=(0, 2, 2)))


@pytest.mark.parametrize("tile", [None, (3, 20, 20)], ids=str)
def test_around_a_box_the_network_sees_the_image_that_is_there(tile):
    """A box that is cut out of a prediction of the whole and one that is predicted by itself are the same."""
    image = np.random.default_rng(2).random((8, 40, 37), np.float32)
    network, box = model(far_seeing()), Box((0, 9, 5), (5, 33, 37))
    how = {"tta": 4, "tile": tile, "overlap": (2, 6, 6)}
    whole = predict(network, image, **how, context=(1, 3, 3))
    found = predict(network, image, box=box, surround=(1, 3, 3), **how, context=(1, 3, 3) if tile else None)
    alone = predict(network, image[box.slices], **how)
    bare = predict(network, image, box=box, surround=(0, 0, 0), **how)
    np.testing.assert_array_equal(bare, alone)
    for e, offset in enumerate(NEAREST):
        inside = symmetries.edges_inside(offset, box.shape)
        # At the faces of the image itself there is nothing to see: the last rows and columns and the first section.
        seen = (slice(max(inside[0].start, 1), None), inside[1], slice(inside[2].start, -3))
        expected = whole[e][box.slices]
        np.testing.assert_allclose(found[e][seen], expected[seen], rtol=0, atol=1e-5)
        assert np.abs(bare[e][seen] - expected[seen]).max() > 1e-3, "or this proves nothing"
        found[e][inside] = 0
    assert not found.any(), "edges that leave the box are 0, even where the network saw them"


def test_a_quarter_of_the_patch_is_seen_around_a_box_by_default():
    image, box = array_volume(np.zeros((40, 300, 300), np.uint8)), Box((10, 0, 100), (20, 300, 200))
    assert request.make_request(model(far_seeing()), image, box=box, device="cpu").frame == Box(
        (6, 0, 64), (24, 300, 236)
    )
    assert request.make_request(model(far_seeing()), image, device="cpu").frame == image.box


@pytest.mark.parametrize("count", [2, 3])
def test_devices_that_share_the_tiles_make_the_same(monkeypatch, count):
    image = np.random.default_rng(2).random((8, 60, 70), np.float32)
    how = {"tta": 4, "tile": (4, 20, 20), "overlap": (2, 6, 6)}
    alone = predict(model(far_seeing()), image, **how)
    used, together = set(), threading.Barrier(count)
    original = Engine.affinities

    def affinities(self, window):
        if id(self) not in used:  # each waits once for all the others: they do run at the same time
            used.add(id(self))
            together.wait(timeout=30)
        return original(self, window)

    monkeypatch.setattr(request, "choose_devices", lambda name, n: (torch.device("cpu"),) * n)
    monkeypatch.setattr(Engine, "affinities", affinities)
    np.testing.assert_array_equal(predict(model(far_seeing()), image, devices=count, **how), alone)
    assert len(used) == count


@pytest.mark.parametrize(("room", "asked", "expected"), [(99, None, 5), (3, None, 3), (0, None, 1), (99, 20, 20)])
def test_a_gpu_is_given_what_it_holds_in_a_few_calls_at_least(monkeypatch, room, asked, expected):
    config = Config.from_dict({"predict": {"tile": [4, 16, 16], "overlap": [1, 4, 4], "batch": asked}})
    image = np.zeros((4, 52, 64), np.uint8)
    made = request.make_request(Model(build_network(config.model), config, {}), array_volume(image), device="cpu")
    tiling = made.tiling()
    assert tiling.counts == (1, 4, 5)
    assert made.batch(tiling) == (asked or 1)
    there = replace(made, devices=(torch.device("cuda"),))
    there.__dict__["_each"] = 32
    monkeypatch.setattr(request, "free_memory", lambda _: 3 * 32 * 4 * 16 * 16 * room)
    assert there.batch(tiling) == expected


def test_more_devices_than_there_are_is_refused(monkeypatch):
    image = np.zeros((3, 9, 9), np.uint8)
    for count in (0, 2):
        with pytest.raises(NeuropilError, match=rf"from 1 to 1 devices, got --devices {count}: 0 GPUs are there"):
            predict(model(far_seeing()), image, device="cpu", devices=count)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(device) for device in choose_devices("auto", 2)] == ["cuda:0", "cuda:1"]
    with pytest.raises(NeuropilError, match="from 1 to 2 devices, got --devices 3: 2 GPUs are there"):
        predict(model(far_seeing()), image, devices=3)
    with pytest.raises(NeuropilError, match="from 1 to 1 devices, got --devices 2: 1 GPUs are there"):
        choose_devices("cuda:1", 2)


def test_any_tile_gives_the_same_where_the_context_covers_the_field_of_view():
    net = far_seeing()
    image = np.random.default_rng(2).random((8, 40, 37), np.float32)
    results = []
    for tile in [(8, 40, 37), (3, 20, 20), (8, 11, 30)]:
        results.append(predict(model(net), image, tta=4, tile=tile, overlap=(1, 2, 2), context=(1, 3, 3)))
    np.testing.assert_allclose(results[0], results[1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(results[0], results[2], rtol=0, atol=1e-5)
    bare = predict(model(net), image, tta=4, tile=(3, 20, 20), overlap=(1, 2, 2))
    assert np.abs(bare - results[0]).max() > 1e-3, "without context, borders of tiles must show, or this proves nothing"


def test_tiles_of_a_network_that_pools_agree_too():
    """They begin where the network's pooling does; one voxel further it sees something else."""
    torch.manual_seed(0)
    config = {"model": {"widths": [2, 3], "downsample": [[1, 4, 4]]}, "training": {"precision": "fp32"}}
    small = Config.from_dict(config)
    trained = Model(build_network(small.model).eval(), small, {})
    image = np.random.default_rng(2).random((5, 90, 100), np.float32)
    results = []
    for tile in [(5, 90, 100), (5, 58, 52), (3, 90, 68)]:
        results.append(predict(trained, image, tta=1, tile=tile, overlap=(1, 8, 8), context=(4, 32, 32)))
    np.testing.assert_allclose(results[0], results[1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(results[0], results[2], rtol=0, atol=1e-5)


def test_a_real_network_predicts_and_is_left_as_it_was():
    config = Config()
    network = build_network(config.model).train()
    found = predict(Model(network, config, {}), np.zeros((3, 20, 25), np.uint16), tta=4)
    assert found.shape == (3, 3, 20, 25)
    assert found.dtype == np.float32
    assert network.training, "validation during training must not end it"
    assert predict(Model(network, config, {}), np.zeros((3, 20, 25), np.uint8), tta=1, keep="all").shape[0] == 9


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (np.full((3, 4, 5), np.nan, np.float32), {}, "finite"),
        (np.zeros((2, 3, 4, 5), np.uint8), {}, "image"),
        (np.zeros((3, 40, 50), np.uint8), {"tile": (3, 8, 8), "overlap": (0, 8, 0)}, "longer than their overlap in y"),
        (np.zeros((3, 40, 50), np.uint8), {"tta": 3}, "tta"),
        (np.zeros((3, 40, 50), np.uint8), {"tta_mode": "median"}, "tta_mode"),
        (np.zeros((3, 40, 50), np.uint8), {"device": "cuda:9"}, "cuda:9"),
        (np.zeros((3, 40, 50), np.uint8), {"device": "abacus"}, "abacus"),
    ],
)
def test_wrong_input_gets_one_clear_message(image, options, message):
    with pytest.raises(NeuropilError, match=message):
        predict(model(Oracle(NEAREST)), image, **options)


def test_a_network_that_diverged_is_refused():
    class Diverged(nn.Module):
        def forward(self, image):
            return image.expand(-1, 3, -1, -1, -1) * float("nan")

    with pytest.raises(NeuropilError, match="NaN"):
        predict(model(Diverged()), np.zeros((3, 9, 9), np.uint8), tta=8)


def test_offsets_must_be_those_of_the_network():
    with pytest.raises(NeuropilError, match="no nearest edge"):
        predict(model(Oracle(TWELVE[1:]), TWELVE[1:]), np.zeros((3, 9, 9), np.uint8))
    with pytest.raises(NeuropilError, match=r"expected a network output of shape \(1, 12, "):
        predict(model(Oracle(NEAREST), TWELVE), np.zeros((3, 9, 9), np.uint8), tta=1)


def test_another_voxel_size_than_the_training_one_is_told(recwarn):
    trained = Model(Oracle(NEAREST), model(None).config, {"voxel_size": (30.0, 6.0, 6.0)})
    grey = np.arange(32, dtype=np.uint8).reshape(2, 4, 4) * 8
    close = array_volume(grey, Metadata(voxel_size=(33, 6, 6)))
    far = array_volume(grey, Metadata(voxel_size=(40, 6, 6)))
    predict(trained, close, tta=1)
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"voxels of \(40.*, 6.*, 6.*\) nm"):
        predict(trained, far, tta=1)


def test_progress_ends_at_the_number_of_voxels():
    seen = []
    image = np.zeros((6, 30, 30), np.uint8)
    predict(
        model(Oracle(NEAREST)), image, tile=(6, 12, 12), overlap=(0, 2, 2), progress=lambda *said: seen.append(said)
    )
    steps, done, totals = zip(*seen, strict=True)
    assert list(done) == sorted(done)
    assert (steps[-1], done[-1], totals[-1]) == ("predict", image.size, image.size)
