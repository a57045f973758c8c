"""Inputs that break others: every door of the room refuses them in words, or takes them for what they are."""

import subprocess
import sys

import numpy as np
import pytest

import neuropil
from neuropil import LOGIT8, Metadata, NeuropilError, array_volume
from neuropil.segmentation import (
    agglomerate_graph,
    cluster_fragments,
    merge_by_size,
    signed_graph,
)
from neuropil.volumes import LOGIT16

NEAREST = neuropil.NEAREST


def small_labels(shape):
    """Blocks of two sections, two rows and two columns."""
    z, y, x = np.indices(shape)
    return 1 + z // 2 * 100 + y // 2 * 10 + x // 2


DOORS = {
    "watershed": lambda a, labels, **o: neuropil.watershed(a, **o),
    "region_graph": lambda a, labels, **o: np.stack(neuropil.region_graph(a, labels, **o).columns[2:5]),
    "agglomerate": lambda a, labels, **o: neuropil.agglomerate(a, labels, **o).score,
    "quantile": lambda a, labels, **o: neuropil.agglomerate(a, labels, "q50", **o).score,
    "fill_background": lambda a, labels, **o: neuropil.fill_background(a, np.where(labels > 11, 0, labels), **o),
    "mutex_watershed": lambda a, labels, **o: neuropil.mutex_watershed(a, **o),
    "signed_graph": lambda a, labels, **o: np.stack([c.astype(float) for c in signed_graph(a, labels, **o).columns]),
}
doors = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS.keys())


def some_affinities(shape=(3, 4, 5, 6), seed=0):
    return np.random.default_rng(seed).integers(0, 5, shape) / 4


@doors
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1 + 2e-5, -2e-5])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_what_is_no_affinity_is_refused(door, bad, dtype):
    affinities = some_affinities().astype(dtype)
    affinities[2, 3, 4, 5] = bad
    with pytest.raises(NeuropilError, match=r"\[0, 1\]"):
        door(affinities, small_labels((4, 5, 6)))


@doors
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 7), (1, 7, 1), (7, 1, 1), (1, 4, 5), (4, 1, 5), (4, 5, 1)])
def test_axes_of_one_voxel(door, shape):
    """Like the same volume as the lowest corner of a larger one in which nothing else is connected."""
    affinities, labels = some_affinities((3, *shape)), small_labels(shape)
    thin = door(affinities, labels)
    offsets = [o for o, n in zip(NEAREST, shape, strict=True) if n > 1]
    if offsets and door is not DOORS["mutex_watershed"] and door is not DOORS["signed_graph"]:
        kept = affinities[[n > 1 for n in shape]]
        np.testing.assert_array_equal(door(kept, labels, offsets=offsets), thin)
    wide = np.zeros((3, *[n + 2 for n in shape]))
    wide[(slice(None), *[slice(0, n) for n in shape])] = affinities
    if thin.shape == shape and door is not DOORS["fill_background"]:
        corner = door(wide, small_labels(wide.shape[1:]))[tuple(slice(0, n) for n in shape)]
        assert len(np.unique(corner)) == len(np.unique(thin))


@doors
@pytest.mark.parametrize("shape", [(0, 4, 5), (3, 0, 5), (3, 4, 0), (0, 0, 0)])
def test_empty_volumes(door, shape):
    assert door(np.zeros((3, *shape)), np.zeros(shape, np.uint32)).size == 0


@doors
@pytest.mark.parametrize("layout", ["read-only", "fortran", "every second", "reversed"])
def test_any_layout(door, layout):
    affinities, labels = some_affinities(), small_labels((4, 5, 6))
    lay = {
        "read-only": np.copy,
        "fortran": np.asfortranarray,
        "every second": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
        "reversed": lambda a: a[..., ::-1].copy()[..., ::-1],
    }[layout]
    laid, laid_labels = lay(affinities), lay(labels)
    laid.flags.writeable = laid_labels.flags.writeable = False
    np.testing.assert_array_equal(door(laid, laid_labels), door(affinities, labels))


@doors
@pytest.mark.parametrize("dtype", [">f4", ">f8", ">u2"])
@pytest.mark.parametrize("label_type", [">u8", ">i4", ">u2"])
def test_big_endian(door, dtype, label_type):
    affinities, labels = some_affinities(), small_labels((4, 5, 6))
    options = {"encoding": LOGIT16} if dtype == ">u2" else {}
    stored = LOGIT16.encode(affinities) if dtype == ">u2" else affinities
    swapped = stored.astype(dtype)
    assert not swapped.dtype.isnative
    np.testing.assert_array_equal(
        door(swapped, labels.astype(label_type), **options), door(stored.astype(dtype[1:]), labels, **options)
    )


@doors
def test_float_affinities_have_no_encoding(door):
    """A volume whose attributes say that its floats are codes contradicts itself."""
    with pytest.raises(NeuropilError, match="floats are affinities"):
        door(some_affinities().astype("f4"), small_labels((4, 5, 6)), encoding=LOGIT8)


def test_a_volume_of_floats_with_an_encoding_is_refused():
    volume = array_volume(some_affinities().astype("f4"), Metadata(offsets=NEAREST, encoding=LOGIT8))
    for refuse in (neuropil.watershed, neuropil.mutex_watershed):
        with pytest.raises(NeuropilError, match="floats are affinities"):
            refuse(volume)


@doors
@pytest.mark.parametrize("twice", [[(-1, 0, 0), (1, 0, 0)], [(0, 0, -1), (0, 0, 1)], [(0, 0, -1), (0, 0, -1)]])
def test_an_edge_given_twice_is_refused(door, twice):
    """With both signs it would be one edge with two affinities."""
    offsets = [*(o for o in NEAREST if o not in twice), *twice]
    affinities = some_affinities((len(offsets), 4, 5, 6))
    with pytest.raises(NeuropilError, match="different edges"):
        door(affinities, small_labels((4, 5, 6)), offsets=offsets)


def test_an_image_of_two_dimensions():
    """[edge, 1, y, x] with the two edges within a section, through the whole room."""
    affinities = some_affinities((2, 1, 12, 13), seed=3)
    options = {"offsets": "plane"}
    fragments = neuropil.watershed(affinities, low=0.3, **options)
    tree = neuropil.agglomerate(affinities, fragments, **options)
    graph = neuropil.region_graph(affinities, fragments, **options)
    assert len(tree) == len(agglomerate_graph(graph)) > 0
    segmentation = tree.segment(fragments, 0.6, 20, graph)
    assert segmentation.shape == (1, 12, 13)
    assert neuropil.fill_background(affinities, segmentation, **options).min() == 1
    assert neuropil.mutex_watershed(affinities, **options).shape == (1, 12, 13)


def some_graph(histograms=True):
    fragments = small_labels((4, 5, 6))
    graph = neuropil.region_graph(some_affinities(), fragments, histograms=histograms)
    return fragments, graph, agglomerate_graph(graph)


LARGEST = 2**64 - 1


def assert_same_partition(a, b):
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1).shape[1]
    assert len(np.unique(a)) == len(np.unique(b)) == pairs


def test_ids_up_to_the_largest():
    affinities, near = some_affinities(), small_labels((4, 5, 6))
    far = near.astype(np.uint64) + np.uint64(LARGEST - int(near.max()))
    assert int(far.max()) == LARGEST
    tree, far_tree = neuropil.agglomerate(affinities, near), neuropil.agglomerate(affinities, far)
    assert_same_partition(far_tree.segment(far, 0.5), tree.segment(near, 0.5))
    graph, far_graph = (neuropil.region_graph(affinities, labels) for labels in (near, far))
    np.testing.assert_array_equal(far_tree.segment(far, 0.5, 9, far_graph), tree.segment(near, 0.5, 9, graph))
    holes = np.where(near > 11, 0, far)
    filled = neuropil.fill_background(affinities, holes)
    assert filled.dtype == np.uint64
    assert set(np.unique(filled)) == set(np.unique(holes)) - {0}
    seeds = np.where(near % 3 == 0, far, 0)
    mutex = neuropil.mutex_watershed(affinities, seeds=seeds)
    np.testing.assert_array_equal(mutex, neuropil.mutex_watershed(affinities, seeds=np.where(near % 3 == 0, near, 0)))
    clusters = cluster_fragments(signed_graph(affinities, far), far)
    np.testing.assert_array_equal(clusters, cluster_fragments(signed_graph(affinities, near), near))


def test_sizes_beyond_32_bits():
    """As counts of a volume of petavoxels would be."""
    graph = neuropil.region_graph(some_affinities(), np.where(small_labels((4, 5, 6)) > 2, 1, 2))
    sizes = np.array([0, 1 << 40, 1 << 41])
    assert merge_by_size(graph, sizes, size=1 << 40, weight=0, dust=0).tolist() == [0, 1, 2]
    assert merge_by_size(graph, sizes, size=(1 << 40) + 1, weight=0, dust=0).tolist() == [0, 1, 1]


@pytest.mark.parametrize("wrong", [1e300, "x", None, -2.1, [0.1, "y", 0.2], [[0.1], [0.2, 0.3]], 1j])
def test_what_is_no_bias_is_refused(wrong):
    with pytest.raises(NeuropilError, match="bias"):
        neuropil.mutex_watershed(some_affinities(), bias=wrong)
    with pytest.raises(NeuropilError, match="bias"):
        signed_graph(some_affinities(), small_labels((4, 5, 6)), bias=wrong)


@pytest.mark.parametrize("far", [2**63, -(2**63), 2**64, 2**41])
def test_offsets_too_far_to_add_are_refused(far):
    with pytest.raises(NeuropilError, match="offsets reach"):
        neuropil.mutex_watershed(some_affinities((1, 2, 2, 2)), [(0, 0, far)])


@pytest.mark.parametrize("wrong", [2.5, -1, "30", None])
def test_what_is_no_number_of_voxels_is_refused(wrong):
    fragments, graph, tree = some_graph()
    with pytest.raises(NeuropilError, match="min_size"):
        tree.segment(fragments, 0.5, wrong, graph)
    for name in ("size", "dust"):
        with pytest.raises(NeuropilError, match=name):
            merge_by_size(graph, np.zeros(graph.nodes + 1, int), **{name: wrong})


def test_more_voxels_than_there_are():
    fragments, graph, tree = some_graph()
    assert tree.segment(fragments, 0.5, 2**70, graph).max() <= 1


@pytest.mark.parametrize("score", [None, 50, "q٣", "q101", "q-1", "Mean", "q007", ""])
def test_what_is_no_score_is_refused(score):
    fragments, graph, _ = some_graph()
    with pytest.raises(NeuropilError, match="score"):
        neuropil.agglomerate(some_affinities(), fragments, score)
    with pytest.raises(NeuropilError, match="score"):
        agglomerate_graph(graph, score)


@doors
def test_masked_arrays_are_refused(door):
    """The values under a mask are anything, and no kernel sees the mask."""
    affinities, labels = some_affinities(), small_labels((4, 5, 6))
    with pytest.raises(NeuropilError, match="masked array"):
        door(np.ma.masked_less(affinities, 0.2), labels)
    if door not in (DOORS["watershed"], DOORS["mutex_watershed"], DOORS["fill_background"]):
        with pytest.raises(NeuropilError, match="masked array"):
            door(affinities, np.ma.masked_equal(labels, 1))


def test_masked_masks_seeds_and_volumes_are_refused():
    masked = np.ma.masked_equal(small_labels((4, 5, 6)), 1)
    for refuse in (
        lambda: neuropil.mutex_watershed(some_affinities(), mask=masked > 0),
        lambda: neuropil.mutex_watershed(some_affinities(), seeds=masked),
        lambda: neuropil.fill_background(some_affinities(), masked),
        lambda: array_volume(masked),
    ):
        with pytest.raises(NeuropilError, match="masked array"):
            refuse()


@pytest.mark.parametrize("wrong", [(1, 1), (0, 1, 1), (1.5, 1, 1), 3, "abc", (1, 1, -1)])
def test_what_is_no_triple_is_refused(wrong):
    affinities, labels = some_affinities(), small_labels((4, 5, 6))
    with pytest.raises(NeuropilError, match="strides must be three"):
        neuropil.mutex_watershed(affinities, strides=wrong)
    with pytest.raises(NeuropilError, match="strides must be three"):
        signed_graph(affinities, labels, strides=wrong)
    with pytest.raises(NeuropilError, match="block must be three"):
        neuropil.agglomerate(affinities, labels, block=wrong)


def test_any_number_of_threads():
    """More than the system gives are not started, whoever asks for them."""
    affinities = np.zeros((3, 200, 200, 2), np.uint8)
    assert neuropil.watershed(affinities, threads=10**12).max() == 0
    for wrong in (0, -1, 2.5, "2"):
        with pytest.raises(NeuropilError, match="threads"):
            neuropil.watershed(affinities, threads=wrong)


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.parametrize("megabytes", [160, 6])
def test_threads_that_the_system_refuses_are_done_without(megabytes):
    """Stacks of 8 MB for some of 900 threads; for none at all, not even the one that lets Ctrl-C stop a kernel."""
    script = f"""
import resource
import numpy as np, neuropil
affinities = np.random.default_rng(0).random((3, 30, 30, 30))
expected = neuropil.watershed(affinities, threads=1)
in_use = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")) * 1024
resource.setrlimit(resource.RLIMIT_AS, (in_use + ({megabytes} << 20),) * 2)
assert (neuropil.watershed(affinities, threads=900) == expected).all()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
