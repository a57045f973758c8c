"""Training samples: random boxes of image and labels from one or several volumes; sample n is the same in every run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neuropil.augment import Warp, draw_warp
from neuropil.config import AugmentConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Offsets, Triple, VoxelSize
from neuropil.sources import LabelledVolume, Source, TeacherAffinities
from neuropil.volumes.grey import GreyValues


class Sample(NamedTuple):
    """One training sample, as stored."""

    image_ZYX: Tensor
    """The patch, in the image's dtype; wider by the reach of the warp where there is one."""
    labels_ZYX: Tensor
    """int32 ids of this sample only, 0 = background or masked; ``margin`` voxels wider than the patch in y and x, or as
    wide as the image where there is a warp."""
    mask_ZYX: Tensor
    """bool, which voxels may be learned from; as wide as the labels."""
    number: int
    """The sample's number; with the seed it decides everything drawn for it."""
    warp: Warp | None = None
    """The geometry that was drawn for it; it decides how much around the patch is read."""
    real_YX: Tensor | None = None
    """bool, as wide as the image: where it was read. Beyond the border of the region its last voxels are repeated.
    None: read everywhere."""
    teacher: TeacherAffinities | None = None
    """What a teacher says of the patch; None where there is none, or where labels were displaced."""
    labelled: bool = True
    """Whether there are labels at all; without, they are 0 and mean nothing."""


class Spot(NamedTuple):
    """Where a training sample lies, before its voxels are read."""

    number: int
    source: Source
    patch: Box
    wide: Box
    """The patch and what is read around it, in voxels of the image; it may reach out of what is there."""
    warp: Warp | None
    labelled: bool

    def teacher(self) -> TeacherAffinities | None:
        """What a teacher says of the patch; None where there is none, or where labels are displaced."""
        return self.source.teacher(self.patch) if self.stays else None

    @property
    def stays(self) -> bool:
        """Whether labels lie where they are stored."""
        return self.warp is None or not self.warp.moves_labels


class Wanted(NamedTuple):
    """What a sample must hold, or its place is drawn again: labels are looked at before the image is read."""

    foreground: float = 0.0
    """Share of the patch's voxels that must carry a label and be usable."""
    ids: int = 0
    """Different usable labels that must be there, on every fourth voxel of the patch in y and x."""
    attempts: int = 50
    """Places to try; after that the one with most labels is taken."""


class VolumeDataset(torch.utils.data.Dataset[Sample]):
    """Random patches of labelled volumes; sample ``i`` of seed ``s`` is always the same patch.

    Because a sample depends on nothing but its number, workers and ranks that are given different numbers draw
    independent streams, and a run that is resumed goes on with the samples it would have drawn.

    Args:
        pairs: where to draw from, each with probability proportional to weight × number of patch positions; of a volume
            of which less than half may be learned from, to that share, too, and places in it are drawn by the usable
            voxels they hold. A place without a usable voxel is never taken, if there is another.
        patch: size of a patch in voxels (z, y, x).
        seed: first half of each sample's random stream.
        margin: voxels of labels around the patch in y and x, so that erosion at its border sees what lies beyond.
        augment: how samples will be warped, so that enough is read around them; None: not at all.
        unlabelled: ids that mean "not labelled", masked out; without 0 that is true background.
        wanted: what else a place must hold to be taken; None: nothing.
        memory: bytes that may be kept; volumes beyond are read box by box.
        offsets: edges that are to be learned from a teacher's affinities, where pairs have those.
        device: where volumes are kept. Samples of those lie there too, and need no copy to be trained on.
        length: how many samples an epoch has; the stream itself never ends.

    Raises:
        NeuropilError: no pairs, a patch larger than a volume, images of other than bytes, 16-bit or shares of 1, labels
            that are not integers or negative, shapes that do not match, no label in any volume that is kept.

    >>> from neuropil.volumes import array_volume
    >>> image, labels = np.zeros((8, 32, 32), np.uint8), np.ones((8, 32, 32), np.uint32)
    >>> data = VolumeDataset([LabelledVolume(array_volume(image), array_volume(labels))], (4, 16, 16), seed=0, margin=1)
    >>> tuple(data[5].image_ZYX.shape), tuple(data[5].labels_ZYX.shape)
    ((4, 16, 16), (4, 18, 18))
    """

    def __init__(
        self,
        pairs: Sequence[LabelledVolume],
        patch: Triple,
        *,
        seed: int = 0,
        margin: int = 0,
        augment: AugmentConfig | None = None,
        unlabelled: Collection[int] = (),
        wanted: Wanted | None = None,
        memory: float = 4e9,
        offsets: Offsets = (),
        device: torch.device | None = None,
        length: int = 2**31,
    ) -> None:
        if not pairs:
            raise NeuropilError("training needs at least one image with labels; fill `data.train`")
        self.patch, self.seed, self.margin, self.length = patch, seed, margin, length
        self.augment, self.wanted = augment, wanted
        self.sources: list[Source] = []
        for pair in pairs:
            home = device or torch.device("cpu")
            self.sources.append(Source(pair, patch, unlabelled, memory, home, offsets))
            memory -= self.sources[-1].kept
        if not any(source.may_teach for source in self.sources):
            labels = pairs[0].labels
            raise NeuropilError(
                f"expected neurons, got no voxel with an id above 0 that may be used in {labels and labels.path}"
                f"{f' and {len(pairs) - 1} more' if len(pairs) > 1 else ''}; look at labels, mask and box in the recipe"
            )
        positions = np.array([source.pair.weight * source.room for source in self.sources])
        self._until = (positions / positions.sum()).cumsum()
        self._until /= self._until[-1]

    @property
    def voxel_size(self) -> VoxelSize | None:
        """In nm, of the first volume that tells."""
        sizes = [source.pair.image.metadata.voxel_size for source in self.sources]
        return next((size for size in sizes if size is not None), None)

    @property
    def grey_values(self) -> GreyValues:
        """What the grey values are like, the mean over volumes."""
        return GreyValues.mean([GreyValues.of(source.pair.image) for source in self.sources])

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> Sample:
        return self.cut(self.spot(number))

    def spot(self, number: int) -> Spot:
        """Where a sample lies and how it will be warped; nothing is read for it, unless places are looked at."""
        source, patch = self._place(sample_rng(self.seed, number))
        warp = None
        if self.augment is not None:
            warp = draw_warp(sample_rng(self.seed, number, part=2), self.augment, self.patch, self.margin)
        labelled = source.pair.labels is not None
        if warp is not None and warp.moves_labels and not labelled:
            warp = None  # the only truth there is cannot follow
        wide = patch.grow((0, self.margin, self.margin) if warp is None else (0, *warp.reach))
        return Spot(number, source, patch, wide, warp, labelled)

    def cut(self, spot: Spot) -> Sample:
        """The voxels of a sample."""
        source, warp = spot.source, spot.warp
        image, real = (source.image(spot.patch), None) if warp is None else source.wide_image(spot.wide)
        return Sample(image, *source.labels(spot.wide), spot.number, warp, real, spot.teacher(), spot.labelled)

    def _place(self, rng: np.random.Generator) -> tuple[Source, Box]:
        """A volume and a patch in it that holds what is wanted."""
        wanted = self.wanted or Wanted()
        best: tuple[float, Source, Box] | None = None
        for _ in range(wanted.attempts):
            # What rng.choice with these shares does, without checking them each time.
            source = self.sources[int(self._until.searchsorted(rng.random(), side="right"))]
            patch = Box.at(source.start(rng, self.patch), self.patch)
            if self.wanted is None and source.usable_everywhere:
                return source, patch
            labels, mask = source.labels(patch)
            if source.pair.labels is None:
                foreground, held = 0.0, bool(mask.any())
            else:
                foreground = float(((labels > 0) & mask).float().mean())
                ids = torch.unique(labels[:, ::4, ::4]) if wanted.ids else labels[:0]
                enough = foreground >= wanted.foreground and int(ids.count_nonzero()) >= wanted.ids
                held = enough and bool(mask.any())
            if held:
                return source, patch
            if best is None or foreground > best[0]:
                best = (foreground, source, patch)
        assert best is not None
        return best[1:]

    def possible(self, offset: Triple) -> bool:
        """Whether any edge of an offset can be learned from: both its ends in usable planes of some volume.

        Volumes that are not kept in memory are taken to have such edges.

        >>> from neuropil.volumes import array_volume
        >>> image, labels = np.zeros((8, 16, 16), np.uint8), np.zeros((8, 16, 16), np.uint32)
        >>> labels[::4] = 1  # every fourth section is annotated
        >>> pair = LabelledVolume(array_volume(image), array_volume(labels))
        >>> data = VolumeDataset([pair], (8, 8, 8), unlabelled=[0])
        >>> data.possible((-1, 0, 0)), data.possible((-4, 0, 0)), data.possible((0, 0, -1))
        (False, True, True)
        """
        return any(source.possible(offset) for source in self.sources)

    @property
    def in_memory(self) -> bool:
        """Whether every volume is kept in memory."""
        return all(source.kept for source in self.sources)


def sample_rng(seed: int, number: int, part: int = 0) -> np.random.Generator:
    """The random stream of one sample.

    ``part`` separates what draws from it: 0 the place, 1 symmetry and grey values, 2 the warp, 3 defects. So switching
    one of them on or off leaves the others as they are.

    >>> sample_rng(0, 5).integers(1000) == sample_rng(0, 5).integers(1000)
    np.True_
    """
    return np.random.Generator(np.random.Philox(key=[seed & (2**64 - 1), (number << 8) + part]))


def collate(samples: Sequence[Sample]) -> list[Sample]:
    """A batch as it travels: the samples side by side, because those with a warp are wider than the others."""
    return list(samples)
