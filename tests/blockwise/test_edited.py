"""A proofreader's decisions by blocks: the same edited segmentation as in memory, or the same refusal."""

import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from neuropil.blockwise import open_executor, segment_blocks
from neuropil.blockwise.edited import edges_inside, fragments_of
from neuropil.blockwise.graph import graph_blocks
from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Triple
from neuropil.proofreading.sources import apply_by_blocks, apply_log
from neuropil.segmentation import merge_tree, segment_volume
from neuropil.segmentation.edits import EditLog, log_header
from neuropil.volumes import LOGIT8, Metadata, Volume, open_volume, write_volume
from reference.partitions import partition

SCORES = ("mean", "max", "min", "q50")


@dataclass
class Case:
    """Affinities, their segmentation and a log, in a folder."""

    folder: Path
    affinities: Volume
    segmentation: Volume
    config: SegmentConfig
    block: Triple
    log: EditLog

    def outcomes(self, name, *ways):
        """What each way of writing gives: the voxels, or what it says; nothing else is left of a success."""
        return [self._outcome(self.folder / f"{name}{number}.zarr", way) for number, way in enumerate(ways)]

    def _outcome(self, output, way):
        before = set(self.folder.iterdir())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the note about the kept merge tree
                way(output)
        except NeuropilError as error:
            assert not output.exists()
            return str(error)
        assert set(self.folder.iterdir()) - before == {output}
        return open_volume(output).read()

    def applied(self):
        given = self.segmentation, self.log, self.affinities
        return self.outcomes(
            "applied",
            lambda output: apply_log(*given, output),
            lambda output: apply_by_blocks(*given, output, block=self.block),
        )

    def segmented(self):
        return self.outcomes(
            "segmented",
            lambda output: segment_volume(self.affinities, output, self.config, self.log),
            lambda output: segment_blocks(self.affinities, output, self.config, edits=self.log, block=self.block),
        )


def case_of(folder, seed, decisions=None):
    """A random volume; often with few distinct affinities, so that scores are often equal."""
    chance = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    shape = [int(chance.integers(low, high)) for low, high in ((2, 7), (5, 15), (5, 15))]
    array = np.float32(0.98) * chance.random((3, *shape)).astype(np.float32) ** np.float32(0.4)
    levels = int(chance.choice([0, 3, 5, 12]))
    array = np.floor(array * levels) / np.float32(levels) if levels else array
    coded = chance.random() < 0.3
    meta = Metadata(origin=tuple(chance.integers(0, 9, 3).tolist()), encoding=LOGIT8 if coded else None)
    write_volume(folder / "a.zarr", LOGIT8.encode(array) if coded else array, meta)
    low, high = (0.3, 0.9999) if chance.random() < 0.3 else (1e-4, 0.9999)
    config = SegmentConfig(
        score=str(chance.choice(SCORES)), low=low, high=high, threshold=float(chance.uniform(0.4, 0.95)),
        min_size=int(chance.choice([0, 4])),
    )  # fmt: skip
    affinities = open_volume(folder / "a.zarr")
    segment_volume(affinities, folder / "s.zarr", config)
    segmentation = open_volume(folder / "s.zarr")
    log = EditLog.begin(folder / "log", log_header(affinities, config))
    block = tuple(chance.integers((2, 5, 5), (7, 15, 15)).tolist())
    case = Case(folder, affinities, segmentation, config, block, log)
    decide(case, chance, int(chance.integers(1, 7)) if decisions is None else decisions)
    return case


def decide(case, chance, many):
    """Append decisions: anywhere, within one segment, or about the points of an earlier one."""
    array, log = case.segmentation.read(), case.log
    inside, fragments = np.argwhere(array > 0), merge_tree(case.affinities, case.config).nodes

    def place(among=inside):
        return tuple(int(c) for c in chance.choice(among) + case.segmentation.box.start)

    for _ in range(many if len(inside) else 0):
        kind = str(chance.choice(["join", "join", "separate", "separate", "keep", "unsure", "undo"]))
        a, b = place(), place()
        if kind == "undo":
            with suppress(NeuropilError):  # of nothing, or undone already
                log.append("undo", undoes=int(chance.integers(len(log.edits) + 1)))
            continue
        if kind == "separate":
            at = tuple(np.subtract(a, case.segmentation.box.start))
            others = np.argwhere((array == array[at]) & (fragments != fragments[at]))
            b = place(others) if len(others) else b
        earlier = [edit for edit in log.edits if edit.kind in ("join", "separate")]
        if earlier and chance.random() < 0.2:
            other = earlier[int(chance.integers(len(earlier)))]
            kind, a, b = "join" if other.kind == "separate" else "separate", other.a, other.b
        log.append(kind, a, b)


def test_fifty_random_logs(tmp_path):
    """Applied, voxel for voxel; segmented, the same segments; or refused, in the same words."""
    seen = Counter()
    for seed in range(50):
        case = case_of(tmp_path / str(seed), seed)
        whole, parts = case.applied()
        if isinstance(whole, str):
            assert parts == whole, seed
            seen["contradicts" if "contradicts" in whole else "refused"] += 1
        else:
            np.testing.assert_array_equal(parts, whole, str(seed))
            seen["changed"] += not np.array_equal(whole, case.segmentation.read())
            seen["separated"] += whole.max() > case.segmentation.read().max()
        whole, parts = case.segmented()
        if isinstance(whole, str):
            assert parts == whole, seed
        else:
            np.testing.assert_array_equal(partition(parts), partition(whole), str(seed))
    assert seen["changed"] >= 20, seen
    assert seen["separated"] >= 10, seen
    assert seen["contradicts"] >= 5, seen


def strip(folder, meta=None):
    """Eight voxels in a row; four fragments, all in one segment; the weakest merge in the middle."""
    array = np.zeros((3, 1, 1, 8), np.float32)
    array[2, 0, 0, 1:] = [0.99995, 0.9, 0.99995, 0.6, 0.99995, 0.8, 0.99995]
    write_volume(folder / "a.zarr", array, meta)
    config, affinities = SegmentConfig(threshold=0.5, min_size=0), open_volume(folder / "a.zarr")
    segment_volume(affinities, folder / "s.zarr", config)
    log = EditLog.begin(folder / "log", log_header(affinities, config))
    return Case(folder, affinities, open_volume(folder / "s.zarr"), config, (1, 1, 3), log)


def test_a_contradiction_keeps_the_tree_for_the_next_try(tmp_path):
    """The decision is undone, and the same call ends; what others ask of the log in between changes nothing."""
    case = strip(tmp_path)
    case.log.append("separate", (0, 0, 0), (0, 0, 7))
    wrong = case.log.append("join", (0, 0, 1), (0, 0, 6))
    given = case.segmentation, case.log, case.affinities, tmp_path / "e.zarr"
    with (
        pytest.warns(UserWarning, match="keeps the merge tree: the same command goes on once the"),
        pytest.raises(NeuropilError, match=r"line 3: join .* contradicts line 2: separate"),
    ):
        apply_by_blocks(*given, block=case.block)
    (job,) = (tmp_path / "e.zarr.blocks").iterdir()
    made = (job / "graph-0/000000/000.npz").stat().st_mtime_ns
    case.log.append("undo", undoes=wrong.id)

    def look(label, done, of):
        assert (job / "graph-0/000000/000.npz").stat().st_mtime_ns == made

    apply_by_blocks(*given, block=case.block, progress=look)
    assert open_volume(tmp_path / "e.zarr").read().tolist() == [[[1, 1, 1, 1, 2, 2, 2, 2]]]
    assert not (tmp_path / "e.zarr.blocks").exists()


def test_an_interrupted_run_goes_on_and_other_decisions_begin_anew(tmp_path):
    """Stopped while the second block is written; then the log grows, shrinks, and grows again to the same."""
    case = strip(tmp_path)
    case.log.append("separate", (0, 0, 0), (0, 0, 7))
    given = case.segmentation, case.log, case.affinities, tmp_path / "e.zarr"

    def stop(label, done, of):
        if label == "writing" and done == 2:
            raise KeyboardInterrupt

    for undoes in (None, 1, None):
        if undoes is None:
            case.log.append("separate", (0, 0, 4), (0, 0, 7))
        else:
            case.log.append("undo", undoes=len(case.log.edits))
        with pytest.raises(KeyboardInterrupt):
            apply_by_blocks(*given, block=case.block, progress=stop)
        assert not (tmp_path / "e.zarr").exists()
    apply_by_blocks(*given, block=case.block)
    assert open_volume(tmp_path / "e.zarr").read().tolist() == [[[1, 1, 1, 1, 2, 2, 3, 3]]]
    assert open_volume(tmp_path / "e.zarr").metadata.extra["edits"] == {"log": "log", "applied": 2}
    assert not (tmp_path / "e.zarr.blocks").exists()


def test_segmenting_is_not_repeated_for_other_decisions(tmp_path):
    case = strip(tmp_path)
    case.log.append("separate", (0, 0, 0), (0, 0, 7))

    def stop(label, done, of):
        if label == "writing":
            raise KeyboardInterrupt

    options = {"edits": case.log, "block": case.block}
    with pytest.raises(KeyboardInterrupt):
        segment_blocks(case.affinities, tmp_path / "e.zarr", case.config, progress=stop, **options)
    (job,) = (path for path in (tmp_path / "e.zarr.blocks").iterdir() if path.is_dir())
    made = (job / "relabel-0/000000/000.npz").stat().st_mtime_ns
    case.log.append("separate", (0, 0, 4), (0, 0, 7))
    seen = set()

    def look(label, done, of):
        seen.add((job / "relabel-0/000000/000.npz").stat().st_mtime_ns)

    assert segment_blocks(case.affinities, tmp_path / "e.zarr", case.config, progress=look, **options) == 3
    assert seen == {made}
    found = open_volume(tmp_path / "e.zarr")
    assert found.read().tolist() == [[[1, 1, 1, 1, 2, 2, 3, 3]]]
    assert found.metadata.extra["edits"] == {"log": "log", "applied": 2}
    assert not (tmp_path / "e.zarr.blocks").exists()


@pytest.mark.parametrize("name", ["e.h5", "e.n5", "e.zarr/volumes/seg"])
def test_outputs_and_metadata(tmp_path, name):
    case = strip(tmp_path, Metadata(voxel_size=(30, 6, 6), origin=(4, 5, 6)))
    case.log.append("separate", (4, 5, 6), (4, 5, 13))
    apply_log(case.segmentation, case.log, case.affinities, tmp_path / "whole.zarr")
    apply_by_blocks(case.segmentation, case.log, case.affinities, tmp_path / name, block=case.block)
    whole, parts = open_volume(tmp_path / "whole.zarr"), open_volume(tmp_path / name)
    assert np.array_equal(whole.read(), parts.read())
    assert parts.metadata == whole.metadata
    assert not list(tmp_path.glob("*.blocks"))


def test_joins_alone_need_no_affinities(tmp_path):
    case = case_of(tmp_path, 7, decisions=0)
    inside = np.argwhere(case.segmentation.read() > 0) + case.segmentation.box.start
    first, last = (tuple(map(int, inside[row])) for row in (0, -1))
    case.log.append("join", first, last)
    apply_log(case.segmentation, case.log, None, tmp_path / "whole.zarr")
    seen = []

    def look(*at):
        seen.append(at)

    apply_by_blocks(case.segmentation, case.log, None, tmp_path / "parts.zarr", block=case.block, progress=look)
    whole, parts = open_volume(tmp_path / "whole.zarr"), open_volume(tmp_path / "parts.zarr")
    assert np.array_equal(whole.read(), parts.read())
    assert not np.array_equal(whole.read(), case.segmentation.read())
    assert seen[-1][1] == seen[-1][2] > 1


def test_on_processes(tmp_path):
    case = strip(tmp_path)
    case.log.append("separate", (0, 0, 0), (0, 0, 7))
    with open_executor(2) as executor:
        segment_blocks(
            case.affinities, tmp_path / "e.zarr", case.config, edits=case.log, block=case.block, executor=executor
        )
    assert open_volume(tmp_path / "e.zarr").read().tolist() == [[[1, 1, 1, 1, 2, 2, 2, 2]]]


def test_what_blocks_cannot_do_is_refused_by_name(tmp_path):
    case = strip(tmp_path)
    case.log.append("separate", (0, 0, 0), (0, 0, 7))
    filled = case.config.model_copy(update={"fill": True})
    segment_volume(case.affinities, tmp_path / "f.zarr", filled)
    with pytest.raises(NeuropilError, match=r"f.zarr was made with segment.fill, .* leave out the block options"):
        apply_by_blocks(open_volume(tmp_path / "f.zarr"), case.log, case.affinities, tmp_path / "e.zarr")
    with pytest.raises(NeuropilError, match="leave out --fill, or --block"):
        segment_blocks(case.affinities, tmp_path / "e.zarr", filled, edits=case.log)
    mutex = SegmentConfig(method="mutex", fragments=True)
    with pytest.raises(NeuropilError, match=r"a\.zarr: edits are about the merge tree of method agglomerate, got"):
        segment_blocks(case.affinities, tmp_path / "e.zarr", mutex, edits=case.log)
    with pytest.raises(NeuropilError, match=r"would replace .*s.zarr"):
        apply_by_blocks(case.segmentation, case.log, case.affinities, tmp_path / "s.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "f.zarr", "log", "s.zarr"]


def test_fragments_and_edges_are_those_in_memory(tmp_path):
    """Of any box of fragments, and of any choice of them."""
    case = case_of(tmp_path, 3, decisions=0)
    made = merge_tree(case.affinities, case.config)
    chance = np.random.default_rng(0)
    chosen = chance.random(made.tree.fragments + 1) < 0.7
    with graph_blocks(case.affinities, case.segmentation, case.config, (), block=(2, 5, 4)) as found:
        fragments, graph = fragments_of(found.job), edges_inside(found, chosen)
        assert np.array_equal(fragments.read(), made.nodes)
        for _ in range(20):
            ends = np.sort([chance.choice(n + 1, 2, replace=False) for n in fragments.shape])
            box = Box(*(tuple(map(int, end)) for end in ends.T)).shift(fragments.box.start)
            assert np.array_equal(fragments.read(box), made.placed(made.nodes).read(box))
    inside = chosen[made.graph.a] & chosen[made.graph.b]
    assert 0 < len(graph) == inside.sum() < len(inside)
    for name in ("a", "b", "count", "sum", "key"):
        assert np.array_equal(getattr(graph, name), getattr(made.graph, name)[inside]), name
