"""Read and write checkpoints: one file with config and weights, all that prediction needs.

A checkpoint is a dictionary of tensors and plain values, written by ``torch.save`` and read with
``weights_only=True``, so that opening a downloaded file runs no code from it.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import nn

from neuropil.config import Config
from neuropil.errors import NeuropilError
from neuropil.geometry import VoxelSize
from neuropil.models import build_network
from neuropil.models.released import compacted, find_checkpoint, read_weights, write_weights
from neuropil.volumes.atomic import replacing

FORMAT = "neuropil-checkpoint-1"
UNREADABLE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, LookupError, ValueError, OSError),
    *(TypeError, AttributeError, AssertionError),
)
"""Errors that torch raises for a damaged file; one with a broken ZIP directory it reads as a plain pickle."""


@dataclass(frozen=True)
class Model:
    """A trained network with the config it was trained by."""

    network: nn.Module
    """float ``[B, 1, Z, Y, X]`` in [0, 1] → logits ``[B, E, Z, Y, X]``, in evaluation mode."""
    config: Config
    info: Mapping[str, Any]
    """More about the model: name, iteration, voxel size, threshold, scores."""

    @property
    def voxel_size(self) -> VoxelSize | None:
        """Voxel size (z, y, x) in nm of the training volumes; None if it is not known."""
        size = self.info.get("voxel_size") or self.config.data.voxel_size
        return None if size is None else (float(size[0]), float(size[1]), float(size[2]))

    @property
    def goes_with(self) -> dict[str, Any]:
        """Defaults for segmentation that are stored with affinities: threshold, minimum size, and the score of both.

        >>> from neuropil.models.checkpoint import load_model
        >>> load_model("snemi3d").goes_with
        {'threshold': 0.165, 'min_size': 400, 'score': 'mean'}
        """
        segment, tuned = self.config.segment, self.info.get("threshold")
        threshold = segment.threshold if tuned is None else tuned
        if segment.method != "agglomerate":
            return {}
        found = {"threshold": None if threshold is None else float(threshold), "min_size": segment.min_size}
        stored = {name: value for name, value in found.items() if value is not None}
        return stored | ({"score": segment.score} if stored else {})


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint under a temporary name, flush it to disk, then rename it, so that a file is always complete.

    Raises:
        NeuropilError: the folder cannot be written, or the disk is full; an older file of that name stays intact.
    """
    try:
        with replacing(path, is_checkpoint) as temporary, temporary.open("wb") as file:
            torch.save({"format": FORMAT, **content}, file)
    except (OSError, RuntimeError) as error:
        # torch reports a full disk as a RuntimeError of its zip writer, often while it handles the true error.
        full = isinstance(error.__context__, OSError) or "PytorchStreamWriter" in str(error)
        if isinstance(error, RuntimeError) and not full:
            raise
        raise NeuropilError(
            f"cannot write the checkpoint {path}: {error}; free some space or choose another --out"
        ) from error


def is_checkpoint(path: Path) -> bool:
    """Whether a file is a checkpoint of neuropil, by the format named in its first record; no weight is read."""
    found = b""
    with suppress(OSError, zipfile.BadZipFile, KeyError), zipfile.ZipFile(path) as archive:
        first = next(name for name in [*archive.namelist(), ""] if name.endswith("data.pkl") or not name)
        found = archive.read(first)
    return FORMAT.encode() in found


def read_checkpoint(checkpoint: Path | str) -> dict[str, Any]:
    """Read the dictionary of a checkpoint, or of a file of weights, onto the CPU.

    Args:
        checkpoint: a path, or the name of a model that comes with the package.

    Raises:
        NeuropilError: no such file or name, or a file that is no neuropil checkpoint.
    """
    path = find_checkpoint(checkpoint)
    if path.suffix == ".safetensors":
        return read_weights(path)
    wrong = f"{path} is not a neuropil checkpoint"
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()  # torch stores a checksum of each record, but does not check it
            if damaged is not None:
                raise NeuropilError(f"{path} is damaged: its record {damaged} does not match its checksum")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        # For a file that is no archive torch names a byte, and advises to load it without weights_only.
        reason = str(error).strip().splitlines()[:1] if zipfile.is_zipfile(path) else []
        said = reason[0][:200] if reason else "it is damaged, truncated or something else"
        if "eights only" in said:  # torch advises to load it without weights_only
            said = "it holds more than tensors and plain values, and is not loaded since it could run code"
        raise NeuropilError(f"{wrong}: {said}") from error
    if isinstance(content, dict) and "state_dict" in content:
        raise NeuropilError(
            f"{wrong} but looks like one of PyTorch Connectomics: neuropil convert {path} mine.safetensors"
        )
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise NeuropilError(f"{wrong}: expected a dictionary with format {FORMAT!r} as `neuropil train` writes it")
    return content


def as_model(source: Model | Path | str) -> Model:
    """The model itself, or loaded from a checkpoint or by its name."""
    return source if isinstance(source, Model) else load_model(source)


def load_model(path: Path | str, device: str | torch.device = "cpu") -> Model:
    """Load network and config from a checkpoint, ready to predict.

    If the checkpoint has an average of the weights, it is used, as in validation.

    Args:
        path: a checkpoint of ``neuropil train``, a file of weights, or the name of a model of the package.
        device: the device to put the network on.

    Raises:
        NeuropilError: no such file or name, no checkpoint, or weights that do not fit its config.
    """
    content = read_checkpoint(path)
    config = Config.from_dict(content["config"], f"the config in {path}")
    network = build_network(config.model)
    load_weights(network, content, Path(path))
    return Model(network.to(device).eval(), config, content.get("info", {}))


def load_weights(network: nn.Module, content: Mapping[str, Any], path: Path) -> None:
    """Load a checkpoint's averaged weights, or else its plain ones, into a network of the same shape.

    Raises:
        NeuropilError: names or shapes differ; the first differences are listed.
    """
    weights = content.get("average") or content["weights"]
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:4]]
        raise NeuropilError(
            f"the weights of {path} do not fit the network of this config: {' '.join(lines)}; "
            "use the model section the checkpoint was trained with (`neuropil info` prints it)"
        ) from error


def load_matching(network: nn.Module, content: Mapping[str, Any], path: Path) -> list[str]:
    """Load all averaged (or else plain) weights of a checkpoint whose name and shape agree into a network.

    Returns:
        A line for each tensor that was not loaded: those of the network keep their initial values, those of the file
        are not used.

    Raises:
        NeuropilError: no weight agrees.
    """
    weights, state = content.get("average") or content["weights"], network.state_dict()
    fitting = {name: value for name, value in weights.items() if name in state and value.shape == state[name].shape}
    if not any(value.ndim > 1 for value in fitting.values()):
        raise NeuropilError(f"no weights of {path} have the name and shape of any in the network of this config")
    network.load_state_dict(fitting, strict=False)
    fresh = [f"{name} {list(state[name].shape)}: fresh" for name in state if name not in fitting]
    return fresh + [f"{name} {list(weights[name].shape)}: left in the file" for name in weights if name not in fitting]


def export_weights(
    checkpoint: Path | str,
    path: Path | str,
    *,
    config: Config | None = None,
    info: Mapping[str, Any] | None = None,
    compact: bool = False,
) -> Path:
    """Write the weights of a checkpoint as a file to share: averaged ones if there are any, and no optimizer.

    Args:
        checkpoint: a path or the name of a model.
        path: ends in ``.safetensors``.
        config: the recipe to store in place of the checkpoint's, with a tuned ``segment.threshold``, say.
        info: more about the model to store (scores, split), in addition to the checkpoint's ``info``.
        compact: store kernels of convolutions in 16 bits; see :func:`neuropil.models.released.compacted`.

    Raises:
        NeuropilError: no checkpoint, another ending, or a file that cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     copy = export_weights("snemi3d", f"{folder}/mine.safetensors", info={"licence": "CC-BY-4.0"})
    ...     load_model(copy).info["licence"]
    'CC-BY-4.0'
    """
    content = read_checkpoint(checkpoint)
    weights = content.get("average") or content["weights"]
    used = config.to_dict() if config else content["config"]
    stored = compacted(weights) if compact else weights
    known = {**content.get("info", {}), **(info or {})}
    known.pop("stamps", None)  # of the training volumes, with somebody's paths; only --resume looks at them
    write_weights(Path(path), stored, used, known)
    return Path(path)


def model_digest(model: Model) -> str:
    """SHA-256 of a model's weights and of the recipe's ``model`` section.

    >>> from torch import nn
    >>> len(model_digest(Model(nn.Conv3d(1, 3, 1), Config(), {})))
    64
    """
    digest = sha256(model.config.model.model_dump_json().encode())
    for name, value in sorted(model.network.state_dict().items()):
        array = value.detach().cpu().contiguous().float().numpy()
        digest.update(f"{name} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
