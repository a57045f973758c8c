"""The Python interface of PyTorch Connectomics v1: its module paths and names, implemented with neuropil.

Only the package name in the import lines changes:
``from neuropil.compat.connectomics.data.utils import seg_to_targets``.
"""
