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
    """int32 ids, valid within this sample only, 0 = background or masked; ``margin`` voxels wider than the patch in y
    and x, or as wide as the image if there is a warp."""
    mask_ZYX: Tensor
    """bool, True where a voxel may be used for training; as wide as the labels."""
    number: int
    """Number of the sample; together with the seed it decides all random numbers of the sample."""
    warp: Warp | None = None
    """The geometric augmentation drawn for it; it decides how much around the patch is read."""
    real_YX: Tensor | None = None
    """bool, as wide as the image: False for padding, beyond the border of the region, where its last voxels are
    repeated. None: no padding."""
    teacher: TeacherAffinities | None = None
    """The teacher's affinities for the patch; None without a teacher, or if labels are displaced."""
    labelled: bool = True
    """Whether the volume has labels; without, they are 0 and must not be used."""


class Spot(NamedTuple):
    """The position of a training sample, before its voxels are read."""

    number: int
    source: Source
    patch: Box
    wide: Box
    """The patch with the voxels around it that are read; it may reach beyond the image."""
    warp: Warp | None
    labelled: bool

    def teacher(self) -> TeacherAffinities | None:
        """The teacher's affinities for the patch; None without a teacher, or if labels are displaced."""
        return self.source.teacher(self.patch) if self.stays else None

    @property
    def stays(self) -> bool:
        """Whether labels are not displaced by the warp."""
        return self.warp is None or not self.warp.moves_labels


class Wanted(NamedTuple):
    """Conditions on a sample; if it does not meet them its position is drawn again, before the image is read."""

    foreground: float = 0.0
    """Least share of the patch's voxels that have a label and are usable."""
    ids: int = 0
    """Least number of different labels, counted on every fourth voxel of the patch in y and x."""
    attempts: int = 50
    """Positions to try; after that the one with most labels is taken."""


class VolumeDataset(torch.utils.data.Dataset[Sample]):
    """Random patches of labelled volumes; sample ``i`` of seed ``s`` is always the same patch.

    A sample depends only on the seed and its number: workers and ranks with different numbers draw independent random
    numbers, and a resumed run continues with the same samples.

    Args:
        pairs: the volumes. Each is drawn with a probability proportional to weight × number of patch positions, and, if
            less than half of it is usable, also to that share; positions in it are then drawn in proportion to their
            usable voxels. A position without a usable voxel is taken only if there is no other.
        patch: size of a patch in voxels (z, y, x).
        seed: of the random numbers of all samples.
        margin: voxels of labels around the patch in y and x, so that erosion at its border is exact.
        augment: the augmentation, whose warp decides how much around a patch is read; None: no warp.
        unlabelled: ids that mean "not labelled" and are masked out; unless 0 is among them, 0 is background.
        wanted: further conditions on a position; None: none.
        memory: bytes of volumes that may be kept in memory; further volumes are read box by box.
        offsets: edges to learn from a teacher's affinities, for pairs that have them.
        device: where volumes are kept; their samples are there, too, and need not be copied for training.
        length: samples in an epoch; numbers beyond are valid, too.

    Raises:
        NeuropilError: no pairs, a patch larger than a volume, an image that is not uint8, uint16 or float in [0, 1],
            labels that are negative or not integers, shapes that do not match, no label in any volume that is kept.

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
        """Voxel size in nm (z, y, x) of the first volume that stores one; None if none does."""
        sizes = [source.pair.image.metadata.voxel_size for source in self.sources]
        return next((size for size in sizes if size is not None), None)

    @property
    def grey_values(self) -> GreyValues:
        """Percentiles and histogram of the grey values, averaged over volumes."""
        return GreyValues.mean([GreyValues.of(source.pair.image) for source in self.sources])

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> Sample:
        return self.cut(self.spot(number))

    def spot(self, number: int) -> Spot:
        """Draw position and warp of a sample; labels are read only if positions have conditions."""
        source, patch = self._place(sample_rng(self.seed, number))
        warp = None
        if self.augment is not None:
            warp = draw_warp(sample_rng(self.seed, number, part=2), self.augment, self.patch, self.margin)
        labelled = source.pair.labels is not None
        if warp is not None and warp.moves_labels and not labelled:
            warp = None  # a teacher's affinities, the only target here, cannot be warped
        wide = patch.grow((0, self.margin, self.margin) if warp is None else (0, *warp.reach))
        return Spot(number, source, patch, wide, warp, labelled)

    def cut(self, spot: Spot) -> Sample:
        """Read the voxels of a sample."""
        source, warp = spot.source, spot.warp
        image, real = (source.image(spot.patch), None) if warp is None else source.wide_image(spot.wide)
        return Sample(image, *source.labels(spot.wide), spot.number, warp, real, spot.teacher(), spot.labelled)

    def _place(self, rng: np.random.Generator) -> tuple[Source, Box]:
        """Draw a volume and a patch in it that meets the conditions."""
        wanted = self.wanted or Wanted()
        best: tuple[float, Source, Box] | None = None
        for _ in range(wanted.attempts):
            # The same as rng.choice with these probabilities, without its checks at each call.
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
        """Whether some volume can have a usable edge of this offset: usable voxels in both its planes along each axis.

        Volumes that are not kept in memory are assumed to have such edges.

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
    """The random generator of one sample.

    ``part`` gives each step its own stream: 0 the position, 1 symmetry and grey values, 2 the warp, 3 defects. So
    switching one of them on or off does not change the others.

    >>> sample_rng(0, 5).integers(1000) == sample_rng(0, 5).integers(1000)
    np.True_
    """
    return np.random.Generator(np.random.Philox(key=[seed & (2**64 - 1), (number << 8) + part]))


def collate(samples: Sequence[Sample]) -> list[Sample]:
    """A batch as a list: samples are not stacked, because those with a warp are larger."""
    return list(samples)
