"""``python -m neuropil``, the same as ``neuropil``."""

from neuropil.cli import main

main()
