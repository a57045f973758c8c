"""What a careful colleague looks at before training or prediction: the verb ``check``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neuropil.evaluation.components import connected_parts
from neuropil.volumes import Volume, require_image, require_labels
from neuropil.volumes.counting import count_labels
from neuropil.volumes.damage import bad_sections
from neuropil.volumes.grey import find_scale, grey_levels

TINY = 100
"""Voxels below which an id is tiny."""
PARTS_UP_TO = 1 << 28
"""Voxels up to which connected parts of ids are counted: that needs the labels in memory."""


@dataclass
class Findings:
    """Facts about a volume, and what is wrong or doubtful."""

    facts: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """As printed: facts first, then the problems."""
        wide = max((len(name) for name, _ in self.facts), default=0) + 2
        told = [f"{name:<{wide}}{text}" for name, text in self.facts]
        if not self.problems:
            return [*told, "nothing wrong was found"]
        return [*told, f"{len(self.problems)} to look at:", *(f"  - {text}" for text in self.problems)]


def inspect_volumes(image: Volume, labels: Volume | None = None) -> Findings:
    """Look at an image and, where there are, its labels. Reads both, section by section.

    Raises:
        NeuropilError: no image, no labels, or grey values that are NaN.

    >>> from neuropil.volumes import array_volume
    >>> inspect_volumes(array_volume(np.zeros((2, 8, 8), np.uint8))).problems[0]
    'no voxel size is stored: give it with `neuropil convert IMAGE OUT --voxel-size Z,Y,X`'
    """
    found = Findings()
    _image(require_image(image), found)
    if labels is not None:
        _labels(require_labels(labels), found)
        _both(image, labels, found)
    return found


def _image(image: Volume, found: Findings) -> None:
    size = image.metadata.voxel_size
    found.facts.append(("image", f"{image.path}: {'×'.join(map(str, image.shape))} {image.dtype}, {image.box}"))
    found.facts.append(("voxel size", "not stored" if size is None else f"{size[0]:g}×{size[1]:g}×{size[2]:g} nm"))
    if size is None:
        found.problems.append("no voxel size is stored: give it with `neuropil convert IMAGE OUT --voxel-size Z,Y,X`")
    scale, levels = find_scale(image), grey_levels(image)
    ends = "as they are (shares of 1)" if scale is None else f"{scale[0]:g} becomes 0, {scale[1]:g} becomes 1"
    found.facts.append(("grey values", ends))
    found.facts.append(("percentiles 1, 50, 99", ", ".join(f"{level:.3f}" for level in levels) + " after scaling"))
    if levels[2] - levels[0] < 0.1:
        found.problems.append(f"little contrast: 98 % of the grey values lie within {levels[2] - levels[0]:.3f} of 1")
    bad = bad_sections(image)
    found.facts.append(("damaged sections", f"{len(bad)} of {image.shape[0]}"))
    found.problems += [f"section {one.z} is {one.why}" for one in bad]


def _labels(labels: Volume, found: Findings) -> None:
    counted = count_labels(labels, labels.box)
    found.facts.append(("labels", f"{labels.path}: {'×'.join(map(str, labels.shape))} {labels.dtype}, {labels.box}"))
    found.facts.append(("labelled", f"{100 * counted.share:.1f} % of the voxels, all inside {counted.box}"))
    if not counted.voxels:
        found.problems.append("no voxel has a label")
        return
    empty = [z for z in range(*_range(labels)) if not _in_section(counted.along[0], counted.box.start[0], z)]
    if empty:
        found.problems.append(f"{len(empty)} sections have no label: {_some(empty)}")
    if labels.box.size > PARTS_UP_TO:
        return
    array = labels.read()
    ids, sizes = np.unique(array[array != 0], return_counts=True)
    found.facts.append(("ids", f"{len(ids)}, median {int(np.median(sizes))} voxels"))
    if (tiny := ids[sizes < TINY]).size:
        found.problems.append(f"{len(tiny)} ids have fewer than {TINY} voxels: {_some(tiny.tolist())}")
    parts = connected_parts(array.astype(np.uint64))
    owner = np.zeros(int(parts.max()) + 1, np.uint64)
    owner[parts.reshape(-1)] = array.reshape(-1)
    several = np.unique(owner[1:], return_counts=True)
    scattered = several[0][several[1] > 1]
    if scattered.size:
        found.problems.append(
            f"{len(scattered)} ids lie in several places (they may meet outside): {_some(scattered.tolist())}"
        )


def _both(image: Volume, labels: Volume, found: Findings) -> None:
    one, other = image.metadata.voxel_size, labels.metadata.voxel_size
    if one and other and any(abs(a - b) > 0.01 * a for a, b in zip(one, other, strict=True)):
        found.problems.append(f"the image has voxels of {one} nm, the labels of {other} nm")
    if not image.box.contains(labels.box):
        found.problems.append(f"the labels, {labels.box}, do not lie inside the image, {image.box}")
    elif image.box != labels.box:
        found.facts.append(("overlap", str(labels.box)))


def _range(volume: Volume) -> tuple[int, int]:
    return volume.box.start[0], volume.box.stop[0]


def _in_section(along: NDArray[np.int64], start: int, z: int) -> bool:
    return 0 <= z - start < len(along) and bool(along[z - start])


def _some(values: Sequence[int], count: int = 10) -> str:
    return ", ".join(map(str, values[:count])) + (", …" if len(values) > count else "")
