"""What the original programs computed on small inputs: files to be equal to, where NEUROPIL_DATA has them."""

import pytest

from real_data import DATA

CLASSIC = DATA / "classic"
needs_classic = pytest.mark.skipif(not CLASSIC.is_dir(), reason="needs the recorded files: NEUROPIL_DATA/classic")
NETWORKS = (
    "unet_3d_residual_se",
    "unet_3d_residual",
    "unet_3d_pooling",
    "unet_3d_isotropic",
    "unet_plus_3d",
    "fpn_3d_resnet",
    "unet_2d",
)


def checkpoint(name):
    """The checkpoint that the classic program saved of a network."""
    path = CLASSIC / f"{name}_checkpoint.pth.tar"
    return path if path.exists() else path.with_suffix("")
