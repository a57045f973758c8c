"""The steps together: recipes from training to scores, recipes for own data, checks, the download and the demo."""

from neuropil.pipeline.scaling import predict_in_blocks as predict_in_blocks
from neuropil.pipeline.scaling import score_in_blocks as score_in_blocks
from neuropil.pipeline.scaling import segment_in_blocks as segment_in_blocks
from neuropil.pipeline.scaling import tune_in_blocks as tune_in_blocks
