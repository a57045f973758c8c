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
from neuropil.segmentation.signed import (
    SignedGraph,
    add_signed_graphs,
    cluster_fragments,
    signed_graph,
    signed_part_graph,
    within_reach,
)
from neuropil.segmentation.size_rule import merge_by_size

__all__ = [
    "BlockFragments",
    "Border",
    "MergeTree",
    "MergedPart",
    "Merges",
    "RegionGraph",
    "SignedGraph",
    "add_graphs",
    "add_signed_graphs",
    "agglomerate",
    "agglomerate_graph",
    "cluster_fragments",
    "fill_background",
    "frozen_fragments",
    "merge_by_size",
    "merge_part",
    "merge_tree",
    "mutex_watershed",
    "part_graph",
    "region_graph",
    "signed_graph",
    "signed_part_graph",
    "unions_across",
    "unite_names",
    "watershed",
    "watershed_block",
    "with_halo",
    "within_reach",
]
