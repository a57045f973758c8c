"""Configuration files, keys and file names of the classic PyTorch Connectomics (v1).

A configuration is read and its keys are checked (`settings`, `vocabulary`), then it is translated into a typed recipe
(`translation`, with `targets` and `augmentor`). ``scripts/main.py`` runs it, and ``neuropil config convert`` prints it.
"""

from neuropil.compat.pytc.settings import Settings, read_settings
from neuropil.compat.pytc.translation import Classic, translate
from neuropil.compat.pytc.vocabulary import VOCABULARY

__all__ = ["VOCABULARY", "Classic", "Settings", "read_settings", "translate"]
