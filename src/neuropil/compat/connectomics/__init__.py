"""For people who wrote Python against PyTorch Connectomics v1: its module paths and names, on top of ours.

Only the package name in the import lines changes:
``from neuropil.compat.connectomics.data.utils import seg_to_targets``.
"""
