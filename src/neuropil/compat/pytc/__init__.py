"""For people who come from the classic PyTorch Connectomics (v1): its configuration files, keys and names of files.

A configuration is read (`settings`), each key is known by name (`vocabulary`), and what it asks for becomes a typed
recipe (`translation`, with `targets` and `augmentor`). ``scripts/main.py`` runs it, and ``neuropil config convert``
prints it.
"""

from neuropil.compat.pytc.settings import Settings, read_settings
from neuropil.compat.pytc.translation import Classic, translate
from neuropil.compat.pytc.vocabulary import VOCABULARY

__all__ = ["VOCABULARY", "Classic", "Settings", "read_settings", "translate"]
