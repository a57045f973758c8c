"""PREDICT: tiles, blending, test-time symmetries; any image size in bounded memory."""

from neuropil.inference.predict import predict
from neuropil.inference.progress import Progress, ProgressLine

__all__ = ["Progress", "ProgressLine", "predict"]
