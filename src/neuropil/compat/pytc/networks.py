"""Translate ``MODEL``: the architecture and its settings; each architecture has keys of its own."""

from __future__ import annotations

from itertools import chain
from typing import Any

from neuropil.compat.pytc.draft import Draft
from neuropil.compat.pytc.settings import plain
from neuropil.config.networks import CLASSIC

_ARCHITECTURES = {**{name: name for name in CLASSIC}, "unetr": "unetr", "swinunetr": "swin_unetr"}
_RESIDUAL = {
    "BLOCK_TYPE": "squeeze",
    "FILTERS": "widths",
    "ISOTROPY": "isotropy",
    "NORM_MODE": "norm",
    "ACT_MODE": "activation",
    "PAD_MODE": "padding",
}
_OWN = {
    **{name: {**_RESIDUAL, "POOLING_LAYER": "pooling"} for name in CLASSIC},
    "fpn_3d": {**_RESIDUAL, "BACKBONE": "architecture", "BLOCKS": "blocks"},
    "unetr": {
        "UNETR_NUM_HEADS": "heads",
        "UNETR_FEATURE_SIZE": "width",
        "HIDDEN_SIZE": "hidden",
        "MLP_DIM": "mlp",
        "NORM_NAME": "norm",
        "CONV_BLOCK": "conv_block",
    },
    "swin_unetr": {
        "SWIN_UNETR_NUM_HEADS": "heads",
        "SWIN_UNETR_FEATURE_SIZE": "width",
        "DEPTHS": "depths",
        "NORM_NAME": "norm",
        "USE_CHECKPOINT": "recompute",
        "USE_V2": "version",
    },
}
"""The classic keys of each architecture, and our names of them."""
_BLOCKS = {"residual": False, "residual_se": True}
_NORMS = {"bn": "batch", "sync_bn": "sync_batch", "in": "instance", "gn": "group", "none": "none"}
_ACTIVATIONS = {
    "elu": "elu",
    "relu": "relu",
    "leaky_relu": "leaky_relu",
    "leaky": "leaky_relu",
    "gelu": "gelu",
    "swish": "silu",
    "efficient_swish": "silu",
}
_PADDINGS = {name: name for name in ("replicate", "zeros", "reflect", "circular")}
_TOKEN = 16
"""Voxels of a token of UNETR along each axis."""


def put_network(draft: Draft) -> None:
    """Translate the network; unknown words and lists of different lengths are recorded as problems.

    Raises:
        NeuropilError: attention heads that do not divide the channels, or a patch that is not three numbers.
    """
    others = "native recipes also have model.architecture dynunet, mednext and segresnet"
    name = draft.choose("MODEL.ARCHITECTURE", _ARCHITECTURES, others)
    draft.put("model.architecture", name, "MODEL.ARCHITECTURE")
    idle = [f"MODEL.{key}" for key in dict.fromkeys(chain(*_OWN.values())) if key not in _OWN[name]]
    if name in CLASSIC:
        _put_residual(draft, name)
    else:
        idle += ["DATASET.IS_ISOTROPIC", "DATASET.MEAN", "DATASET.STD"]
        _put_transformer(draft, name)
    if written := [key for key in idle if draft.settings.asks(key)]:
        why = f"MODEL.ARCHITECTURE {draft.settings['MODEL.ARCHITECTURE']} has no such thing"
        draft.notes.append(draft.settings.idle(written, why))
    draft.settings.read.update(idle)


def _put_residual(draft: Draft, name: str) -> None:
    """A residual U-Net or feature pyramid."""
    settings = draft.settings
    if name == "fpn_3d":
        draft.choose("MODEL.BACKBONE", {"resnet": "resnet"}, "of the pyramids the one on a ResNet is there")
        draft.put("model.fpn_3d.blocks", plain(settings["MODEL.BLOCKS"]), "MODEL.BLOCKS")
    else:
        draft.put(f"model.{name}.pooling", bool(settings["MODEL.POOLING_LAYER"]), "MODEL.POOLING_LAYER")
    filters = list(settings["MODEL.FILTERS"])
    if name == "fpn_3d" and len(filters) != 5:
        draft.problem("MODEL.FILTERS", f"fpn_3d has five levels: expected five MODEL.FILTERS, got {filters}")
    isotropic = bool(settings["DATASET.IS_ISOTROPIC"])
    isotropy = [True] * len(filters) if isotropic else [bool(one) for one in settings["MODEL.ISOTROPY"]]
    flat = name.endswith("_2d")
    if len(isotropy) != len(filters) and not flat:
        draft.problem(
            "MODEL.ISOTROPY",
            f"expected as many values in MODEL.ISOTROPY as in MODEL.FILTERS, got {len(isotropy)} and {len(filters)}",
            "MODEL.FILTERS",
        )
    draft.put(f"model.{name}.widths", filters, "MODEL.FILTERS")
    draft.put(f"model.{name}.isotropy", [False] * len(filters) if flat else isotropy, "MODEL.ISOTROPY")
    draft.put(f"model.{name}.isotropic", isotropic and not flat, "DATASET.IS_ISOTROPIC")
    words: dict[str, dict[str, Any]] = {
        "BLOCK_TYPE": _BLOCKS,
        "NORM_MODE": _NORMS,
        "ACT_MODE": _ACTIVATIONS,
        "PAD_MODE": _PADDINGS,
    }
    for key, meanings in words.items():
        draft.put(f"model.{name}.{_RESIDUAL[key]}", draft.choose(f"MODEL.{key}", meanings), f"MODEL.{key}")
    for ours, theirs in (("mean", "MEAN"), ("deviation", "STD")):
        draft.put(f"model.{name}.{ours}", settings[f"DATASET.{theirs}"], f"DATASET.{theirs}")


def _put_transformer(draft: Draft, name: str) -> None:
    """UNETR or SwinUNETR, which are MONAI's in both packages."""
    settings = draft.settings
    for key, ours in _OWN[name].items():
        theirs = f"MODEL.{key}"
        if ours == "recompute":
            draft.put("model.recompute", bool(settings[theirs]), theirs)
        elif ours == "version":
            draft.put("model.swin_unetr.version", 2 if settings[theirs] else 1, theirs)
        elif ours == "conv_block":
            draft.put("model.unetr.conv_block", bool(settings[theirs]), theirs)
        elif ours == "norm":
            norm = draft.choose(theirs, {"instance": "instance", "batch": "batch"})
            draft.put(f"model.{name}.norm", norm, theirs)
        else:
            draft.put(f"model.{name}.{ours}", plain(settings[theirs]), theirs)
    if name == "unetr":
        grid = [-(-size // _TOKEN) for size in draft.size("MODEL.INPUT_SIZE")]
        draft.put("model.unetr.grid", grid, "MODEL.INPUT_SIZE")
    _check_heads(draft, name)


def _check_heads(draft: Draft, name: str) -> None:
    """Refuse a number of attention heads that does not divide the channels."""
    keys = {
        "unetr": ("HIDDEN_SIZE", "UNETR_NUM_HEADS"),
        "swin_unetr": ("SWIN_UNETR_FEATURE_SIZE", "SWIN_UNETR_NUM_HEADS"),
    }
    channels, heads = (f"MODEL.{key}" for key in keys[name])
    width, given = draft.settings[channels], plain(draft.settings[heads])
    counts = given if isinstance(given, list) else [given]
    if min([width, *counts]) > 0 and any(width * 2**stage % count for stage, count in enumerate(counts)):
        doubling = ", doubled from stage to stage" if isinstance(given, list) else ""
        raise draft.refuse(heads, f"expected {heads} to divide {channels}{doubling}, got {given} and {width}", channels)
