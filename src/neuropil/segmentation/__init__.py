"""SEGMENT: affinities to fragments, fragments to a merge tree, a merge tree to a segmentation."""

from neuropil.segmentation.agglomeration import agglomerate, agglomerate_graph
from neuropil.segmentation.fill import fill_background
from neuropil.segmentation.fragments import watershed
from neuropil.segmentation.graph import RegionGraph, region_graph
from neuropil.segmentation.merge_tree import MergeTree
from neuropil.segmentation.mutex import mutex_watershed

__all__ = [
    "MergeTree",
    "RegionGraph",
    "agglomerate",
    "agglomerate_graph",
    "fill_background",
    "mutex_watershed",
    "region_graph",
    "watershed",
]
