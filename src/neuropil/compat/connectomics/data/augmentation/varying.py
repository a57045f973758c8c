"""Apply ``neuropil.augment`` to classic samples, with the settings of classic augmentors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neuropil.augment import (
    Intensity,
    Warp,
    apply_curves,
    apply_defects,
    apply_symmetry,
    apply_warp,
    draw_curves,
    draw_defects,
    draw_symmetry,
    draw_warp,
)
from neuropil.compat.pytc.augmentor import put_augmentation
from neuropil.compat.pytc.draft import Draft
from neuropil.compat.pytc.settings import Settings
from neuropil.compat.pytc.vocabulary import VOCABULARY
from neuropil.config import AugmentConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import Triple

Targets = Mapping[str, str] | None
"""Further arrays that move with the image: names with their type, ``mask`` (nearest) or ``img`` (bilinear)."""

ClassicSample = dict[str, npt.NDArray[Any]]
"""``image`` and targets, [z, y, x]."""

TARGETS = {"label": "mask", "valid_mask": "mask"}
"""Arrays that always move with the image."""

_KINDS = [name.split(".")[1] for name in VOCABULARY if name.startswith("AUGMENTOR.") and name.count(".") == 2]


class Kind(Protocol):
    """An augmentor: its section of ``AUGMENTOR``, and the values of the keys there."""

    key: str

    def settings(self) -> dict[str, Any]: ...


def augment_config(transforms: Iterable[Kind], surely: bool = False) -> AugmentConfig:
    """The ``augment`` section for some augmentors; all other kinds are off.

    Args:
        transforms: at most one of each kind.
        surely: replace their probabilities by 1.

    >>> from neuropil.compat.connectomics.data.augmentation import Elastic
    >>> augment_config([Elastic(alpha=8.0, p=0.25)]).elastic_probability
    0.25
    """
    given: dict[str, Any] = {f"AUGMENTOR.{kind}.ENABLED": False for kind in dict.fromkeys(_KINDS)}
    kinds = [one.key for one in transforms]
    if len(set(kinds)) < len(kinds):
        raise NeuropilError(f"expected one augmentor of a kind, got {', '.join(type(t).__name__ for t in transforms)}")
    for one in transforms:
        given |= {f"AUGMENTOR.{one.key}.{name}": value for name, value in one.settings().items()}
        if surely:
            given[f"AUGMENTOR.{one.key}.P"] = 1.0
    draft = Draft(Settings(given, dict.fromkeys(given, "augmentors")))
    put_augmentation(draft)
    return AugmentConfig(**draft.values["augment"])


def vary_sample(
    sample: ClassicSample,
    transforms: Sequence[Kind],
    targets: Targets,
    random_state: np.random.RandomState | np.random.Generator | None = None,
    surely: bool = False,
) -> ClassicSample:
    """The sample augmented, of the same size; arrays that do not move with the image are left out."""
    rng, augment = stream(random_state), augment_config(transforms, surely)
    image = torch.from_numpy(np.ascontiguousarray(sample["image"], np.float32))
    if image.ndim != 3:
        raise NeuropilError(f"expected an image [z, y, x], got shape {tuple(image.shape)}")
    z, y, x = image.shape
    moving = {
        name: kind for name, kind in (targets or TARGETS).items() if sample.get(name) is not None and name != "image"
    }
    parts = {name: torch.from_numpy(np.ascontiguousarray(sample[name], np.float32)) for name in moving}
    warp = draw_warp(rng, augment, (z, y, x))
    if warp is not None:
        parts = {name: _warped(part, warp, (z, y, x), moving[name]) for name, part in parts.items()}
        image = _warped(image, warp, (z, y, x), "img")
    image = apply_defects(image, draw_defects(rng, augment, (z, y, x)))
    grey = Intensity(augment.contrast, augment.brightness, augment.gamma, augment.intensity_probability)
    image = apply_curves(image, draw_curves(rng, grey, z))
    symmetry = draw_symmetry(rng, augment.flip, augment.transpose and y == x)
    out = {"image": apply_symmetry(image, symmetry).numpy().copy()}
    for name, part in parts.items():
        turned = apply_symmetry(part, symmetry).numpy()
        out[name] = turned.astype(sample[name].dtype)
    return out


def _warped(part: Tensor, warp: Warp, patch: Triple, kind: str) -> Tensor:
    """Warp one array of a sample; beyond its border the last voxels are repeated."""
    y, x = warp.reach
    wide = torch.nn.functional.pad(part[:, None], (x, x, y, y), mode="replicate")[:, 0]
    ids, seen = wide.to(torch.int32), torch.ones_like(wide, dtype=torch.bool)
    found = apply_warp(wide, ids, seen, warp, patch, 0)
    return found.image_ZYX if kind == "img" else found.labels_ZHW.to(part.dtype)


def stream(random_state: np.random.RandomState | np.random.Generator | None) -> np.random.Generator:
    """The random generator for one sample: seeded from the state, or a new one each time."""
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31 - 1))
    return random_state if random_state is not None else np.random.default_rng()
