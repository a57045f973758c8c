"""The verb ``check``: find problems of a volume before training or prediction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from neuropil.config.schema import IntensityConfig
from neuropil.geometry import VoxelSize
from neuropil.models.released import released_models, weights_header
from neuropil.pipeline.inspecting_labels import LabelFacts, label_facts
from neuropil.volumes import Volume, require_image, require_labels
from neuropil.volumes.counting import looks_like_image, looks_like_labels
from neuropil.volumes.damage import BadSection, bad_sections
from neuropil.volumes.grey import GreyValues, far_from, find_scale, scaled_image

CLIPPED = 0.05
"""Share of voxels in the darkest or brightest bin of the histogram from which the image may be clipped."""


@dataclass(frozen=True)
class KnownModel:
    """Voxel size and grey values of a model's training images, as far as its file stores them."""

    name: str
    voxel_size: VoxelSize | None
    grey: GreyValues | None
    scale: IntensityConfig

    def far(self, size: VoxelSize | None) -> float:
        """Largest ratio of the two voxel sizes along an axis, at least 1; infinite if one is not known."""
        if size is None or self.voxel_size is None:
            return float("inf")
        return max(max(a, b) / min(a, b) for a, b in zip(size, self.voxel_size, strict=True))


@dataclass
class Findings:
    """Facts about a volume, and problems."""

    facts: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    bad: list[BadSection] = field(default_factory=list)
    """Damaged sections."""
    grey: GreyValues | None = None
    """Grey values of the image, as the model would see them."""
    model: KnownModel | None = None
    """The model that the image is compared with."""
    labels: LabelFacts | None = None

    def lines(self) -> list[str]:
        """The lines to print: facts first, then problems."""
        wide = max((len(name) for name, _ in self.facts), default=0) + 2
        told = [f"{name:<{wide}}{text}" for name, text in self.facts]
        if not self.problems:
            return [*told, "nothing wrong was found"]
        return [*told, f"{len(self.problems)} to look at:", *(f"  - {text}" for text in self.problems)]


def inspect_volumes(image: Volume, labels: Volume | None = None, model: str | None = None) -> Findings:
    """Check an image and, if given, its labels. Reads both, section by section.

    Args:
        image: ``[z, y, x]``.
        labels: ground truth, ``[z, y, x]``.
        model: a file of weights or the name of a model to compare with; None: the one of the package with the nearest
            voxel size.

    Raises:
        NeuropilError: a volume that cannot be an image or labels, NaN in the image, or no such model.

    >>> from neuropil.volumes import array_volume
    >>> inspect_volumes(array_volume(np.zeros((2, 8, 8), np.uint8))).problems[0]
    'no voxel size is stored: give it with `neuropil convert IMAGE OUT --voxel-size Z,Y,X`'
    """
    found = Findings(model=_model(image, model))
    _image(require_image(image), found)
    _grey(image, found)
    found.bad = bad_sections(image)
    found.facts.append(("damaged sections", f"{len(found.bad)} of {image.shape[0]}"))
    found.problems += [f"section {one.z} is {one.why}" for one in found.bad]
    if found.bad:
        sections = ",".join(str(one.z) for one in found.bad)
        found.facts.append(("leave them out", f"--skip-sections {sections}, or auto"))
    if labels is not None:
        found.labels = label_facts(require_labels(labels))
        found.facts += found.labels.facts()
        found.problems += found.labels.problems()
        _both(image, labels, found)
    return found


def _model(image: Volume, name: str | None) -> KnownModel:
    """The model to compare with: the named one, or the one with the nearest voxel size."""
    known = [_known(one) for one in ([name] if name else released_models())]
    return min(known, key=lambda one: one.far(image.metadata.voxel_size))


def _known(name: str) -> KnownModel:
    header = weights_header(name)
    config, info = json.loads(header["config"]), json.loads(header["info"])
    size = info.get("voxel_size") or config.get("data", {}).get("voxel_size")
    scale = IntensityConfig.model_validate(config.get("data", {}).get("intensity") or {})
    return KnownModel(name, None if size is None else (size[0], size[1], size[2]), GreyValues.stored(info), scale)


def _image(image: Volume, found: Findings) -> None:
    known = image.metadata
    size, start = known.voxel_size, image.box.start
    found.facts.append(("image", f"{image.path}: {_by(image.shape)} {image.dtype}, {image.box}"))
    told = "not stored" if size is None else f"{_by(size)} nm (z, y, x), found in {known.found_in or 'the file'}"
    found.facts.append(("voxel size", told))
    if any(start):
        found.facts.append(("begins at", f"voxel {', '.join(map(str, start))} of its image"))
    if size is None:
        found.problems.append("no voxel size is stored: give it with `neuropil convert IMAGE OUT --voxel-size Z,Y,X`")
    if looks_like_labels(image):
        found.problems.append("the image holds regions of equal numbers, as labels do: are the two exchanged?")


def _grey(image: Volume, found: Findings) -> None:
    model = found.model
    assert model is not None
    scale = find_scale(image, model.scale.scale)
    seen = scaled_image(image, model.scale.scale)
    grey = found.grey = GreyValues.of(seen)
    kept = "bytes as they are, 0 to 255" if image.dtype == np.uint8 else "as they are, 0 to 1"
    ends = kept if scale is None else f"{scale[0]:g} becomes 0, {scale[1]:g} becomes 1"
    found.facts.append(("grey values", ends))
    found.facts.append(("percentiles 1, 50, 99", ", ".join(f"{n:.3f}" for n in grey.levels) + " of the range"))
    if model.grey is not None:
        moved = grey.distance(model.grey)
        size = "unknown" if model.voxel_size is None else f"{_by(model.voxel_size)} nm"
        far = "" if moved is None else f", {moved:.2f} away on average"
        levels = ", ".join(f"{n:.3f}" for n in model.grey.levels)
        found.facts.append((f"model {model.name}", f"voxels of {size}; its percentiles {levels}{far}"))
        if (why := far_from(grey, model.grey)) is not None:
            found.problems.append(f"the image differs from the training images of {model.name}: {why}")
    if image.metadata.voxel_size is not None and model.far(image.metadata.voxel_size) > 1.2:
        found.problems.append(
            f"voxels of {_by(image.metadata.voxel_size)} nm, the nearest model, {model.name}, was trained on "
            f"{_by(model.voxel_size or ())}: predict with --resample up to a factor of 2, or train"
        )
    if grey.levels[2] - grey.levels[0] < 0.1:
        found.problems.append(
            f"little contrast: 98 % of the grey values lie within {grey.levels[2] - grey.levels[0]:.3f} of 1"
        )
    for end, name in ((0, "darkest"), (-1, "brightest")):
        if grey.histogram[end] > CLIPPED and grey.histogram[end] > 2 * grey.histogram[1 if end == 0 else -2]:
            found.problems.append(
                f"{100 * grey.histogram[end]:.1f} % of the voxels are among the {name}: a margin without tissue "
                "(--mask leaves it out), or clipped grey values"
            )


def _both(image: Volume, labels: Volume, found: Findings) -> None:
    one, other = image.metadata.voxel_size, labels.metadata.voxel_size
    if one and other and any(abs(a - b) > 0.01 * a for a, b in zip(one, other, strict=True)):
        found.problems.append(f"the image has voxels of {one} nm, the labels of {other} nm")
    if looks_like_image(labels):
        found.problems.append("the labels vary from voxel to voxel, as an image does: are the two exchanged?")
    if not image.box.contains(labels.box):
        found.problems.append(f"the labels, {labels.box}, do not lie inside the image, {image.box}")
        return
    if image.box != labels.box:
        found.facts.append(("overlap", str(labels.box)))
    fit = found.labels.fit(image, labels) if found.labels is not None else None
    if fit is None:
        return
    found.facts.append(("borders in the image", fit.told()))
    if fit.moved:
        found.problems.append(f"the labels fit the image better when they are moved: {fit.told()}")


def _by(numbers: Sequence[float]) -> str:
    return "×".join(f"{n:g}" for n in numbers)
