"""Prediction: tiles, blending, test-time symmetries; any image size in bounded memory."""

from neuropil.inference.in_memory import predict
from neuropil.inference.resumable import predict_volume
from neuropil.inference.shapes import predict_descriptors

__all__ = ["predict", "predict_descriptors", "predict_volume"]
