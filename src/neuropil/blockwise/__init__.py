"""SCALE: the same steps block by block, on this process or a Dask cluster; the result is that of the whole volume."""

from neuropil.blockwise.engine import BlocksFailed, Cluster, Serial, open_engine
from neuropil.blockwise.evaluate import evaluate_blocks
from neuropil.blockwise.segment import segment_blocks
from neuropil.blockwise.tree import BlockTree
from neuropil.blockwise.tune import tune_blocks

__all__ = [
    "BlockTree",
    "BlocksFailed",
    "Cluster",
    "Serial",
    "evaluate_blocks",
    "open_engine",
    "segment_blocks",
    "tune_blocks",
]
