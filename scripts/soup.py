"""Average the weights of networks that went on from the same weights, and measure their norms again.

    python scripts/soup.py first/checkpoints/last.pt second/checkpoints/last.pt soup.pt

Such networks lie in one valley of the loss, and the mean of their weights is often better than each of them (model
soups: Wortsman et al. 2022, arXiv 2203.05482), at the cost of one. The statistics of batch norms do not average; they
are those of samples of the training volumes in the recipe of the first checkpoint. The result has the recipe and the
facts of the first.
"""

import argparse
from pathlib import Path

import torch
from torch.optim.swa_utils import AveragedModel

from neuropil.errors import NeuropilError
from neuropil.models import build_network
from neuropil.models.checkpoint import load_model, save_checkpoint
from neuropil.training.device_batches import training_images
from neuropil.training.optimizers import measure_norms

SAMPLES = 40
"""Samples whose statistics the norms take."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", help="checkpoints, or names of models of the package")
    parser.add_argument("out", type=Path, help="the new checkpoint")
    given = parser.parse_args()
    models = [load_model(name) for name in given.checkpoints]
    config = models[0].config
    for name, model in zip(given.checkpoints, models, strict=True):
        if model.config.model != config.model:
            raise NeuropilError(f"expected the network of {given.checkpoints[0]}, got another one, in {name}")
    network = build_network(config.model)
    held = [dict(model.network.state_dict()) for model in models]
    network.load_state_dict(
        {
            name: torch.stack([one[name].float() for one in held]).mean(0).to(tensor.dtype)
            for name, tensor in network.state_dict().items()
        }
    )
    average = AveragedModel(network, use_buffers=True)
    with torch.no_grad():
        measure_norms(average, training_images(config, SAMPLES))
    save_checkpoint(
        given.out,
        {"config": config.to_dict(), "weights": average.module.state_dict(), "info": dict(models[0].info)},
    )


if __name__ == "__main__":
    main()
