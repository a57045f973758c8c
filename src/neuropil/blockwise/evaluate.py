"""Scores of a segmentation of any size: contingency tables of blocks, added up the tree."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from neuropil.blockwise.engine import BlocksFailed, Engine, Failure, Serial, Summary, Task
from neuropil.blockwise.job import FORMAT, load_arrays, save_arrays
from neuropil.blockwise.segment import Watch
from neuropil.blockwise.tree import BlockTree, Node
from neuropil.evaluation import Contingency, Scores, contingency
from neuropil.evaluation.placing import place
from neuropil.evaluation.scores import scores_of
from neuropil.evaluation.table import total
from neuropil.geometry import Box, Triple
from neuropil.volumes import Volume, open_volume, stamp
from neuropil.volumes.atomic import replacing
from neuropil.volumes.intermediate import holding, work_folder
from neuropil.volumes.location import absolute_path


def evaluate_blocks(
    segmentation: Volume,
    labels: Volume,
    *,
    block: Triple,
    work: Path | str | None = None,
    box: Box | None = None,
    engine: Engine | None = None,
    watch: Watch | None = None,
) -> Scores:
    """:func:`neuropil.evaluate` of volumes in files, block by block: the same scores, since tables of blocks add.

    Args:
        segmentation, labels: ids ``[z, y, x]``, in files.
        block: voxels (z, y, x) of a block.
        work: folder for tables, which all workers can reach; beside the segmentation when not given. One that was there
            before stays.
        box: as for :func:`neuropil.evaluate`.
        engine: who does the work; this process when not given.
        watch: is told of progress.

    Raises:
        NeuropilError: as :func:`neuropil.evaluate`.
        BlocksFailed: blocks that could not be read.

    >>> import tempfile, numpy as np
    >>> from neuropil.volumes import write_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volume(f"{folder}/a.zarr", np.arange(24, dtype=np.uint32).reshape(2, 3, 4) // 6 + 1)
    ...     volume = open_volume(f"{folder}/a.zarr")
    ...     evaluate_blocks(volume, volume, block=(1, 2, 3)).adapted_rand_error
    0.0
    """
    placed = place(segmentation, labels, box)
    asked = {
        "format": [FORMAT, version("neuropil")],
        "segmentation": absolute_path(segmentation.path), "labels": absolute_path(labels.path),
        "start": placed.box.start, "stop": placed.box.stop,
        "block": [min(b, n) for b, n in zip(block, placed.box.shape, strict=True)],
        "made": [stamp(segmentation.path), stamp(labels.path)],
    }  # fmt: skip
    around = work_folder(work, segmentation.path, "scores.blocks")
    around.begin()
    folder = around.path.resolve() / sha256(json.dumps(asked).encode()).hexdigest()[:16]
    with replacing(folder / "job.json") as temporary:
        temporary.write_text(json.dumps(asked))
    with holding(folder):
        scores = scores_of(_count(folder, engine or Serial(), watch))
        _sweep(around.path, asked)
        around.end(folder)
    return replace(scores, box=str(placed.box))


def _count(folder: Path, engine: Engine, watch: Watch | None) -> Contingency:
    """The table of the whole, added up the tree."""
    tree, failures, done = _tree(str(folder)), list[Failure](), 0
    for level in range(tree.levels):
        nodes = [(level, index) for index in range(tree.count(level))]
        name = "counting pairs" if level == 0 else f"adding tables, level {level}"
        tasks = (Task(count_pairs, (str(folder), node), name, str(_box(str(folder), node)), node) for node in nodes)
        for count, (_, outcome) in enumerate(engine.run(tasks), 1):
            done += not isinstance(outcome, Failure)
            failures += [outcome] if isinstance(outcome, Failure) else []
            if watch is not None:
                watch(name, count, len(nodes))
        if failures:
            raise BlocksFailed(failures, done)
    return _load(str(folder), tree.root)


def _sweep(work: Path, asked: dict[str, Any]) -> None:
    """Remove tables that nobody will ask for again, left by runs that were stopped: of this box in other blocks, and of
    volumes that are no longer what they were. Those of other volumes and boxes stay: they may be at work."""
    asked = json.loads(json.dumps(asked))
    for job in work.glob("*/job.json"):
        try:
            other = json.loads(job.read_text())
            same = all(other[key] == asked[key] for key in ("segmentation", "labels", "start", "stop"))
            if same or other["made"] != [stamp(other[key]) for key in ("segmentation", "labels")]:
                shutil.rmtree(job.parent)
        except (OSError, ValueError, KeyError, TypeError):  # being removed or made by another run, or not ours
            continue


def count_pairs(folder: str, node: Node) -> Summary:
    """The table of a block, counted or added up from those of its children, unless its file is there."""
    path = _file(folder, node)
    if not path.exists():
        tree, asked = _tree(folder), _asked(folder)
        if node[0]:
            table = total(_load(folder, child) for child in tree.children(node))
        else:
            box = _box(folder, node)
            with open_volume(asked["segmentation"]) as segmentation, open_volume(asked["labels"]) as labels:
                table = contingency(segmentation.read(box), labels.read(box), threads=1)
        save_arrays(path, {"truth": table.truth, "segment": table.segment, "count": table.count})
    return {}


@lru_cache(maxsize=8)
def _asked(folder: str) -> dict[str, Any]:
    return dict(json.loads((Path(folder) / "job.json").read_text()))


def _tree(folder: str) -> BlockTree:
    asked = _asked(folder)
    z, y, x = asked["block"]
    return BlockTree(Box(tuple(asked["start"]), tuple(asked["stop"])).shape, (z, y, x))


def _box(folder: str, node: Node) -> Box:
    return _tree(folder).box(node).shift(_asked(folder)["start"])


def _file(folder: str, node: Node) -> Path:
    level, index = node
    return Path(folder) / f"pairs-{level}" / f"{index // 1000:06d}" / f"{index % 1000:03d}.npz"


def _load(folder: str, node: Node) -> Contingency:
    return Contingency(*load_arrays(_file(folder, node), "truth", "segment", "count"))
