"""Prediction of images of any size in bounded memory: tiles, blending, test-time augmentation."""

from neuropil.inference.in_memory import predict
from neuropil.inference.resumable import predict_volume
from neuropil.inference.shapes import predict_descriptors

__all__ = ["predict", "predict_descriptors", "predict_volume"]
