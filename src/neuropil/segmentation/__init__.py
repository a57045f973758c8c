"""SEGMENT: affinities to fragments, fragments to a merge tree, a merge tree to a segmentation."""

from neuropil.segmentation.agglomeration import agglomerate, agglomerate_graph
from neuropil.segmentation.block_fragments import (
    BlockFragments,
    Border,
    unions_across,
    unite_names,
    watershed_block,
    with_halo,
)
from neuropil.segmentation.fill import fill_background
from neuropil.segmentation.fragments import watershed
from neuropil.segmentation.graph import RegionGraph, region_graph
from neuropil.segmentation.merge_tree import MergeTree
from neuropil.segmentation.mutex import mutex_watershed
from neuropil.segmentation.parts import (
    MergedPart,
    Merges,
    add_graphs,
    frozen_fragments,
    merge_part,
    merge_tree,
    part_graph,
)

__all__ = [
    "BlockFragments",
    "Border",
    "MergeTree",
    "MergedPart",
    "Merges",
    "RegionGraph",
    "add_graphs",
    "agglomerate",
    "agglomerate_graph",
    "fill_background",
    "frozen_fragments",
    "merge_part",
    "merge_tree",
    "mutex_watershed",
    "part_graph",
    "region_graph",
    "unions_across",
    "unite_names",
    "watershed",
    "watershed_block",
    "with_halo",
]
