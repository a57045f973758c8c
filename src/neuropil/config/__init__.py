"""Recipes: YAML files → one typed, strict, documented :class:`Config`.

``schema.py`` has the whole recipe, with sections in ``learning.py``, ``applying.py`` and ``networks.py``. ``files.py``
reads recipes (several files, then ``--set``) and writes them with a comment on every field. ``mistakes.py`` makes error
messages, and ``trainable.py`` checks what training needs in addition.
"""

from neuropil.config.applying import PredictConfig as PredictConfig
from neuropil.config.applying import SegmentConfig as SegmentConfig
from neuropil.config.files import config_to_yaml as config_to_yaml
from neuropil.config.files import load_config as load_config
from neuropil.config.learning import AugmentConfig as AugmentConfig
from neuropil.config.learning import LossConfig as LossConfig
from neuropil.config.learning import OptimizerConfig as OptimizerConfig
from neuropil.config.learning import TrainingConfig as TrainingConfig
from neuropil.config.schema import Config as Config
from neuropil.config.schema import DataConfig as DataConfig
from neuropil.config.schema import ModelConfig as ModelConfig
from neuropil.config.schema import VolumePair as VolumePair
from neuropil.config.trainable import check_trainable as check_trainable
from neuropil.config.trainable import starting_from as starting_from
from neuropil.config.trainable import taught as taught
