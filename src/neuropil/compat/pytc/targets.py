"""``TARGET_OPT`` and what hangs on it: offsets, erosion, auxiliary targets, and the losses of each.

A target is an affinity target or an auxiliary one. The affinities of all targets that share the erosion of the first
become the offsets of the network; nearest affinities at other erosions ("multiple erosion rates"), foreground and
contour are learned besides and not predicted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from neuropil.compat.pytc.draft import Draft
from neuropil.geometry import NEAREST, Offsets

_LOSSES = {
    "WeightedBCEWithLogitsLoss": "bce",
    "WeightedBCEWithLogits": "bce",
    "WeightedBCE": "bce",
    "WeightedBCELoss": "bce",
    "WeightedBCEFocalLoss": "focal",
    "WeightedBCEFocal": "focal",
    "DiceLoss": "dice",
    "Dice": "dice",
    "WeightedMSE": "mse",
}
_INSTEAD = {
    "1": "synaptic polarity is not learned here",
    "2": "long affinities are written 2-z-y-x-v1; v2 and pni store edges otherwise",
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
    """Of an affinity target."""
    width: int
    """Of a contour."""
    background: bool
    """Whether the contour counts borders to the background, too."""
    erosion: int
    losses: dict[str, float]
    """Weight of each loss: bce, dice, focal, mse."""
    balanced: bool
    """Whether the rare class weighs more in the cross-entropy."""

    @property
    def channels(self) -> int:
        return len(self.offsets) if self.kind == "affinity" else 1


def put_targets(draft: Draft) -> None:
    """Translate targets, erosion and losses.

    Raises:
        NeuropilError: a target, loss or weight that there is not here, lists that do not agree in length, or no
            affinity target.
    """
    targets = read_targets(draft)
    main, others = _divide(draft, targets)
    offsets = tuple(o for target in main for o in target.offsets)
    if len(set(offsets)) < len(offsets):
        raise draft.refuse("MODEL.TARGET_OPT", "the same affinities are asked for twice at the same erosion")
    draft.put("model.offsets", [list(o) for o in offsets], "MODEL.TARGET_OPT")
    draft.put("model.label_erosion", main[0].erosion, "MODEL.LABEL_EROSION")
    draft.put("predict.keep", "nearest" if set(offsets) == set(NEAREST) else "all", "MODEL.TARGET_OPT")
    _put_losses(draft, main)
    _put_auxiliaries(draft, others)
    wanted = sum(target.channels for target in targets)
    if draft.settings["MODEL.OUT_PLANES"] != wanted:
        raise draft.refuse(
            "MODEL.OUT_PLANES",
            f"expected {wanted} in MODEL.OUT_PLANES, the channels of MODEL.TARGET_OPT, "
            f"got {draft.settings['MODEL.OUT_PLANES']}",
            "MODEL.TARGET_OPT",
        )


def read_targets(draft: Draft) -> list[Target]:
    """The targets in their order, each with its erosion and losses."""
    names = [str(name) for name in draft.settings["MODEL.TARGET_OPT"]]
    if not names:
        raise draft.refuse("MODEL.TARGET_OPT", 'expected at least one target, such as ["2"]')
    targets = [_target(draft, name) for name in names]
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
        made.append(target._replace(erosion=eroded or 0, **_losses(draft, name, losses)))
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
    """What the text of a target means."""
    none = Target("affinity", (), 0, False, 0, {}, True)
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
    raise draft.refuse("MODEL.TARGET_OPT", f"the target {name!r} is not to be had here; {why}")


def _nearest(draft: Draft) -> Offsets:
    """The nearest edges: of sections by themselves those within one."""
    if not draft.settings["DATASET.DO_2D"]:
        return NEAREST
    if draft.settings["MODEL.OUT_PLANES"] == 3:
        draft.note("a 2-D network of three channels: its channels count as z, y, x", "DATASET.DO_2D")
        return NEAREST
    return NEAREST[1:]


def _losses(draft: Draft, target: str, lists: Sequence[list[Any]]) -> dict[str, Any]:
    """The weight of each loss of a target, and whether its classes are balanced."""
    names, weights, balances, activations = lists
    for key, values in (("LOSS_WEIGHT", weights), ("WEIGHT_OPT", balances), ("OUTPUT_ACT", activations)):
        if len(values) != len(names):
            raise draft.refuse(
                f"MODEL.{key}",
                f"expected {len(names)} values in MODEL.{key} for target {target!r}, as MODEL.LOSS_OPTION has, "
                f"got {values}",
                "MODEL.LOSS_OPTION",
            )
    found: dict[str, float] = {}
    balanced = True
    for name, weight, balance, activation in zip(names, weights, balances, activations, strict=True):
        if name not in _LOSSES:
            raise draft.refuse("MODEL.LOSS_OPTION", f"expected one of {', '.join(_LOSSES)}, got {name!r}")
        loss = _LOSSES[name]
        if loss in found:
            raise draft.refuse("MODEL.LOSS_OPTION", f"target {target!r} names {name} twice")
        if str(balance) not in ("0", "1"):
            raise draft.refuse(
                "MODEL.WEIGHT_OPT", f'expected "0" (all alike) or "1" (rare class weighs more), got {balance!r}'
            )
        _check_activation(draft, name, activation)
        found[loss] = float(weight)
        if loss == "bce":
            balanced = str(balance) == "1"
        elif str(balance) == "1" and loss in ("focal", "mse"):
            raise draft.refuse(
                "MODEL.WEIGHT_OPT",
                f'{name} weighs all voxels alike: expected "0" in MODEL.WEIGHT_OPT, got "1"',
                "MODEL.LOSS_OPTION",
            )
    return {"losses": found, "balanced": balanced}


def _check_activation(draft: Draft, loss: str, activation: str) -> None:
    """Losses know what they need; another activation in front of one would be another loss."""
    fits = ("none",) if "Logits" in loss else ("none", "sigmoid") if loss.startswith("WeightedBCE") else ("sigmoid",)
    if activation not in fits:
        raise draft.refuse(
            "MODEL.OUTPUT_ACT",
            f"expected {' or '.join(fits)} in MODEL.OUTPUT_ACT before {loss}, got {activation!r}",
            "MODEL.LOSS_OPTION",
        )


def _divide(draft: Draft, targets: list[Target]) -> tuple[list[Target], list[Target]]:
    """The affinities that will be predicted, and what is learned besides."""
    affinities = [target for target in targets if target.kind == "affinity"]
    if not affinities:
        raise draft.refuse(
            "MODEL.TARGET_OPT",
            f'expected an affinity target ("2" or "2-z-y-x-v1"), got {draft.settings["MODEL.TARGET_OPT"]}: without '
            "affinities there is nothing to segment",
        )
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


def _put_losses(draft: Draft, main: list[Target]) -> None:
    """The classic loss is the sum over targets of each one's mean; ours is the mean over all edges."""
    first = main[0]
    for key, get in (("LOSS_OPTION", _names), ("WEIGHT_OPT", _balanced)):
        if any(get(target) != get(first) for target in main):
            raise draft.refuse(f"MODEL.{key}", "expected the same for all affinity targets of one erosion")
    for loss in ("bce", "dice", "focal", "mse"):
        weights = [target.losses.get(loss, 0.0) for target in main]
        alike = len(set(weights)) == 1
        if not alike and loss != "bce":
            raise draft.refuse("MODEL.LOSS_WEIGHT", f"expected one weight of {loss} for all affinities, got {weights}")
        draft.put(f"loss.{loss}", sum(weights) if alike else float(len(main)), "MODEL.LOSS_WEIGHT")
        if not alike:
            per_edge = [weight for target, weight in zip(main, weights, strict=True) for _ in target.offsets]
            draft.put("loss.edge_weights", per_edge, "MODEL.LOSS_WEIGHT")
    draft.put("loss.class_balance", first.balanced, "MODEL.WEIGHT_OPT")


def _names(target: Target) -> object:
    return set(target.losses)


def _balanced(target: Target) -> object:
    return target.balanced


def _put_auxiliaries(draft: Draft, others: list[Target]) -> None:
    erosions = [target for target in others if target.kind == "affinity"]
    contours = [target for target in others if target.kind == "contour"]
    foregrounds = [target for target in others if target.kind == "foreground"]
    if max(len(contours), len(foregrounds)) > 1 or len({t.erosion for t in erosions}) < len(erosions):
        raise draft.refuse("MODEL.TARGET_OPT", "the same target is asked for twice", "MODEL.LABEL_EROSION")
    for target in others:
        if set(target.losses) - {"bce", "dice"}:
            raise draft.refuse(
                "MODEL.LOSS_OPTION",
                "targets besides the first affinities are learned by cross-entropy and Dice; "
                f"got {sorted(target.losses)} for {target.kind}",
            )
        if not target.balanced:
            raise draft.refuse(
                "MODEL.WEIGHT_OPT",
                'cross-entropy of targets besides the first affinities is balanced: expected "1", got "0" for '
                f"{target.kind}",
            )
        if target.kind == "contour" and target.erosion:
            draft.note("the contour is that of labels as they are, without erosion", "MODEL.LABEL_EROSION")
    if erosions:
        draft.put("model.aux_erosions", [target.erosion for target in erosions], "MODEL.LABEL_EROSION")
        draft.put("loss.aux_erosions", _shared(draft, erosions, _bce), "MODEL.LOSS_WEIGHT")
    if contours:
        draft.put("model.aux_contour", contours[0].width, "MODEL.TARGET_OPT")
        draft.put("model.aux_contour_background", contours[0].background, "MODEL.TARGET_OPT")
        draft.put("loss.aux_contour", contours[0].losses.get("bce", 0.0), "MODEL.LOSS_WEIGHT")
    if foregrounds:
        draft.put("model.aux_foreground", True, "MODEL.TARGET_OPT")
        draft.put("loss.aux_foreground", foregrounds[0].losses.get("bce", 0.0), "MODEL.LOSS_WEIGHT")
    if others:
        draft.put("loss.aux_dice", _shared(draft, others, _dice), "MODEL.LOSS_WEIGHT")


def _bce(target: Target) -> float:
    return target.losses.get("bce", 0.0)


def _dice(target: Target) -> float:
    return target.losses.get("dice", 0.0)


def _shared(draft: Draft, targets: Sequence[Target], weight: Callable[[Target], float]) -> float:
    """The one weight of several targets."""
    weights = {weight(target) for target in targets}
    if len(weights) > 1:
        raise draft.refuse("MODEL.LOSS_WEIGHT", f"expected one weight for all of these targets, got {sorted(weights)}")
    return weights.pop()
