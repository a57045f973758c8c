"""The mutex watershed on fragments by blocks is that of the whole volume, voxel for voxel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuropil
from block_runs import by_blocks
from neuropil import NeuropilError, _native
from neuropil.blockwise import BlocksFailed, open_executor, segment_blocks
from neuropil.config import SegmentConfig
from neuropil.segmentation import cluster_fragments, segment, signed_graph
from neuropil.volumes import LOGIT8, Metadata, create_volume, open_volume, write_volume
from reference.affinity_cases import cases
from reference.partitions import partition

NEVER = np.uint32(0xFFFFFFFF)
LONG = (*neuropil.NEAREST, (-2, 0, 0), (0, -5, 0), (0, 0, -5), (-1, -3, 4))
BLOCKS = [(3, 4, 3), (3, 5, 9), (5, 3, 4), (1, 9, 8), (5, 1, 8), (5, 9, 1), (99, 99, 99), (2, 7, 6), (4, 8, 7)]


def whole(array, meta, config):
    """In memory, from the functions of the public interface."""
    offsets, encoding = meta.offsets, meta.encoding
    fragments = neuropil.watershed(array, low=config.low, high=config.high, offsets=offsets, encoding=encoding)
    bias = config.bias if len(config.bias) > 1 else config.bias[0]
    graph = signed_graph(array, fragments, offsets, bias=bias, strides=config.strides, encoding=encoding)
    return cluster_fragments(graph, fragments)


@settings(max_examples=8)
@given(
    cases(largest=6), st.tuples(*[st.integers(1, 5)] * 3),
    st.sampled_from(((-0.5,), (-0.25,), (-0.5, -0.25, -0.75, -0.5, -0.2))), st.sampled_from(((1, 1, 1), (2, 1, 3))),
    st.booleans(),
)  # fmt: skip
def test_blocks_do_not_show(tmp_path_factory, case, block, bias, strides, wide):
    """Any shape, type, sign and order of offsets, those that leave the volume included; few distinct values."""
    low, high = (0.3, 0.8) if wide else (1e-4, 0.9999)
    config = SegmentConfig(method="mutex", fragments=True, bias=bias, strides=strides, low=low, high=high)
    meta = Metadata(offsets=case.offsets, encoding=case.encoding, origin=(2, 3, 4))
    found = by_blocks(tmp_path_factory.mktemp("blocks"), case.array, meta, config, block)
    np.testing.assert_array_equal(partition(found), partition(whole(case.array, meta, config)))


def ties(seed, shape=(5, 9, 8)):
    """Affinities of a few values; the long edges tell a little less."""
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 4, (len(LONG), *shape)) * 80
    array[3:] = np.maximum(array[3:] - 40, 0)
    return array.astype(np.uint8)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_shape_with_heavy_ties(tmp_path, block):
    """Edges that reach beyond the next block, too; with and without a minimum size."""
    meta = Metadata(encoding=LOGIT8, offsets=LONG)
    for seed, (bias, size) in enumerate([(-0.5, 0), (-0.8, 40)]):
        folder = tmp_path / str(seed)
        folder.mkdir()
        array = ties(seed)
        config = SegmentConfig(method="mutex", fragments=True, bias=(bias,), min_size=size)
        found = by_blocks(folder, array, meta, config, block)
        expected = segment(open_volume(folder / "a.zarr"), config)
        assert expected.max() > 1
        np.testing.assert_array_equal(partition(found), partition(expected), err_msg=f"{bias} {size}")


@pytest.mark.slow
def test_workers(tmp_path):
    config, meta = SegmentConfig(method="mutex", fragments=True), Metadata(offsets=LONG)
    with open_executor(workers=2) as executor:
        found = by_blocks(tmp_path, ties(9), meta, config, (3, 5, 8), executor=executor)
    np.testing.assert_array_equal(partition(found), partition(whole(ties(9), meta, config)))


@given(st.integers(2, 12), st.integers(0, 30), st.integers(0, 2**32), st.integers(1, 4))
def test_parts_of_any_graph_are_decided_as_the_whole(nodes, edges, seed, parts):
    """Edges thrown into parts at random. A node is frozen in a part while it has an edge in another one."""
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(0, nodes, edges).astype(np.uint64) for _ in range(2))
    a, b = a[a != b], b[a != b]
    rank = rng.integers(0, 4, len(a)).astype(np.uint32) | (rng.integers(0, 2, len(a)) << 31).astype(np.uint32)
    voxel = rng.permutation(len(a)).astype(np.uint64)
    expected = slow_sweep(nodes, a, b, rank, voxel)

    part = rng.integers(0, parts, len(a))
    cluster, bars, left = np.arange(nodes, dtype=np.uint64), [np.zeros(0, np.uint64)] * 2, []
    for p in range(parts):
        inside = part == p
        frozen = np.ones(nodes, np.uint8)
        frozen[[n for n in range(nodes) if not np.isin(n, np.concatenate([a[~inside], b[~inside]]))]] = 0
        own, waits, rest, *more = _native.signed_part(
            (a[inside], b[inside], rank[inside], voxel[inside]), *[np.zeros(0, np.uint64)] * 2, frozen
        )
        assert (waits[frozen > 0] == 1).all()
        assert (own[frozen > 0] == np.flatnonzero(frozen)).all(), "what is frozen merges with nothing"
        cluster = np.where(own != np.arange(nodes), own, cluster)
        left.append(rest)
        bars = [np.concatenate(pair) for pair in zip(bars, more, strict=True)]
    columns = tuple(np.concatenate(column) for column in zip(*left, strict=True))
    final, waits, rest, *more = _native.signed_part(columns, *bars, np.zeros(nodes, np.uint8))
    assert not waits.any()
    assert not len(rest[0])
    assert not len(more[0])
    np.testing.assert_array_equal(partition(final[cluster.astype(int)] + 1), partition(expected + 1))


def slow_sweep(nodes, a, b, rank, voxel):
    """The mutex watershed as one would explain it."""
    cluster, excluded = {n: frozenset([n]) for n in range(nodes)}, set()
    for e in sorted(range(len(a)), key=lambda e: (rank[e] & 0x7FFFFFFF, voxel[e])):
        one, other = cluster[int(a[e])], cluster[int(b[e])]
        if one == other or any(frozenset((m, n)) in excluded for m in one for n in other):
            continue
        if rank[e] >> 31:
            excluded.add(frozenset((int(a[e]), int(b[e]))))
        else:
            for n in one | other:
                cluster[n] = one | other
    return np.array([min(cluster[n]) for n in range(nodes)])


def test_edges_without_weight_are_dropped():
    edge = (np.array([0], np.uint64), np.array([1], np.uint64), np.array([NEVER]), np.array([0], np.uint64))
    none = np.zeros(0, np.uint64)
    clusters, waits, left, *_ = _native.signed_part(edge, none, none, np.array([1, 0], np.uint8))
    assert clusters.tolist() == [0, 1]
    assert waits.tolist() == [1, 0]
    assert not len(left[0])


def test_an_unreadable_block_is_named_and_a_second_call_goes_on(tmp_path):
    array = ties(5, (4, 8, 40))[:3]
    with create_volume(tmp_path / "a.zarr", array.shape, array.dtype, chunks=(4, 8, 8)) as volume:
        volume.write(volume.box, array)
    chunk = tmp_path / "a.zarr/c/0/0/0/0"
    before = chunk.read_bytes()
    chunk.write_bytes(b"no chunk")
    config, options = SegmentConfig(method="mutex", fragments=True), {"block": (4, 8, 8)}
    with pytest.raises(BlocksFailed, match=r"watershed of block 0:4,0:8,0:8.*a.zarr"):
        segment_blocks(open_volume(tmp_path / "a.zarr"), tmp_path / "s.zarr", config, **options)
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "s.zarr.blocks").rglob("*.npz")}
    assert any("merge-0" in str(path) for path in done), "blocks that see nothing of it are done"
    chunk.write_bytes(before)

    def progress(step, count, total):
        if step == "watershed":
            assert all(path.stat().st_mtime_ns == time for path, time in done.items())

    segment_blocks(open_volume(tmp_path / "a.zarr"), tmp_path / "s.zarr", config, progress=progress, **options)
    expected = whole(array, Metadata(offsets=neuropil.NEAREST), config)
    np.testing.assert_array_equal(partition(open_volume(tmp_path / "s.zarr").read()), partition(expected))


def test_voxels_by_blocks_are_refused_and_the_command_line_takes_fragments(tmp_path, monkeypatch, capsys):
    from neuropil.__main__ import main

    meta = Metadata(offsets=LONG)
    write_volume(tmp_path / "a.zarr", ties(1), meta)
    with pytest.raises(NeuropilError, match=r"segment\.fragments"):
        segment_blocks(
            open_volume(tmp_path / "a.zarr"), tmp_path / "s.zarr", SegmentConfig(method="mutex"), block=(2, 2, 2)
        )
    for out, options in (("s.h5", ["--fragments"]), ("s.zarr", ["--block", "3,5,6"])):
        command = ["neuropil", "segment", f"{tmp_path}/a.zarr", "-o", f"{tmp_path}/{out}", "--method", "mutex"]
        monkeypatch.setattr("sys.argv", [*command, "--low", "0.2", *options])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, capsys.readouterr().err
    assert "by blocks the mutex watershed works on fragments" in capsys.readouterr().out
    found, expected = (open_volume(tmp_path / name).read() for name in ("s.zarr", "s.h5"))
    np.testing.assert_array_equal(partition(found), partition(expected))
    config = SegmentConfig(method="mutex", fragments=True, low=0.2)
    np.testing.assert_array_equal(expected, whole(ties(1), meta, config))
