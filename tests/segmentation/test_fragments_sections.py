"""Floods of sections equal their slow description."""

import heapq

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import local_maxima

from neuropil import NeuropilError
from neuropil.segmentation import flood_sections


def slow(boundary, seeds, spacing):
    out, before = [], 0
    for section in boundary:
        labels = slow_seeds(section, seeds, spacing)
        count = labels.max()
        flood(section, labels)
        out.append(labels + before)
        before += count
    return np.stack(out)


def slow_seeds(section, seeds, spacing):
    if seeds == "grid":
        labels = np.zeros(section.shape, int)
        grid = labels[::spacing, ::spacing]
        grid[:] = np.arange(1, grid.size + 1).reshape(grid.shape)
        return labels
    height = -section
    if seeds == "maxima_distance":
        walls = np.argwhere(section >= 0.5)
        height = np.array([((walls - p) ** 2).sum(1).min() for p in np.ndindex(section.shape)]).reshape(section.shape)
    return ndimage.label(local_maxima(height, connectivity=1, allow_borders=True))[0]


def flood(section, labels):
    queue = [(section[tuple(p)], n, tuple(p)) for n, p in enumerate(np.argwhere(labels))]
    heapq.heapify(queue)
    arrived = len(queue)
    while queue:
        _, _, (y, x) = heapq.heappop(queue)
        for p in ((y - 1, x), (y, x - 1), (y, x + 1), (y + 1, x)):
            if 0 <= p[0] < section.shape[0] and 0 <= p[1] < section.shape[1] and not labels[p]:
                labels[p] = labels[y, x]
                heapq.heappush(queue, (section[p], arrived, p))
                arrived += 1


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("seeds", ["maxima_distance", "minima", "grid"])
@pytest.mark.parametrize("levels", [3, 1000])
def test_floods_equal_their_slow_description(seeds, levels, threads):
    rng = np.random.default_rng(levels)
    boundary = ndimage.gaussian_filter(rng.random((5, 13, 17)), (0, 1, 1))
    boundary = (boundary - boundary.min()) / np.ptp(boundary)
    boundary = (np.floor(boundary * levels) / levels).astype(np.float32)
    found = flood_sections(boundary, seeds, spacing=4, threads=threads)
    assert found.dtype == np.uint32
    np.testing.assert_array_equal(found, slow(boundary, seeds, 4))


@pytest.mark.parametrize("value", [0, 1])
def test_sections_without_structure_are_one_fragment(value):
    assert flood_sections(np.full((2, 3, 4), value, np.float32)).tolist() == [[[1] * 4] * 3, [[2] * 4] * 3]


@pytest.mark.parametrize(
    ("boundary", "options", "message"),
    [
        (np.zeros((3, 4)), {}, r"expected a boundary map of floats \[z, y, x\]"),
        (np.zeros((1, 3, 4), np.uint8), {}, "expected a boundary map of floats"),
        (np.full((1, 3, 4), np.nan), {}, "without NaN"),
        (np.zeros((1, 3, 4)), {"seeds": "maxima"}, "expected seeds maxima_distance, minima, grid, got 'maxima'"),
        (np.zeros((1, 3, 4)), {"seeds": "grid", "spacing": 0}, "must be >= 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused(boundary, options, message):
    with pytest.raises(NeuropilError, match=message):
        flood_sections(boundary, **options)
