"""The loss of a batch: the sum of its terms, weighted as the config says."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from neuropil.config import Config, LossConfig
from neuropil.errors import NeuropilError
from neuropil.losses import (
    Across,
    alone,
    balanced_bce,
    classic_loss,
    classic_weights,
    dice,
    focal,
    soft_bce,
    squared_error,
)
from neuropil.targets import AuxiliaryTarget
from neuropil.training.batches import Batch


class Losses(NamedTuple):
    """Loss of a batch, and its terms."""

    loss: Tensor
    """The weighted sum of all terms, a scalar over all devices."""
    terms: dict[str, Tensor]
    """Each term before its weight, detached."""


def compute_losses(logits_BCZYX: Tensor, batch: Batch, config: Config, across: Across = alone) -> Losses:
    """The loss of logits whose channels are affinities, then auxiliary targets, then affinities of coarser levels.

    In evaluation mode a network returns affinities only, and the loss has only their terms.

    Args:
        logits_BCZYX: output of the network.
        batch: the targets.
        config: has the weights of the terms.
        across: sums a value over all devices.

    Raises:
        NeuropilError: no term has a weight above 0.
    """
    loss, edges = config.loss, len(config.model.offsets)
    if loss.terms:
        return _sum_up(_classic_terms(logits_BCZYX, batch, loss, across))
    weighed = _affinity_terms(logits_BCZYX[:, :edges], batch, loss, across)
    if logits_BCZYX.shape[1] > edges:
        at = edges
        for made in batch.auxiliary:
            part = logits_BCZYX[:, at : at + made.task.channels]
            at += made.task.channels
            weighed[made.task.name] = _auxiliary_term(part, made, loss, across)
            if loss.aux_dice and made.task.kind == "binary":
                cost = dice(part, made.target_BCZYX, made.validity_BCZYX, across)
                weighed[f"{made.task.name} dice"] = (loss.aux_dice, cost)
        coarse = [logits_BCZYX[:, a : a + edges] for a in range(at, logits_BCZYX.shape[1], edges)]
        for level, part in enumerate(coarse, start=1):
            cost = balanced_bce(
                part, batch.target_BEZYX, batch.validity_BEZYX, weight_cap=loss.weight_cap, across=across
            )
            weighed[f"level {level}"] = (loss.deep / len(coarse), cost)
    return _sum_up(weighed)


def _sum_up(weighed: dict[str, tuple[float, Tensor]]) -> Losses:
    if not weighed:
        raise NeuropilError("loss: expected one term with a weight above 0, got none; set loss.bce")
    total = torch.stack([weight * term for weight, term in weighed.values()]).sum()
    return Losses(total, {name: term.detach() for name, (_, term) in weighed.items()})


def _classic_terms(
    logits_BCZYX: Tensor, batch: Batch, loss: LossConfig, across: Across
) -> dict[str, tuple[float, Tensor]]:
    """Each of ``loss.terms`` on its channels, mean over devices; without terms on channels that the network lacks."""
    binary = [made for made in batch.auxiliary if made.task.kind == "binary"]
    target = torch.cat([batch.target_BEZYX, *(made.target_BCZYX for made in binary)], 1)
    valid = torch.cat(
        [batch.validity_BEZYX, *(made.validity_BCZYX.expand(made.target_BCZYX.shape) for made in binary)], 1
    )
    devices = across(torch.ones((), device=logits_BCZYX.device))
    weighed: dict[str, tuple[float, Tensor]] = {}
    for term in loss.terms:
        first, last = term.channels
        if last > logits_BCZYX.shape[1]:
            continue
        weights = classic_weights(target[:, first:last], valid[:, first:last], term.balance)
        cost = classic_loss(term.loss, logits_BCZYX[:, first:last], target[:, first:last], weights, term.activation)
        weighed[f"{term.loss} {first}" if first else term.loss] = (term.weight, across(cost) / devices)
    return weighed


def _affinity_terms(
    logits_BEZYX: Tensor, batch: Batch, loss: LossConfig, across: Across
) -> dict[str, tuple[float, Tensor]]:
    target, valid = batch.target_BEZYX, batch.validity_BEZYX
    weighed: dict[str, tuple[float, Tensor]] = {}
    if loss.bce:
        asked = loss.edge_weights  # sent without synchronising with the GPU
        weights = None if asked is None else torch.tensor(asked).to(logits_BEZYX.device, non_blocking=True)
        weighed["bce"] = (
            loss.bce,
            balanced_bce(
                logits_BEZYX,
                target,
                valid,
                class_balance=loss.class_balance,
                weight_cap=loss.weight_cap,
                label_smoothing=loss.label_smoothing,
                edge_weights=weights,
                across=across,
            ),
        )
    if loss.dice:
        weighed["dice"] = (loss.dice, dice(logits_BEZYX, target, valid, across))
    if loss.focal:
        weighed["focal"] = (loss.focal, focal(logits_BEZYX, target, valid, loss.focal_gamma, across))
    if loss.mse:
        weighed["mse"] = (loss.mse, squared_error(logits_BEZYX.float().sigmoid(), target, valid, across))
    if batch.soft_BEZYX is not None and batch.soft_validity_BEZYX is not None:
        cost = soft_bce(logits_BEZYX, batch.soft_BEZYX, batch.soft_validity_BEZYX, across)
        weighed["teacher"] = (loss.teacher, cost)
    return weighed


def _auxiliary_term(
    logits_BCZYX: Tensor, made: AuxiliaryTarget, loss: LossConfig, across: Across
) -> tuple[float, Tensor]:
    """Weight and loss of an auxiliary target: cross-entropy for binary ones, squared error for the others."""
    kind, name = made.task.kind, made.task.name.split()[0]
    weight = {
        "erosion": loss.aux_erosions,
        "contour": loss.aux_contour,
        "foreground": loss.aux_foreground,
        "distance": loss.aux_distance,
        "descriptors": loss.aux_descriptors,
    }[name]
    target, valid = made.target_BCZYX, made.validity_BCZYX
    if kind == "binary":
        return weight, balanced_bce(logits_BCZYX, target, valid, weight_cap=loss.weight_cap, across=across)
    value = logits_BCZYX.float().tanh() if kind == "signed" else logits_BCZYX.float().sigmoid()
    return weight, squared_error(value, target, valid, across)
