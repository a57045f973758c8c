"""Load checkpoints of PyTorch Connectomics, as models or as neuropil checkpoints.

Such a file holds weights and no configuration. The configuration is read from the ``config.yaml`` that the classic
program leaves next to its checkpoints; else from names and shapes of the weights, and classic defaults, with a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neuropil.compat.pytc.settings import read_settings
from neuropil.compat.pytc.translation import translate
from neuropil.compat.pytc.weights import our_name, read_classic, translate_weights
from neuropil.config import Config
from neuropil.errors import NeuropilError
from neuropil.models import build_network
from neuropil.models.checkpoint import Model, export_weights, load_model, load_weights, save_checkpoint
from neuropil.models.released import write_weights

_UNSEEN = "ACT_MODE elu, PAD_MODE replicate, POOLING_LAYER False, grey values (v - 0.5) / 0.5"
"""Classic defaults of the settings that weights do not show."""


def load_any_model(path: Path | str, config: Config | None = None) -> tuple[Model, str | None]:
    """Load a checkpoint of neuropil or of the classic program, ready to predict; and a line to print about it.

    Args:
        path: a checkpoint, or the name of a model of the package.
        config: of a classic checkpoint; None: from the ``config.yaml`` next to it, else from the weights.

    Raises:
        NeuropilError: as :func:`neuropil.models.checkpoint.load_model`; a classic checkpoint that holds more than
            tensors and plain values, or whose network is not available here.
    """
    content = read_classic(Path(path)) if Path(path).is_file() else None
    if content is None:
        return load_model(path), None
    used, said = (config, None) if config else _described(content["state_dict"], Path(path))
    network = build_network(used.model)
    load_weights(network, {"weights": translate_weights(content["state_dict"])}, Path(path))
    info = {"iteration": int(content.get("iteration", 0)), "trained_by": "PyTorch Connectomics"}
    return Model(network.eval(), used, info), said


def export_any(checkpoint: Path | str, target: Path | str) -> tuple[Path, str | None]:
    """Write the weights of a checkpoint of neuropil or of the classic program as ``.safetensors``.

    Returns:
        The file, and a line to print about the checkpoint.

    Raises:
        NeuropilError: as :func:`load_any_model`; another ending, or a file that cannot be written.
    """
    if not Path(checkpoint).is_file() or read_classic(Path(checkpoint)) is None:
        return export_weights(checkpoint, target), None
    model, said = load_any_model(checkpoint)
    write_weights(Path(target), model.network.state_dict(), model.config.to_dict(), model.info)
    return Path(target), said


def is_classic(model: Model) -> bool:
    """Whether the classic program trained a model."""
    return model.info.get("trained_by") == "PyTorch Connectomics"


def resumable(path: Path, config: Config, target: Path) -> Path | None:
    """Convert a classic checkpoint to one of neuropil at ``target``, with optimizer and iteration, so that training can
    resume from it; None for any other file.

    One without an optimizer, as averaged weights are saved, starts at iteration 0.

    Raises:
        NeuropilError: the weights of another network.
    """
    from neuropil.training.optimizers import make_optimizer
    from neuropil.training.run import Step

    content = read_classic(path)
    if content is None:
        return None
    weights, iteration = translate_weights(content["state_dict"]), int(content.get("iteration", 0))
    network = build_network(config.model)
    load_weights(network, {"weights": weights}, path)
    optimizer = make_optimizer(network, config)
    _fill_optimizer(optimizer, network, content)
    voxel_size = config.data.voxel_size
    save_checkpoint(
        target,
        {
            "config": config.to_dict(),
            "weights": network.state_dict(),
            "average": network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": asdict(Step(iteration=iteration)),
            "averaged": torch.tensor(iteration),
            "info": {"iteration": iteration, "voxel_size": list(voxel_size) if voxel_size else None},
        },
    )
    return target


def _fill_optimizer(optimizer: torch.optim.Optimizer, network: nn.Module, content: Mapping[str, Any]) -> None:
    """Copy the state of the classic optimizer, which numbers parameters in the order of the weights."""
    squeeze = any(".fc." in name for name in content["state_dict"])
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    names = [our_name(name, squeeze) for name in content["state_dict"] if not name.endswith(statistics)]
    parameters = dict(network.named_parameters())
    for number, memory in content.get("optimizer", {}).get("state", {}).items():
        parameter = parameters.get(names[int(number)]) if int(number) < len(names) else None
        if parameter is None:
            continue
        optimizer.state[parameter] = {
            key: value.reshape(parameter.shape) if isinstance(value, Tensor) and value.ndim else value
            for key, value in memory.items()
        }


def _described(weights: Mapping[str, Tensor], path: Path) -> tuple[Config, str]:
    """The recipe of a classic checkpoint, and a line that says where it is from."""
    beside = path.with_name("config.yaml")
    if beside.is_file() and "MODEL:" in beside.read_text(encoding="utf-8", errors="replace"):
        return translate(read_settings([beside])).config, f"{path}: the network is that of {beside}"
    words = _seen(weights, path)
    told = " ".join(f"{key.removeprefix('MODEL.')} {words[key]}" for key in words)
    config = translate(read_settings([], [word for pair in words.items() for word in pair])).config
    return config, f"{path}: no config.yaml next to it. The weights say {told}; taken as by default: {_UNSEEN}"


def _seen(weights: Mapping[str, Tensor], path: Path) -> dict[str, str]:
    """Values of classic keys, found from the names and shapes of weights."""
    pyramid, plus = any(name.startswith("backbone.") for name in weights), "non_local.theta.weight" in weights
    first = weights.get("backbone.layer0.0.weight" if pyramid else "conv_in.0.weight")
    last = weights.get("conv_out.0.weight")
    levels = [weights.get(name) for number in range(32) for name in _levels(number, pyramid)]
    kernels = [kernel for kernel in levels if kernel is not None]
    if first is None or last is None or not kernels:
        raise NeuropilError(
            f"{path}: expected the weights of unet_3d, unet_plus_3d, fpn_3d on a ResNet, or their 2-D forms, got those "
            f"of another network: {', '.join(list(weights)[:3])} …"
        )
    name = "fpn" if pyramid else "unet_plus" if plus else "unet"
    if pyramid:
        kernels = [first, *kernels]
    thick = [kernel.ndim == 5 and kernel.shape[2] > 1 for kernel in kernels]
    channels = int(last.shape[0])
    if channels != 3:
        raise NeuropilError(
            f"{path}: the network has {channels} channels, and only its config.yaml says what they are; put that file "
            "from the OUTPUT_PATH of the classic program next to the checkpoint"
        )
    words = {
        "MODEL.ARCHITECTURE": f"{name}_{last.ndim - 2}d",
        "MODEL.BLOCK_TYPE": "residual_se" if any(".fc." in one for one in weights) else "residual",
        "MODEL.FILTERS": str([int(kernel.shape[0]) for kernel in kernels]),
        "MODEL.ISOTROPY": str(thick),
        "MODEL.NORM_MODE": _norm(weights, "backbone.layer0.1" if pyramid else "conv_in.1", path),
        "MODEL.TARGET_OPT": '["2"]',
        "MODEL.OUT_PLANES": "3",
        "MODEL.INPUT_SIZE": "[17, 129, 129]",
        "MODEL.OUTPUT_SIZE": "[17, 129, 129]",
    }
    if first.ndim == 5 and first.shape[2] > 1:
        words["DATASET.IS_ISOTROPIC"] = "True"
    return words


def _levels(number: int, pyramid: bool) -> tuple[str, ...]:
    """Names that the first kernel of a level may have."""
    block = f"backbone.layer{number + 1}.0.conv.0.0"
    return (f"{block}.0.weight", f"{block}.weight") if pyramid else (f"down_layers.{number}.1.0.weight",)


def _norm(weights: Mapping[str, Tensor], layer: str, path: Path) -> str:
    if f"{layer}.running_mean" in weights:
        return "bn"
    if f"{layer}.weight" in weights:
        return "gn"
    raise NeuropilError(
        f"{path}: the weights do not show the norm (instance, or none); put the config.yaml of the run next to them"
    )
