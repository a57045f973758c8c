"""The interfaces of PyTorch Connectomics, waterz and zwatershed, implemented with neuropil."""
