"""SEGMENT: affinities to fragments, fragments to a merge tree, a merge tree to a segmentation."""

from neuropil.segmentation.agglomeration import agglomerate, agglomerate_graph
from neuropil.segmentation.fill import fill_background
from neuropil.segmentation.fragments import watershed
from neuropil.segmentation.graph import RegionGraph, region_graph
from neuropil.segmentation.merge_tree import MergeTree
from neuropil.segmentation.mutex import mutex_watershed
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
    "MergeTree",
    "RegionGraph",
    "SignedGraph",
    "add_signed_graphs",
    "agglomerate",
    "agglomerate_graph",
    "cluster_fragments",
    "fill_background",
    "merge_by_size",
    "mutex_watershed",
    "region_graph",
    "signed_graph",
    "signed_part_graph",
    "watershed",
    "within_reach",
]
