"""Make the finest level of a trained network narrower, where most of the time goes, to go on training from there.

    python scripts/narrow.py CHECKPOINT 24 narrow.pt
    neuropil train RECIPE --pretrained narrow.pt --set model.widths=[24,48,64,96]

Each set of channels keeps those that say most to the layers that read them: variance times summed squared weights
(H. Li et al. 2017, arXiv 1608.08710, take the weights alone), on samples of the training volumes in the checkpoint's
recipe. For residual U-Nets of the package without squeeze or auxiliary heads.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from neuropil.errors import NeuropilError
from neuropil.models.checkpoint import Model, load_model, save_checkpoint
from neuropil.training.device_batches import training_images

SAMPLES = 12
"""Samples on which channels are judged."""

WRITES = {
    "embed.0": "embedded",
    **{f"encoder.0.{part}": "skip" for part in ("enter.0", "enter.1", "body.3", "body.4")}, "up.0.project": "skip",
    **{f"encoder.0.{part}": "inside the encoder" for part in ("body.0", "body.1")},
    **{f"decoder.0.{part}": "decoded" for part in ("enter.0", "enter.1", "body.3", "body.4")},
    **{f"decoder.0.{part}": "inside the decoder" for part in ("body.0", "body.1")},
}  # fmt: skip
"""The set of channels that each layer of the finest level writes."""
READS = {
    "encoder.0.enter.0": "embedded", "encoder.0.body.0": "skip", "encoder.0.body.3": "inside the encoder",
    "encoder.1.enter.0": "skip", "decoder.0.enter.0": "skip", "decoder.0.body.0": "decoded",
    "decoder.0.body.3": "inside the decoder", "head": "decoded",
}  # fmt: skip
"""The set of channels that each layer reads."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="a checkpoint or the name of a model of the package")
    parser.add_argument("width", type=int, help="of the finest level, afterwards")
    parser.add_argument("out", type=Path, help="the new checkpoint, for --pretrained")
    given = parser.parse_args()
    model = load_model(given.checkpoint)
    settings = model.config.model
    if settings.architecture != "residual_unet" or settings.squeeze or model.network.auxiliary or model.network.coarse:
        raise NeuropilError(f"expected a residual_unet without squeeze or auxiliary heads, got {given.checkpoint}")
    if not 0 < given.width <= settings.widths[0]:
        raise NeuropilError(f"expected a width of 1 to {settings.widths[0]}, got {given.width}")
    kept = {name: worth.topk(given.width).indices.sort().values for name, worth in worths(model).items()}
    config = model.config.to_dict()
    config["model"]["widths"] = [given.width, *settings.widths[1:]]
    save_checkpoint(given.out, {"config": config, "weights": narrowed(model.network, kept), "info": {}})


def worths(model: Model) -> dict[str, Tensor]:
    """What each channel of each set says to its readers, in shares of all channels."""
    found: dict[str, Tensor] = {name: torch.zeros(()) for name in READS.values()}

    def judge(name: str, layer: nn.Module, x_BCZYX: Tensor) -> None:
        weights = layer.get_parameter("weight").float().pow(2).flatten(2).sum(2).sum(0)
        worth = x_BCZYX.var((0, 2, 3, 4)) * weights
        found[READS[name]] = found[READS[name]] + worth / worth.sum()

    network = model.network.eval()
    hooks = [
        network.get_submodule(name).register_forward_pre_hook(lambda layer, x, name=name: judge(name, layer, x[0]))
        for name in READS
    ]
    with torch.no_grad():
        for image_BCZYX in training_images(model.config, SAMPLES):
            network(image_BCZYX)
    for hook in hooks:
        hook.remove()
    return found


def narrowed(network: nn.Module, kept: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the narrower network."""
    found = {}
    for name, tensor in network.state_dict().items():
        layer = name.rpartition(".")[0]
        if tensor.ndim and layer in WRITES:
            tensor = tensor[kept[WRITES[layer]]]
        if tensor.ndim > 1 and layer in READS:
            tensor = tensor[:, kept[READS[layer]]]
        found[name] = tensor.contiguous()
    return found


if __name__ == "__main__":
    main()
