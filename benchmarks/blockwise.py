"""Segmentation by blocks: throughput and memory of workers as volumes grow, cost of each step, and volara beside it.

    python benchmarks/blockwise.py AFFINITIES [--only exact|growth|steps|volara] [--sizes 33M,134M] [--work DIR]
                                   [--block Z,Y,X] [--out FILE.json]

AFFINITIES is an array of real ones with logit8 codes, such as 32×1024×1024 predicted by ``neuropil predict``. Larger
volumes are made of it by mirrors, edges moved as the mirror moves them.

exact   a crop by blocks of nine shapes and all scores, compared with the same in memory
growth  33 Mvoxel to 1.07 Gvoxel on two workers of 3 GB, and tall ones, against one core and two in memory up to 134
        Mvoxel. The largest needs 25 GB of disk; sizes for which there is too little are left out
steps   seconds of every step per voxel and per edge, and what is left of the graph per area of face, by block size
volara  33 Mvoxel: fragments, agglomeration, look-up and relabelling by volara, and by neuropil (the median of one run
        before and two after), two workers each (pip install 'neuropil[bench]'); --sizes tiny for a crop
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import neuropil
from neuropil import Box, Metadata, Volume
from neuropil.blockwise import Cluster, segment_blocks
from neuropil.config import SegmentConfig
from neuropil.geometry import Triple, blocks
from neuropil.volumes import create_volume, open_volume, write_volume

THRESHOLD = 0.3
SIZES: dict[str, Triple] = {
    "tiny": (64, 128, 192),
    "33M": (64, 512, 1024),
    "134M": (64, 1024, 2048),
    "tall": (256, 512, 1024),
    "268M": (64, 2048, 2048),
    "1.07G": (64, 4096, 4096),
}
IN_MEMORY = 1 << 27
"""Voxels up to which growth is compared with work in memory, for which it takes 3 GB."""

DISK = 22.0
"""Bytes per voxel that affinities, files between and the segmentation take at most."""


def mirrored(source: np.ndarray, box: Box) -> np.ndarray:
    """A box of the endless volume in which ``source`` [3, z, y, x] and its mirror images alternate on every axis."""
    whole = []
    for channel in range(3):
        lines = []
        for axis in range(3):
            n, at = source.shape[1 + axis], np.arange(box.start[axis], box.stop[axis]) % (2 * source.shape[1 + axis])
            if axis == channel:  # the edge below voxel p of the mirror image is stored at 2n - p of the original
                lines.append(np.where(at < n, np.where(at == 0, min(1, n - 1), at), np.minimum(2 * n - at, n - 1)))
            else:
                lines.append(np.where(at < n, at, 2 * n - 1 - at))
        whole.append(source[channel][np.ix_(*lines)])
    return np.stack(whole)


def make(source: Volume, shape: Triple, path: Path) -> Path:
    """A volume of mirror images on disk, unless it is there."""
    if not path.exists():
        array = source.read()
        metadata = Metadata(offsets=source.metadata.offsets, encoding=source.metadata.encoding)
        with create_volume(path, (3, *shape), array.dtype, metadata, chunks=(32, 256, 256)) as volume:
            for box in blocks(volume.box, (32, 1024, 1024)):
                volume.write(box, mirrored(array, box))
    return path


def in_memory(path: Path, threads: int) -> dict[str, float]:
    """Seconds without reading and writing, and peak memory."""
    volume = open_volume(path)
    array, meaning = volume.read(), volume.metadata.encoding
    start, begun = time.perf_counter(), time.process_time()
    fragments = neuropil.watershed(array, encoding=meaning, threads=threads)
    tree = neuropil.agglomerate(array, fragments, encoding=meaning, threads=threads)
    tree.segment(fragments, THRESHOLD)
    seconds, busy = time.perf_counter() - start, time.process_time() - begun
    return {
        "seconds": seconds, "mvoxel_per_s_core": array[0].size / seconds / 1e6 / threads,
        "cpu_us_per_voxel": 1e6 * busy / array[0].size, "peak_gb": peak(),
    }  # fmt: skip


def warm() -> None:
    """Import what tasks will need, which is not what is measured."""
    import neuropil.blockwise.segment  # noqa: F401


def peak() -> float:
    """Largest memory of this process, GB; unlike getrusage without that of the process it was made by."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e9


def by_blocks(path: Path, block: Triple, workers: int, work: Path) -> dict[str, Any]:
    """Workers of 3 GB: seconds of every step with reading and writing, and the memory of the largest worker."""
    import dask
    from distributed import Client

    from neuropil.blockwise.executor import LOCAL_SETTINGS, local_cluster

    steps: dict[str, float] = defaultdict(float)
    last = [time.perf_counter()]

    def progress(step: str, done: int, total: int) -> None:
        now = time.perf_counter()
        steps[step.partition(",")[0]] += now - last[0]
        last[0] = now

    shutil.rmtree(work, ignore_errors=True)
    dask.config.set(LOCAL_SETTINGS | {"temporary-directory": str(work.parent / "dask")})
    with local_cluster(workers, memory_limit="3GB") as cluster, Client(cluster) as client:
        client.run(warm)
        begun = sum(client.run(time.process_time).values()) + time.process_time()
        start = last[0] = time.perf_counter()
        volume = open_volume(path)
        segments = segment_blocks(
            volume, work / "s.zarr", SegmentConfig(threshold=THRESHOLD), block=block, progress=progress,
            executor=Cluster(client, local=True),
        )  # fmt: skip
        seconds = time.perf_counter() - start
        busy = sum(client.run(time.process_time).values()) + time.process_time() - begun
        memory = max(client.run(peak).values())
    shutil.rmtree(work, ignore_errors=True)
    voxels = int(np.prod(volume.shape[1:]))
    return {
        "voxels": voxels, "segments": segments, "seconds": seconds, "peak_gb_per_worker": memory,
        "mvoxel_per_s_core": voxels / seconds / 1e6 / workers, "cpu_us_per_voxel": 1e6 * busy / voxels,
        "us_per_voxel_core": {step: 1e6 * workers * s / voxels for step, s in steps.items()},
    }  # fmt: skip


def fresh(call: Any, *arguments: Any) -> Any:
    """The result of a call in a process of its own, so that memory is the call's."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(call, *arguments).result()


def growth(source: Volume, work: Path, sizes: list[str], block: Triple) -> dict[str, Any]:
    found: dict[str, Any] = {}
    core: dict[int, float] = {}
    for name in sizes:
        shape = SIZES[name]
        work.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(work).free < DISK * np.prod(shape):
            print(f"{name} is left out: it needs {DISK * np.prod(shape) / 1e9:.0f} GB of disk")
            continue
        path = make(source, shape, work / f"{name}.zarr")
        for threads in (1, 2) if np.prod(shape) <= IN_MEMORY else ():
            title = f"in memory, {name}, cores: {threads}"
            found[title] = report(title, fresh(in_memory, path, threads))
            core[threads] = found[title]["mvoxel_per_s_core"]
        found[name] = by_blocks(path, block, 2, work / "run")
        ratios = {f"of_{n}_cores_in_memory": found[name]["mvoxel_per_s_core"] / rate for n, rate in core.items()}
        report(name, found[name] | ratios)
        shutil.rmtree(path)
    return found


def steps(source: Volume, work: Path, sizes: list[str], _: Triple) -> dict[str, Any]:
    """Processor time in this process, so that nothing but the steps is measured; edges as the steps count them."""
    from neuropil.blockwise import runner

    found: dict[str, Any] = {}
    shape = SIZES[sizes[0]]
    path = make(source, shape, work / f"{sizes[0]}.zarr")
    for block in [(64, 128, 128), (64, 256, 256), (64, 512, 512), (32, 512, 512)]:
        spent: dict[str, float] = defaultdict(float)
        edges: dict[str, int] = defaultdict(int)
        original = runner.perform

        def timed(kind: Any, folder: str, step: str, call: Any, node: tuple[int, int]) -> dict[str, int]:
            start = time.process_time()
            summary = original(kind, folder, step, call, node)  # noqa: B023
            name = f"{step} {node[0]}"
            spent[name] += time.process_time() - start  # noqa: B023
            edges[name] += summary["edges"]  # noqa: B023
            return summary

        runner.perform = timed
        try:
            segment_blocks(open_volume(path), work / "s.zarr", SegmentConfig(threshold=THRESHOLD), block=block)
        finally:
            runner.perform = original
            shutil.rmtree(work / "s.zarr", ignore_errors=True)
        tree = neuropil.blockwise.BlockTree(shape, block)
        area = [sum(inner_faces(tree, (level, i)) for i in range(tree.count(level))) for level in range(tree.levels)]
        left = {f"level {level}": edges[f"merge {level}"] / area[level] for level in range(tree.levels - 1)}
        found[str(block)] = report(
            str(block),
            {
                "ns_per_voxel": {name: 1e9 * s / np.prod(shape) for name, s in spent.items()},
                "us_per_edge_of_tree": 1e6
                * sum(spent[f"merge {level}"] for level in range(1, tree.levels))
                / max(edges["merge 0"], 1),
                "edges_left_per_face_voxel": left,
            },
        )
    return found


def inner_faces(tree: Any, node: tuple[int, int]) -> int:
    """Voxels at the faces of a block behind which the volume goes on."""
    shape, outer = tree.box(node).shape, tree.outer(node)
    return sum(int(np.prod(shape)) // shape[side // 2] for side in range(6) if outer >> side & 1)


def exact(source: Volume, work: Path, _: list[str], __: Triple) -> dict[str, Any]:
    start = source.box.start
    array = source.read(Box.at(start, (12, 128, 120)))
    metadata = Metadata(offsets=source.metadata.offsets, encoding=source.metadata.encoding)
    shutil.rmtree(work, ignore_errors=True)
    write_volume(work / "a.zarr", array, metadata)
    shapes = [(5, 50, 50), (12, 64, 120), (1, 128, 120), (12, 128, 37), (9, 41, 43), (99, 999, 999), (5, 33, 120),
              (12, 9, 120), (11, 127, 119)]  # fmt: skip
    same: dict[str, bool] = {}
    fragments = neuropil.watershed(array, encoding=metadata.encoding)
    for score in ("mean", "max", "min", "q50", "q85"):
        graph = neuropil.region_graph(array, fragments, histograms=True, encoding=metadata.encoding)
        tree = neuropil.agglomerate(array, fragments, score, encoding=metadata.encoding)
        for min_size in (0, 50):
            wanted = tree.segment(fragments, THRESHOLD, min_size, graph)
            for block in shapes:
                config = SegmentConfig(threshold=THRESHOLD, score=score, min_size=min_size)
                count = segment_blocks(open_volume(work / "a.zarr"), work / "s.zarr", config, block=block)
                found = open_volume(work / "s.zarr").read()
                pairs = len(np.unique(found.astype(np.uint64) << np.uint64(32) | wanted))
                background = bool(((found == 0) == (wanted == 0)).all())
                expected = int(wanted.max()) + bool((wanted == 0).any())
                same[f"{score}, minimum {min_size}, {block}"] = (
                    background and pairs == expected and count == wanted.max()
                )
    wrong = [name for name, right in same.items() if not right]
    return report("exact", {"cases": len(same), "wrong": wrong})


def volara(source: Volume, work: Path, sizes: list[str], block: Triple) -> dict[str, Any]:
    """As in volara's examples: mutex watershed per block, affinity statistics, graph, look-up, relabelling."""
    shape = SIZES[sizes[0]]
    path = make(source, shape, work / f"{sizes[0]}.zarr")
    array = open_volume(path).read(Box.whole(shape))
    runs = [by_blocks(path, block, 2, work / "run")]
    values = source.metadata.encoding.decode(array) if source.metadata.encoding else array / np.float32(255)
    found = {
        "volara": report("volara", {"seconds": fresh(run_volara, values.astype(np.float32), str(work / "volara"))})
    }
    found["volara"]["mvoxel_per_s_core"] = array[0].size / found["volara"]["seconds"] / 2e6
    runs += [by_blocks(path, block, 2, work / "run") for _ in range(2)]
    found["neuropil"] = report("neuropil", sorted(runs, key=lambda run: run["seconds"])[1])
    return report("ratio", found | {"ratio": found["volara"]["seconds"] / found["neuropil"]["seconds"]})


def run_volara(values: np.ndarray, folder: str) -> float:
    """Seconds of the four tasks with two workers."""
    from funlib.persistence import prepare_ds
    from volara.blockwise import AffAgglom, ExtractFrags, GraphMWS, Relabel
    from volara.datasets import Affs, Labels
    from volara.dbs import SQLite
    from volara.lut import LUT

    shutil.rmtree(folder, ignore_errors=True)
    Path(folder).mkdir(parents=True)
    os.chdir(folder)
    store = prepare_ds(
        "a.zarr/affs", values.shape, offset=(0, 0, 0), voxel_size=(1, 1, 1), dtype=np.float32, mode="w",
        axis_names=["c^", "z", "y", "x"], chunk_shape=(3, 32, 256, 256), units=["nm"] * 3,
    )  # fmt: skip
    store[:] = values
    near = [(-1, 0, 0), (0, -1, 0), (0, 0, -1)]
    affs = Affs(store=Path("a.zarr/affs"), neighborhood=near)
    frags, seg = Labels(store=Path("a.zarr/frags")), Labels(store=Path("a.zarr/seg"))
    db, lut = SQLite(path=Path("graph.sqlite"), edge_attrs={"affs": "float"}), LUT(path="lut.npz")
    block = [min(n, m) for n, m in zip((32, 256, 256), values.shape[1:], strict=True)]
    common = {"db": db, "affs_data": affs, "frags_data": frags, "block_size": block, "num_workers": 2}
    tasks = [
        ExtractFrags(**common, context=(2, 16, 16), bias=[-0.5] * 3),
        AffAgglom(**common, context=(1, 1, 1), scores={"affs": near}),
        GraphMWS(db=db, lut=lut, weights={"affs": (1.0, -THRESHOLD)}, roi=((0, 0, 0), values.shape[1:])),
        Relabel(frags_data=frags, seg_data=seg, lut=lut, block_size=block, num_workers=2),
    ]
    start = time.perf_counter()
    for task in tasks:
        task.run_blockwise(multiprocessing=True)
    return time.perf_counter() - start


def report(name: str, found: dict[str, Any]) -> dict[str, Any]:
    print(name, json.dumps(found, indent=1, default=str), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("affinities")
    parser.add_argument("--only", choices=["exact", "growth", "steps", "volara"])
    parser.add_argument("--sizes", default="33M,134M,tall,268M,1.07G", help=", ".join(SIZES))
    parser.add_argument("--work", type=Path, default=Path("blockwise-benchmark"))
    parser.add_argument("--block", default="64,512,512", help="z,y,x of growth and volara; %(default)s")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    z, y, x = (int(n) for n in options.block.split(","))
    source = open_volume(options.affinities)
    chosen = [options.only] if options.only else ["exact", "steps", "growth", "volara"]
    calls = {"exact": exact, "growth": growth, "steps": steps, "volara": volara}
    sizes = options.sizes.split(",")
    found = {name: calls[name](source, options.work.resolve() / name, sizes, (z, y, x)) for name in chosen}
    if options.out:
        options.out.write_text(json.dumps(found, indent=1, default=str))


if __name__ == "__main__":
    main()
