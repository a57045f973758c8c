"""``MODEL``: which network, and what it is made of; each architecture has keys of its own."""

from __future__ import annotations

from itertools import chain

from neuropil.compat.pytc.draft import Draft
from neuropil.compat.pytc.settings import plain

_ARCHITECTURES = {"unet_3d": "residual_unet", "unetr": "unetr", "swinunetr": "swin_unetr"}
_OWN = {
    "residual_unet": {
        "BLOCK_TYPE": "squeeze",
        "FILTERS": "widths",
        "ISOTROPY": "downsample",
        "NORM_MODE": "norm",
        "ACT_MODE": "activation",
    },
    "unetr": {
        "UNETR_NUM_HEADS": "heads",
        "UNETR_FEATURE_SIZE": "width",
        "HIDDEN_SIZE": "hidden",
        "MLP_DIM": "mlp",
        "NORM_NAME": "norm",
    },
    "swin_unetr": {
        "SWIN_UNETR_NUM_HEADS": "heads",
        "SWIN_UNETR_FEATURE_SIZE": "width",
        "DEPTHS": "depths",
        "NORM_NAME": "norm",
        "USE_CHECKPOINT": "recompute",
    },
}
"""The keys that an architecture has, and where they go."""
_TOKEN = 16
"""Voxels of a token of UNETR along each axis."""


def put_network(draft: Draft) -> None:
    """Translate the network.

    Raises:
        NeuropilError: an architecture or a word that has no counterpart, or lists that do not agree in length.
    """
    others = "native recipes also have model.architecture dynunet, mednext and segresnet"
    name = draft.choose("MODEL.ARCHITECTURE", _ARCHITECTURES, others)
    draft.put("model.architecture", name, "MODEL.ARCHITECTURE")
    isotropic = bool(draft.settings["DATASET.IS_ISOTROPIC"])
    idle = [f"MODEL.{key}" for key in dict.fromkeys(chain(*_OWN.values())) if key not in _OWN[name]]
    if name == "residual_unet":
        _put_unet(draft, isotropic)
    else:
        idle.append("DATASET.IS_ISOTROPIC")
        _put_transformer(draft, name)
    if written := [key for key in idle if draft.settings.asks(key)]:
        why = f"MODEL.ARCHITECTURE {draft.settings['MODEL.ARCHITECTURE']} has no such thing"
        draft.notes.append(draft.settings.idle(written, why))
    draft.settings.read.update(idle)


def _put_unet(draft: Draft, isotropic: bool) -> None:
    settings = draft.settings
    squeeze = draft.choose("MODEL.BLOCK_TYPE", {"residual": False, "residual_se": True})
    draft.put("model.squeeze", squeeze, "MODEL.BLOCK_TYPE")
    filters = list(settings["MODEL.FILTERS"])
    draft.put("model.widths", filters, "MODEL.FILTERS")
    isotropy = [True] * len(filters) if isotropic else [bool(one) for one in settings["MODEL.ISOTROPY"]]
    if len(isotropy) != len(filters):
        raise draft.refuse(
            "MODEL.ISOTROPY",
            f"expected as many values in MODEL.ISOTROPY as in MODEL.FILTERS, got {len(isotropy)} and {len(filters)}",
            "MODEL.FILTERS",
        )
    if sorted(isotropy) != isotropy:
        raise draft.refuse("MODEL.ISOTROPY", f"expected False first and True after, got {isotropy}")
    draft.put("model.anisotropic_levels", isotropy.count(False), "MODEL.ISOTROPY")
    draft.put("model.downsample", [[2 if one else 1, 2, 2] for one in isotropy[1:]], "MODEL.ISOTROPY")
    norms = {"bn": "batch", "sync_bn": "sync_batch", "in": "instance", "gn": "group", "none": "none"}
    draft.put("model.norm", draft.choose("MODEL.NORM_MODE", norms), "MODEL.NORM_MODE")
    activations = {"elu": "elu", "relu": "relu", "leaky": "leaky_relu", "gelu": "gelu", "swish": "silu"}
    draft.put("model.activation", draft.choose("MODEL.ACT_MODE", activations), "MODEL.ACT_MODE")


def _put_transformer(draft: Draft, name: str) -> None:
    """UNETR or SwinUNETR, which are MONAI's here as there."""
    settings = draft.settings
    for key, ours in _OWN[name].items():
        theirs = f"MODEL.{key}"
        if ours == "recompute":
            draft.put("model.recompute", bool(settings[theirs]), theirs)
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
    """Attention heads share the channels out evenly."""
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
