"""neuropil: from an electron-microscopy image to a map in which every neuron has its own id.

The public names. They are imported when first used, so that ``import neuropil`` (and ``neuropil --help``) is fast.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neuropil.config import Config as Config
    from neuropil.config import load_config as load_config
    from neuropil.errors import NeuropilError as NeuropilError
    from neuropil.evaluation import Contingency as Contingency
    from neuropil.evaluation import Scores as Scores
    from neuropil.evaluation import ThresholdCurve as ThresholdCurve
    from neuropil.evaluation import contingency as contingency
    from neuropil.evaluation import evaluate as evaluate
    from neuropil.evaluation import threshold_curve as threshold_curve
    from neuropil.evaluation.tuning import tune as tune
    from neuropil.geometry import NEAREST as NEAREST
    from neuropil.geometry import Box as Box
    from neuropil.inference import predict as predict
    from neuropil.segmentation import MergeTree as MergeTree
    from neuropil.segmentation import RegionGraph as RegionGraph
    from neuropil.segmentation import agglomerate as agglomerate
    from neuropil.segmentation import fill_background as fill_background
    from neuropil.segmentation import mutex_watershed as mutex_watershed
    from neuropil.segmentation import region_graph as region_graph
    from neuropil.segmentation import watershed as watershed
    from neuropil.segmentation.segment import segment as segment
    from neuropil.targets import affinities_from_labels as affinities_from_labels
    from neuropil.training import train as train
    from neuropil.volumes import LOGIT8 as LOGIT8
    from neuropil.volumes import Encoding as Encoding
    from neuropil.volumes import Metadata as Metadata
    from neuropil.volumes import Tissue as Tissue
    from neuropil.volumes import Volume as Volume
    from neuropil.volumes import array_volume as array_volume
    from neuropil.volumes import create_volume as create_volume
    from neuropil.volumes import in_tissue as in_tissue
    from neuropil.volumes import open_volume as open_volume
    from neuropil.volumes import write_volume as write_volume

__version__ = "0.1.0"

if os.environ.get("NEUROPIL_AMX") == "0":  # must be set before torch first computes; see neuropil.processor
    from neuropil.processor import forbid_amx

    forbid_amx(os.environ)

_HOME = {
    "NeuropilError": "errors",
    "Config": "config",
    "load_config": "config",
    "Box": "geometry",
    "NEAREST": "geometry",
    "open_volume": "volumes",
    "create_volume": "volumes",
    "write_volume": "volumes",
    "array_volume": "volumes",
    "Volume": "volumes",
    "Metadata": "volumes",
    "Encoding": "volumes",
    "Tissue": "volumes",
    "in_tissue": "volumes",
    "LOGIT8": "volumes",
    "affinities_from_labels": "targets",
    "train": "training",
    "predict": "inference",
    "MergeTree": "segmentation",
    "RegionGraph": "segmentation",
    "agglomerate": "segmentation",
    "fill_background": "segmentation",
    "region_graph": "segmentation",
    "segment": "segmentation",
    "watershed": "segmentation",
    "mutex_watershed": "segmentation",
    "contingency": "evaluation",
    "Contingency": "evaluation",
    "evaluate": "evaluation",
    "Scores": "evaluation",
    "threshold_curve": "evaluation",
    "ThresholdCurve": "evaluation",
    "tune": "evaluation.tuning",
}

__all__ = [
    "LOGIT8",
    "NEAREST",
    "Box",
    "Config",
    "Contingency",
    "Encoding",
    "MergeTree",
    "Metadata",
    "NeuropilError",
    "RegionGraph",
    "Scores",
    "ThresholdCurve",
    "Tissue",
    "Volume",
    "affinities_from_labels",
    "agglomerate",
    "array_volume",
    "contingency",
    "create_volume",
    "evaluate",
    "fill_background",
    "in_tissue",
    "load_config",
    "mutex_watershed",
    "open_volume",
    "predict",
    "region_graph",
    "segment",
    "threshold_curve",
    "train",
    "tune",
    "watershed",
    "write_volume",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f"neuropil.{_HOME[name]}"), name)
    raise AttributeError(f"module 'neuropil' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
