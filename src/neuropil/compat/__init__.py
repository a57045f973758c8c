"""Interfaces of other packages: PyTorch Connectomics, waterz, zwatershed."""
