"""Weights of trained networks: safetensors files, and the models that come with this package, by name.

The header of a file has the config and facts about the model, so that prediction needs nothing else. Without an
optimizer, training cannot resume from it, only start from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from neuropil.errors import NeuropilError
from neuropil.geometry import VoxelSize
from neuropil.inputs import expect_file
from neuropil.volumes.atomic import replacing

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of ``NAME.safetensors`` and the model card ``NAME.md`` in the package."""

FORMAT = "neuropil-weights-1"


def released_models() -> tuple[str, ...]:
    """Names of the models that come with the package, in alphabetical order.

    >>> "snemi3d" in released_models()
    True
    """
    return tuple(sorted(path.stem for path in WEIGHTS.glob("*.safetensors")))


def find_checkpoint(name: Path | str) -> Path:
    """The file of a path or of a model's name; an existing file of that name takes precedence.

    Raises:
        NeuropilError: neither a file nor a name.

    >>> find_checkpoint("snemi3d").name
    'snemi3d.safetensors'
    """
    path = Path(name)
    expect_file(path)
    if path.is_file():
        return path
    if str(name) in released_models():
        return WEIGHTS / f"{name}.safetensors"
    known = ", ".join(released_models())
    raise NeuropilError(
        f"no checkpoint at {name}; `neuropil train` leaves checkpoints/last.pt in its --out folder; "
        f"models that come with neuropil: {known}"
    )


def model_card(name: str) -> str | None:
    """The card of a model of the package (data, split, recipe, scores, licence) in Markdown; None if there is none.

    >>> model_card("snemi3d").splitlines()[0]
    '# snemi3d'
    """
    path = WEIGHTS / f"{name}.md"
    return _parts_of_card(path)[1] if name in released_models() and path.is_file() else None


@dataclass(frozen=True)
class ModelFacts:
    """Facts to compare the models of the package: from the head of the card; voxel size and views from the weights."""

    name: str
    tissue: str
    voxel_size: VoxelSize
    """(z, y, x) in nm."""
    views: int
    """Symmetries that prediction averages by default."""
    scored_on: str
    adapted_rand_error: float
    voi_split: float
    voi_merge: float
    """In bits."""
    speed: float
    """Speed of prediction with the default views, Mvoxel/s."""
    measured_on: str
    """The machine on which the speed was measured."""
    licence: str


def model_facts(name: str) -> ModelFacts:
    """Read the facts about a model of the package: tissue, voxel size, scores, speed.

    Raises:
        NeuropilError: no such model, or a card with missing facts.

    >>> model_facts("snemi3d").voxel_size
    (30.0, 6.0, 6.0)
    """
    weights = find_checkpoint(name)
    with safe_open(weights, "pt") as file:
        config = json.loads(file.metadata()["config"])
    card = WEIGHTS / f"{name}.md"
    try:
        z, y, x = map(float, config["data"]["voxel_size"])
        return ModelFacts(name=name, voxel_size=(z, y, x), views=config["predict"]["tta"], **_parts_of_card(card)[0])
    except (TypeError, OSError) as error:
        raise NeuropilError(f"expected a card with the facts of {name} at its head, got {error}, in {card}") from error


def _parts_of_card(path: Path) -> tuple[dict[str, Any], str]:
    """The facts at the head of a card (YAML between two lines ``---``), and the text below."""
    text = path.read_text(encoding="utf-8")
    if not text.startswith("---\n"):
        return {}, text
    head, _, body = text.removeprefix("---\n").partition("\n---\n")
    return yaml.safe_load(head), body.lstrip()


def compacted(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights for a file of half the size: kernels in float16; norms, biases and counters unchanged.

    Raises:
        NeuropilError: a kernel with a value beyond what float16 holds.

    >>> found = compacted({"conv.weight": torch.zeros(2, 1, 3, 3, 3), "norm.weight": torch.ones(2)})
    >>> found["conv.weight"].dtype, found["norm.weight"].dtype
    (torch.float16, torch.float32)
    """
    found = {name: w.half() if w.ndim > 1 and w.is_floating_point() else w for name, w in weights.items()}
    for name, tensor in found.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise NeuropilError(f"expected finite weights of less than 65504 (float16), got larger or NaN, in {name}")
    return found


def write_weights(
    path: Path, weights: Mapping[str, torch.Tensor], config: Mapping[str, Any], info: Mapping[str, Any]
) -> None:
    """Write a file of weights; an existing one is replaced only when the new one is complete.

    Args:
        path: ends in ``.safetensors``.
        weights: the state of a network.
        config: the recipe, ``Config.to_dict()``.
        info: facts about the model, such as voxel size, iteration, scores; plain JSON types.

    Raises:
        NeuropilError: another ending, or a file that cannot be written.
    """
    if path.suffix != ".safetensors":
        raise NeuropilError(f"expected a name that ends in .safetensors for weights, got {path}")
    header = {"format": FORMAT, "config": json.dumps(config), "info": json.dumps(info)}
    header["digest"] = weights_digest(weights, header)
    try:
        with replacing(path, _is_weights) as temporary:
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
            temporary.write_bytes(save(tensors, header))
    except (OSError, SafetensorError) as error:
        raise NeuropilError(f"cannot write the weights {path}: {error}; choose another name or folder") from error


def weights_header(name: Path | str) -> dict[str, str]:
    """The header of a file of weights, with JSON texts under ``config`` and ``info``; no weight is read.

    Raises:
        NeuropilError: neither a file nor a name, or no file of weights.

    >>> sorted(weights_header("snemi3d"))
    ['config', 'digest', 'format', 'info']
    """
    path = find_checkpoint(name)
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
    except (OSError, SafetensorError):
        header = {}
    if not {"config", "info"} <= header.keys():
        raise NeuropilError(f"expected a file of weights, as `neuropil convert CKPT OUT.safetensors` makes, got {path}")
    return dict(header)


def _is_weights(path: Path) -> bool:
    """Whether a file holds weights that neuropil wrote."""
    header: Mapping[str, str] = {}
    with suppress(OSError, SafetensorError), safe_open(path, "pt") as file:
        header = file.metadata() or {}
    return header.get("format") == FORMAT


def read_weights(path: Path) -> dict[str, Any]:
    """Read a file of weights as a checkpoint's dictionary: config, info, weights.

    Raises:
        NeuropilError: no safetensors file, or one that neuropil did not write.
    """
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise NeuropilError(
                    f"{path} holds weights without a config of neuropil; expected format {FORMAT!r} in its header, as "
                    "`neuropil convert checkpoints/best.pt model.safetensors` writes it"
                )
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            _check_digest(path, weights, header)
            return {"config": json.loads(header["config"]), "info": json.loads(header["info"]), "weights": weights}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise NeuropilError(f"{path} is not a file of weights: {error}; is the download complete?") from error


def weights_digest(weights: Mapping[str, torch.Tensor], header: Mapping[str, str]) -> str:
    """A checksum of names, types, shapes and bytes of weights, and of the config and info that go with them.

    >>> header = {"config": "{}", "info": "{}"}
    >>> one, other = ({"w": torch.tensor([number])} for number in (1.0, 2.0))
    >>> weights_digest(one, header) == weights_digest(other, header), weights_digest(one, header)[:4]
    (False, 'b2b:')
    """
    digest = blake2b(digest_size=16)
    digest.update(json.dumps([header.get("config"), header.get("info")]).encode())
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"b2b:{digest.hexdigest()}"


def _check_digest(path: Path, weights: Mapping[str, torch.Tensor], header: Mapping[str, str]) -> None:
    """Refuse weights that do not match their checksum; print a note if a file has none."""
    stored = header.get("digest")
    if stored is None:
        if path.parent != WEIGHTS:
            print(f"note: {path} has no checksum, as files of version 0.1 had none; its weights are not verified")
    elif stored != weights_digest(weights, header):
        raise NeuropilError(f"{path} is damaged: its weights or config do not match its checksum")
