"""Blockwise processing, in this process or on a Dask cluster, with the same result as on the whole volume."""

from neuropil.blockwise.evaluate import evaluate_blocks
from neuropil.blockwise.executor import Cluster, Serial, open_executor
from neuropil.blockwise.job import BLOCK
from neuropil.blockwise.runner import BlocksFailed
from neuropil.blockwise.segment import segment_blocks
from neuropil.blockwise.tree import BlockTree
from neuropil.blockwise.tune import tune_blocks

__all__ = [
    "BLOCK",
    "BlockTree",
    "BlocksFailed",
    "Cluster",
    "Serial",
    "evaluate_blocks",
    "open_executor",
    "segment_blocks",
    "tune_blocks",
]
