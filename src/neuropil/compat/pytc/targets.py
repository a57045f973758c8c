"""Translate ``TARGET_OPT`` and the keys that depend on it: offsets, erosion, auxiliary targets, losses.

Affinity targets with the erosion of the first one become the offsets of the network. Nearest affinities at other
erosions ("multiple erosion rates"), foreground and contour become auxiliary targets, which are learned but not
predicted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from neuropil.compat.pytc.draft import Draft
from neuropil.geometry import NEAREST, Offsets

_LOSSES = {
    **dict.fromkeys(("WeightedBCEWithLogitsLoss", "WeightedBCEWithLogits", "WeightedBCE", "WeightedBCELoss"), "bce"),
    **dict.fromkeys(("WeightedBCEFocalLoss", "WeightedBCEFocal"), "focal"),
    **dict.fromkeys(("DiceLoss", "Dice"), "dice"),
    **dict.fromkeys(("WSDiceLoss", "WSDice"), "ws_dice"),
    "WeightedMSE": "mse",
    "WeightedMAE": "mae",
}
_BALANCES = {"0": "none", "1": "rare", "1-1": "grown"}
_INSTEAD = {
    "1": "synaptic polarity is not learned here",
    "2": "long affinities are written 2-z-y-x-v1; v2 and pni store edges in another way",
    "3": "small objects are not learned here",
    "5": "a native recipe has model.aux_distance, the signed distance to the border",
    "6": "a native recipe has model.aux_distance, the signed distance to the border",
    "7": "flows are not learned here",
    "8": "a native recipe has model.aux_distance, the signed distance to the border",
    "9": "semantic classes are not learned here",
    "a": "a native recipe has model.aux_distance, the signed distance to the border",
}


class Target(NamedTuple):
    """One entry of ``MODEL.TARGET_OPT`` with its losses."""

    kind: Literal["affinity", "foreground", "contour"]
    offsets: Offsets
    """Offsets of an affinity target."""
    width: int
    """Width of a contour in voxels."""
    background: bool
    """Whether a contour includes borders to the background."""
    erosion: int
    terms: tuple[dict[str, Any], ...]
    """Its losses: loss, weight, balance and activation of each."""

    @property
    def channels(self) -> int:
        return len(self.offsets) if self.kind == "affinity" else 1


def put_targets(draft: Draft) -> None:
    """Translate targets, erosion and losses.

    Raises:
        NeuropilError: an unsupported target, loss or weight, lists of different lengths, or no affinity target.
    """
    draft.attempt(_ask_for_affinities, draft)
    targets = read_targets(draft)
    main, others = _divide(draft, targets)
    offsets = tuple(o for target in main for o in target.offsets)
    if len(set(offsets)) < len(offsets):
        raise draft.refuse("MODEL.TARGET_OPT", "the same affinities are asked for twice at the same erosion")
    draft.put("model.offsets", [list(o) for o in offsets], "MODEL.TARGET_OPT")
    draft.put("model.label_erosion", main[0].erosion, "MODEL.LABEL_EROSION")
    draft.put("predict.keep", "nearest" if set(offsets) == set(NEAREST) else "all", "MODEL.TARGET_OPT")
    ordered = [*main, *_put_auxiliaries(draft, others)]
    if ordered != targets:
        draft.note(
            "the network's channels are affinities, other erosions, contour, foreground, in this order: a checkpoint "
            "of the classic program needs its targets in that order",
            "MODEL.TARGET_OPT",
        )
    _put_losses(draft, ordered)
    wanted = sum(target.channels for target in targets)
    if draft.settings["MODEL.OUT_PLANES"] != wanted:
        raise draft.refuse(
            "MODEL.OUT_PLANES",
            f"expected {wanted} in MODEL.OUT_PLANES, the channels of MODEL.TARGET_OPT, "
            f"got {draft.settings['MODEL.OUT_PLANES']}",
            "MODEL.TARGET_OPT",
        )


def _ask_for_affinities(draft: Draft) -> None:
    names = [str(name) for name in draft.settings["MODEL.TARGET_OPT"]]
    if not any(name == "2" or name.startswith("2-") for name in names):
        raise draft.refuse(
            "MODEL.TARGET_OPT",
            f'expected an affinity target ("2" or "2-z-y-x-v1"), got {names}: without affinities there is nothing to '
            "segment",
        )


def read_targets(draft: Draft) -> list[Target]:
    """The targets in their order, each with its erosion and losses."""
    names = [str(name) for name in draft.settings["MODEL.TARGET_OPT"]]
    if not names:
        raise draft.refuse("MODEL.TARGET_OPT", 'expected at least one target, such as ["2"]')
    targets = [draft.attempt(_target, draft, name) for name in names]
    erosion = draft.settings["MODEL.LABEL_EROSION"] or 0
    erosions = list(erosion) if isinstance(erosion, list | tuple) else [erosion] * len(names)
    if len(erosions) != len(names):
        raise draft.refuse(
            "MODEL.LABEL_EROSION",
            f"expected one number, or {len(names)}, as MODEL.TARGET_OPT has, got {len(erosions)}",
            "MODEL.TARGET_OPT",
        )
    lists = [_per_target(draft, key, len(names)) for key in ("LOSS_OPTION", "LOSS_WEIGHT", "WEIGHT_OPT", "OUTPUT_ACT")]
    made = []
    for name, target, eroded, *losses in zip(names, targets, erosions, *lists, strict=True):
        terms = draft.attempt(_losses, draft, name, losses)
        if target is not None and terms is not None:
            made.append(target._replace(erosion=eroded or 0, terms=terms))
    draft.settle()
    return made


def _per_target(draft: Draft, key: str, count: int) -> list[list[Any]]:
    """A list of lists, one per target; a flat list stands for the only target."""
    name = f"MODEL.{key}"
    value = list(draft.settings[name])
    if count == 1 and value and not any(isinstance(part, list | tuple) for part in value):
        value = [value]
    if len(value) != count or not all(isinstance(part, list | tuple) for part in value):
        raise draft.refuse(
            name, f"expected {count} lists in {name}, one for each of MODEL.TARGET_OPT, got {value}", "MODEL.TARGET_OPT"
        )
    return [list(part) for part in value]


def _target(draft: Draft, name: str) -> Target:
    """Parse the name of a target."""
    none = Target("affinity", (), 0, False, 0, ())
    if name == "2":
        return none._replace(offsets=_nearest(draft))
    if long := re.fullmatch(r"2-(\d+)-(\d+)-(\d+)-v1", name):
        z, y, x = (int(part) for part in long.groups())
        if min(z, y, x) < 1:
            raise draft.refuse("MODEL.TARGET_OPT", f"{name}: expected distances of at least 1")
        return none._replace(offsets=((-z, 0, 0), (0, -y, 0), (0, 0, -x)))
    if name == "0":
        return none._replace(kind="foreground")
    if contour := re.fullmatch(r"4(?:-(\d+))?(?:-([01]))?", name):
        width = int(contour[1] or 1)
        if width < 1:
            raise draft.refuse("MODEL.TARGET_OPT", f"{name}: expected a contour at least 1 wide")
        return none._replace(kind="contour", width=width, background=contour[2] != "0")
    why = _INSTEAD.get(name[:1], "expected 2, 2-z-y-x-v1, 0, 4-width-background")
    raise draft.refuse("MODEL.TARGET_OPT", f"the target {name!r} is not supported here; {why}")


def _nearest(draft: Draft) -> Offsets:
    """The nearest offsets; in 2-D those of y and x."""
    if not draft.settings["DATASET.DO_2D"]:
        return NEAREST
    if draft.settings["MODEL.OUT_PLANES"] == 3:
        draft.note("a 2-D network of three channels: its channels count as z, y, x", "DATASET.DO_2D")
        return NEAREST
    return NEAREST[1:]


def _losses(draft: Draft, target: str, lists: Sequence[list[Any]]) -> tuple[dict[str, Any], ...]:
    """The losses of a target, with weight, balance of classes, and activation of each."""
    names, weights, balances, activations = lists
    for key, values in (("LOSS_WEIGHT", weights), ("WEIGHT_OPT", balances), ("OUTPUT_ACT", activations)):
        if len(values) != len(names):
            raise draft.refuse(
                f"MODEL.{key}",
                f"expected {len(names)} values in MODEL.{key} for target {target!r}, as MODEL.LOSS_OPTION has, "
                f"got {values}",
                "MODEL.LOSS_OPTION",
            )
    found = []
    for name, weight, balance, activation in zip(names, weights, balances, activations, strict=True):
        if name not in _LOSSES:
            draft.problem("MODEL.LOSS_OPTION", f"expected one of {', '.join(_LOSSES)}, got {name!r}")
        if str(balance) not in _BALANCES:
            draft.problem(
                "MODEL.WEIGHT_OPT",
                'expected "0" (equal weights), "1" (rare class weighs more) or "1-1" (the same, positives dilated), '
                f"got {balance!r}",
            )
        if name in _LOSSES:
            _check_activation(draft, name, activation)
        if name not in _LOSSES or str(balance) not in _BALANCES:
            continue
        term = {"loss": _LOSSES[name], "weight": float(weight), "balance": _BALANCES[str(balance)]}
        found.append({**term, "activation": activation})
    return tuple(found)


def _check_activation(draft: Draft, loss: str, activation: str) -> None:
    """Record a problem if an activation does not fit its loss: another activation would give another loss."""
    if "Logits" in loss or "Focal" in loss:
        fits: tuple[str, ...] = ("none",)
    elif loss.startswith("WeightedBCE"):
        fits = ("none", "sigmoid")
    else:
        fits = ("none", "sigmoid", "tanh") if loss.startswith("Weighted") else ("sigmoid",)
    if activation not in fits:
        draft.problem(
            "MODEL.OUTPUT_ACT",
            f"expected {' or '.join(fits)} in MODEL.OUTPUT_ACT before {loss}, got {activation!r}",
            "MODEL.LOSS_OPTION",
        )


def _divide(draft: Draft, targets: list[Target]) -> tuple[list[Target], list[Target]]:
    """The affinity targets that are predicted, and the auxiliary targets."""
    affinities = [target for target in targets if target.kind == "affinity"]
    erosion = affinities[0].erosion
    main = [target for target in affinities if target.erosion == erosion]
    for target in targets:
        if target.kind == "affinity" and target not in main and target.offsets != _nearest(draft):
            raise draft.refuse(
                "MODEL.LABEL_EROSION",
                "only the nearest affinities (target 2) may have an erosion other than the first, got "
                f"{target.erosion} for {target.offsets}",
            )
        if target.kind == "foreground" and target.erosion != erosion:
            raise draft.refuse("MODEL.LABEL_EROSION", f"expected {erosion} for target 0, as for the first affinities")
    return main, [target for target in targets if target not in main]


def _put_losses(draft: Draft, ordered: list[Target]) -> None:
    """Put the classic loss: the sum over targets, each on its channels."""
    first, terms = 0, []
    for target in ordered:
        terms += [{**term, "channels": [first, first + target.channels]} for term in target.terms]
        first += target.channels
    draft.put("loss.terms", terms, "MODEL.LOSS_OPTION")


def _put_auxiliaries(draft: Draft, others: list[Target]) -> list[Target]:
    """Put the auxiliary targets; returns them in the order of the network's channels."""
    erosions = [target for target in others if target.kind == "affinity"]
    contours = [target for target in others if target.kind == "contour"]
    foregrounds = [target for target in others if target.kind == "foreground"]
    if max(len(contours), len(foregrounds)) > 1 or len({t.erosion for t in erosions}) < len(erosions):
        raise draft.refuse("MODEL.TARGET_OPT", "the same target is asked for twice", "MODEL.LABEL_EROSION")
    for target in contours:
        if target.erosion:
            draft.note("the contour is that of labels as they are, without erosion", "MODEL.LABEL_EROSION")
    if contours and contours[0].background:
        draft.note("the contour to the background is a voxel narrower on each side", "MODEL.TARGET_OPT")
    if erosions:
        draft.put("model.aux_erosions", [target.erosion for target in erosions], "MODEL.LABEL_EROSION")
    if contours:
        draft.put("model.aux_contour", contours[0].width, "MODEL.TARGET_OPT")
        draft.put("model.aux_contour_background", contours[0].background, "MODEL.TARGET_OPT")
    if foregrounds:
        draft.put("model.aux_foreground", True, "MODEL.TARGET_OPT")
    return [*erosions, *contours, *foregrounds]
