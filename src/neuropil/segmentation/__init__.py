"""Affinities to fragments (supervoxels), fragments to a merge tree, a merge tree to a segmentation."""

from neuropil.segmentation.basins import basin_graph, basins, spanning_tree
from neuropil.segmentation.fragments import fill_background, flood_sections, watershed
from neuropil.segmentation.graph import RegionGraph, region_graph, start_with_largest
from neuropil.segmentation.merge_tree import (
    MergeTree,
    agglomerate,
    agglomerate_graph,
    agglomerate_in_queue_order,
    segment_fragments,
)
from neuropil.segmentation.mutex import mutex_watershed
from neuropil.segmentation.segment import (
    Agglomeration,
    merge_tree,
    segment,
    segment_volume,
    segmentation_metadata,
    settle,
    with_offsets,
)
from neuropil.segmentation.signed import (
    SignedGraph,
    add_signed_graphs,
    cluster_fragments,
    signed_graph,
    signed_part_graph,
    within_reach,
)
from neuropil.segmentation.size_rule import merge_by_size, merge_in_order

__all__ = [
    "Agglomeration",
    "MergeTree",
    "RegionGraph",
    "SignedGraph",
    "add_signed_graphs",
    "agglomerate",
    "agglomerate_graph",
    "agglomerate_in_queue_order",
    "basin_graph",
    "basins",
    "cluster_fragments",
    "fill_background",
    "flood_sections",
    "merge_by_size",
    "merge_in_order",
    "merge_tree",
    "mutex_watershed",
    "region_graph",
    "segment",
    "segment_fragments",
    "segment_volume",
    "segmentation_metadata",
    "settle",
    "signed_graph",
    "signed_part_graph",
    "spanning_tree",
    "start_with_largest",
    "watershed",
    "with_offsets",
    "within_reach",
]
