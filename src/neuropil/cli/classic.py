"""Files of PyTorch Connectomics on the command line: the only place from which verbs import ``compat``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from neuropil.errors import NeuropilError

if TYPE_CHECKING:
    from neuropil.config import Config
    from neuropil.models.checkpoint import Model


def open_model(checkpoint: Path | str, *, by_blocks: bool = False) -> tuple[Model, str | None]:
    """Load a checkpoint of neuropil or of the classic program; and a line to print about it.

    Raises:
        NeuropilError: as ``load_any_model``; a classic checkpoint with ``by_blocks``, because workers cannot open it.
    """
    from neuropil.compat.pytc.checkpoint import is_classic, load_any_model

    model, said = load_any_model(checkpoint)
    if by_blocks and is_classic(model):
        raise NeuropilError(
            f"{checkpoint}: workers open only checkpoints of neuropil; convert it: neuropil convert {checkpoint} "
            "weights.safetensors"
        )
    return model, said


def share_weights(checkpoint: str, target: str) -> tuple[Path, str | None]:
    """Write the weights of a checkpoint of neuropil or of the classic program as .safetensors; and a line to print."""
    from neuropil.compat.pytc.checkpoint import export_any

    return export_any(checkpoint, target)


def translated(files: Sequence[str], overrides: Sequence[str]) -> tuple[Config, Path, list[str]]:
    """Translate classic files: the recipe, the folder of its run, and lines about settings that are not in it."""
    from neuropil.compat.pytc import read_settings, translate
    from neuropil.compat.pytc.version2 import is_version_2, translate_version_2
    from neuropil.config.files import read_yaml

    if len(files) == 1 and not overrides and is_version_2(read_yaml(Path(files[0]))[0]):
        second = translate_version_2(files[0])
        return second.config, second.output, list(second.notes)
    classic = translate(read_settings(files, overrides, refuse=False))
    return classic.config, classic.output, [*classic.notes, *classic.left_out]
