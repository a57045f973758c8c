"""``python -m neuropil.cli``, the same as ``neuropil``."""

from neuropil.cli import main

main()
