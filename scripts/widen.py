"""Make a trained network wider without changing what it predicts, to go on training from there.

    python scripts/widen.py snemi3d-fast 32,48,64,96 wide.pt
    neuropil train RECIPE --pretrained wide.pt --set model.widths=[32,48,64,96]

A new channel is a copy of an old one, and what reads both takes a share of each (Net2Net: Chen, Goodfellow and Shlens
2016, arXiv 1511.05641). Noise of a twentieth of the spread of a kernel's weights lets copies learn different things.
For networks of the package without auxiliary heads; no two levels of the old one may be equally wide.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from neuropil.errors import NeuropilError
from neuropil.models.checkpoint import read_checkpoint, save_checkpoint

NOISE = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="a checkpoint or the name of a model of the package")
    parser.add_argument("widths", help="of the new network, with commas between")
    parser.add_argument("out", type=Path, help="the new checkpoint, for --pretrained")
    given = parser.parse_args()
    content = read_checkpoint(given.checkpoint)
    old, new = content["config"]["model"]["widths"], [int(n) for n in given.widths.split(",")]
    if len(set(old)) != len(old) or len(new) != len(old) or any(a > b for a, b in zip(old, new, strict=True)):
        raise NeuropilError(f"expected {len(old)} widths of at least {old}, all different there, got {new}")
    weights = content.get("average") or content["weights"]
    config = content["config"] | {"model": content["config"]["model"] | {"widths": new}}
    save_checkpoint(given.out, {"config": config, "weights": widened(weights, old, new), "info": {}})


def widened(weights: dict[str, Tensor], old: list[int], new: list[int]) -> dict[str, Tensor]:
    """The tensors of the wider network: each channel of a level stands there once, or as often as it takes."""
    source = {a: torch.arange(b) % a for a, b in zip(old, new, strict=True)}
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, tensor in weights.items():
        value = tensor.float() if tensor.is_floating_point() else tensor
        if value.ndim and value.shape[0] in source:
            value = value[source[value.shape[0]]]
        if value.ndim > 1 and value.shape[1] in source:
            channels = source[value.shape[1]]
            copies = torch.bincount(channels)[channels].view(1, -1, *[1] * (value.ndim - 2))
            value = value[:, channels] / copies
            value = value + NOISE * value.std() * torch.randn(value.shape, generator=generator)
        found[name] = value.contiguous()
    return found


if __name__ == "__main__":
    main()
