"""The steps together: recipes from training to scores, recipes for own data, checks, the download and the demo."""

from neuropil.pipeline.scaling import predict_in_blocks as predict_in_blocks
from neuropil.pipeline.scaling import score_in_blocks as score_in_blocks
from neuropil.pipeline.scaling import segment_in_blocks as segment_in_blocks
from neuropil.pipeline.scaling import tune_in_blocks as tune_in_blocks
from neuropil.pipeline.segmenting import segment as segment
from neuropil.pipeline.segmenting import segment_volume as segment_volume
from neuropil.pipeline.segmenting import threshold_for as threshold_for
from neuropil.pipeline.segmenting import with_offsets as with_offsets
