"""Synthetic test volumes of any size, with labels, for tests, benchmarks, and a demo without data."""

from neuropil.synthetic.affinities import affinities as affinities
from neuropil.synthetic.micrograph import neuropil as neuropil
from neuropil.synthetic.noise import VOXEL_SIZE as VOXEL_SIZE
