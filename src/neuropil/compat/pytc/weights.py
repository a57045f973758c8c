"""Translate weights of PyTorch Connectomics to the parameter names of our networks."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuropil.errors import NeuropilError
from neuropil.models.checkpoint import UNREADABLE

_BLOCK = (
    (r"\.conv\.0\.0\.([01])\.", r".first.\1."),
    (r"\.conv\.0\.1\.([01])\.", r".second.\1."),
    (r"\.conv\.1\.fc\.0\.", ".squeeze.down."),
    (r"\.conv\.1\.fc\.2\.", ".squeeze.up."),
)
_PLAIN_BLOCK = ((r"\.conv\.0\.([01])\.", r".first.\1."), (r"\.conv\.1\.([01])\.", r".second.\1."))
_LAYERS = (
    (r"^conv_in\.", "enter."),
    (r"^conv_out\.0\.", "head."),
    (r"^down_layers\.(\d+)\.", r"encoder.\1."),
    (r"^up_layers\.(\d+)\.0\.", r"up.\1."),
    (r"^up_layers\.(\d+)\.1\.", r"decoder.\1."),
    (r"^feat_layers\.", "share."),
    (r"^non_local\.W\.", "attend.merge."),
    (r"^non_local\.theta\.", "attend.query."),
    (r"^non_local\.phi\.", "attend.key."),
    (r"^non_local\.g\.", "attend.value."),
    (r"^backbone\.layer0\.", "enter."),
    (r"^latlayers\.", "side."),
    (r"\.projector\.", ".project."),
)


def our_name(name: str, squeeze: bool) -> str:
    """Our name of a classic parameter or statistic.

    >>> our_name("down_layers.0.2.conv.0.0.0.weight", squeeze=True)
    'encoder.0.2.first.0.weight'
    >>> our_name("backbone.layer2.0.projector.1.bias", squeeze=False)
    'encoder.1.0.project.1.bias'
    """
    for pattern, ours in (*(_BLOCK if squeeze else _PLAIN_BLOCK), *_LAYERS):
        name = re.sub(pattern, ours, name)
    return re.sub(r"^backbone\.layer(\d+)\.", lambda found: f"encoder.{int(found[1]) - 1}.", name)


def translate_weights(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A classic ``state_dict`` under our names; 2-D kernels become 3-D ones of depth 1.

    Layers without channels, which small 2-D networks have, are left out.
    """
    squeeze = any(".fc." in name for name in theirs)
    return {
        our_name(name, squeeze): value[:, :, None] if value.ndim == 4 else value
        for name, value in theirs.items()
        if value.numel()
    }


def read_classic(path: Path) -> dict[str, Any] | None:
    """The content of a classic checkpoint, its ``state_dict`` without the prefix ``module.``; None for another file.

    Raises:
        NeuropilError: a file that holds more than tensors and plain values; no code in it is run.
    """
    if path.suffix == ".safetensors":
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not zipfile.is_zipfile(path):
            return None
        kind = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise NeuropilError(
            f"{path} is not a neuropil checkpoint: expected tensors and plain values, got "
            f"{kind[1] if kind else 'other objects'}, which only running code of the file could load; save its "
            "state_dict alone, with the program that made it"
        ) from error
    except UNREADABLE:
        return None
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), Mapping):
        return None
    states = content["state_dict"]
    weights = {str(name).removeprefix("module."): value for name, value in states.items() if isinstance(value, Tensor)}
    weights.pop("n_averaged", None)  # a counter in averaged weights
    return {**content, "state_dict": weights}
