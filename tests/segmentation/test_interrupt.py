"""Long kernels leave the interpreter free, and Ctrl-C stops them within a second.

Seconds are those that the process computes, not those of the clock: a busy machine makes no difference.
"""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, os, signal, threading, time
import numpy as np
import neuropil
from neuropil.blockwise.edges import merge
from neuropil.evaluation.table import contingency
from neuropil.segmentation import agglomerate_graph, basins, merge_by_size, merge_in_order, signed_graph
from neuropil.segmentation.scores import Score

shape = (20, 160, 160)
codes = np.random.default_rng(0).integers(0, 255, (3, *shape), np.uint8)
each_voxel = np.arange(1, codes[0].size + 1, dtype=np.uint64).reshape(shape)
corner = np.where(each_voxel == 1, 1, 0)
graph = neuropil.region_graph(codes, each_voxel)
signs = signed_graph(codes, each_voxel)
tree = neuropil.agglomerate(codes, each_voxel)
endless = np.broadcast_to(np.uint8(1), (100_000, 1000, 1000))
sizes = np.ones(graph.nodes + 1, np.int64)
ends = np.stack([graph.a, graph.b], axis=1)
ties = codes // 128 * 200
wide = (graph.a.astype(np.uint64), graph.b.astype(np.uint64), *graph.columns[2:])
nothing = np.zeros(graph.nodes + 1, np.uint8)
kernels = {
    "watershed": lambda: neuropil.watershed(codes, threads=1),
    "region_graph": lambda: neuropil.region_graph(codes, each_voxel, histograms=True, threads=1),
    "agglomerate": lambda: neuropil.agglomerate(codes, each_voxel, threads=1),
    "agglomerate with ties": lambda: neuropil.agglomerate(ties, each_voxel, "max", threads=1),
    "agglomerate_graph": lambda: agglomerate_graph(graph, threads=1),
    "merge of a block": lambda: merge(list(wide), graph.bins, nothing, Score("mean"), graph.encoding, 0.0),
    "mutex_watershed": lambda: neuropil.mutex_watershed(codes, threads=1),
    "signed_graph": lambda: signed_graph(codes, each_voxel, threads=1),
    "clusters": lambda: signs.clusters("mean"),
    "merge_by_size": lambda: merge_by_size(graph, sizes),
    "merge_in_order": lambda: merge_in_order(ends, sizes, size=800, dust=600),
    "basins": lambda: basins(codes),
    "contingency": lambda: contingency(endless, endless, threads=1),
    "threshold_curve": lambda: neuropil.threshold_curve(tree, each_voxel, each_voxel // 2, threads=1),
    "fill_background": lambda: neuropil.fill_background(codes, corner),
}

class Watch(threading.Thread):
    def run(self):
        # Ticks tell whether this thread may run; the signal comes in the middle.
        self.gap, last, begin = 0.0, time.process_time(), time.process_time()
        while time.process_time() < begin + 0.2:
            time.sleep(0.01)
            now = time.process_time()
            self.gap, last = max(self.gap, now - last), now
        self.sent = time.process_time()
        os.kill(os.getpid(), signal.SIGINT)

for name, kernel in kernels.items():
    watch = Watch(daemon=True)
    try:
        watch.start()
        while True:
            kernel()
    except KeyboardInterrupt:
        stopped = time.process_time()
    watch.join()
    print(json.dumps([name, stopped - watch.sent, watch.gap]), flush=True)
"""


@pytest.fixture(scope="module")
def stops():
    """Seconds from the signal to the end, and the longest that another thread had to wait, per kernel."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return {name: times for name, *times in map(json.loads, done.stdout.splitlines())}


def test_interrupts_stop_kernels_within_a_second(stops):
    assert len(stops) == 15
    assert {name: seconds for name, (seconds, _) in stops.items() if seconds > 1} == {}


def test_other_threads_go_on(stops):
    assert {name: gap for name, (_, gap) in stops.items() if gap > 0.3} == {}
