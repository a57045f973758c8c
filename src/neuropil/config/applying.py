"""Settings of prediction and segmentation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from neuropil.choices import Keep, Method, Precision, StoredAs, TtaMode, unused_settings
from neuropil.config.section import Fraction, Lenient, Overlap, Section, Shape, a_score


class PredictConfig(Section):
    """How a network predicts a volume."""

    tta: Literal[1, 4, 8, 16, 48] = Field(
        8,
        description="Test-time augmentation, number of views: 1 none, 4 flips of y and x, 8 also y and x exchanged, "
        "16 also flips of z, 48 all orders of the axes (isotropic models). Better and as many times slower.",
    )
    tta_mode: TtaMode = Field(
        "mean", description="How views are combined; min gives fewer mergers and more splits than mean."
    )
    tile: Shape | None = Field(
        None, description="Voxels [z, y, x] predicted at once. None: the cheapest tile that fits into memory."
    )
    overlap: Overlap | None = Field(
        None,
        description="Least overlap of tiles in voxels [z, y, x]. None: half of the training patch in z, a quarter in "
        "y and x, and at least the longest offset kept.",
    )
    surround: Overlap | None = Field(
        None,
        description="Voxels [z, y, x] of the image around a box that the network also sees. None: a quarter of the "
        "training patch; [0, 0, 0]: none.",
    )
    resample: bool = Field(
        False,
        description="Resample tiles to the model's voxel size, which may differ by a factor of up to 2; affinities "
        "are on the image's grid.",
    )
    pad: Overlap = Field(
        (0, 0, 0),
        description="Voxels [z, y, x] of mirrored padding at the faces of the image, which tiles also cover.",
    )
    stride: Shape | None = Field(
        None,
        description="Voxels [z, y, x] from tile to tile; the last of an axis is moved inward. None: tiles are laid "
        "evenly, with the overlap.",
    )
    batch: int | None = Field(
        None, ge=1, description="Tiles in one call of the network. None: as many as fit into a GPU; one on a CPU."
    )
    blend: Literal["bump", "gaussian"] = Field(
        "bump",
        description="Weights of overlapping tiles: bump, which falls to 0 at the faces, for each edge by itself; or "
        "gaussian, as in PyTorch Connectomics.",
    )
    views: Literal["edges", "voxels"] = Field(
        "edges",
        description="How views are undone: edges: edges are reversed with the image; voxels: only voxels are moved "
        "back, as in PyTorch Connectomics, which blurs boundaries.",
    )
    context: Overlap = Field(
        (0, 0, 0),
        description="Voxels [z, y, x] around each tile that the network sees but whose result is dropped; mirrored "
        "where the image ends. As large as the field of view, the result does not depend on the tiles.",
    )
    precision: Precision = Field(
        "auto",
        description="Numbers in which convolutions compute. auto: bf16 where it is faster and the training precision "
        "allows it, else fp32. int8, on processors with AVX512-VNNI: rounds activations within each tile, and takes a "
        "third of the time of fp32.",
    )
    compile: bool = Field(False, description="Time torch.compile on one tile, and use it if it is faster.")
    encoding: StoredAs = Field(
        "logit8",
        description="How affinities are stored; logit8 is one byte with different codes for 0.999 and 0.9999; uint8 is "
        "255 times the value, truncated, for programs that expect that.",
    )
    keep: Keep = Field(
        "nearest",
        description="nearest: the three edges that segmentation uses; all: every offset, for the mutex watershed; "
        "channels: all channels with auxiliary targets, and edges that leave a tile or the image, as values of voxels.",
    )

    @model_validator(mode="after")
    def _check_precision(self) -> PredictConfig:
        if self.precision == "int8" and self.compile:
            raise ValueError("torch.compile cannot compile precision int8; leave one of the two out")
        return self

    @model_validator(mode="after")
    def _check_channels(self) -> PredictConfig:
        """Refuse settings that only work with ``keep: channels``."""
        if self.keep == "channels":
            return self
        if self.blend == "gaussian" or self.views == "voxels":
            raise ValueError("expected keep channels with blend gaussian and with views voxels; set keep")
        return self


class SegmentConfig(Section):
    """How affinities become a segmentation. A value that the method does not use is refused."""

    method: Method = Field(
        "agglomerate",
        description="agglomerate: watershed, then merging; watershed: fragments only; mutex: mutex watershed.",
    )
    score: Annotated[str, AfterValidator(a_score)] = Field(
        "mean", description="Pooled affinity between two segments: mean, max, min or a quantile qNN (q50 = median)."
    )
    threshold: Fraction | None = Field(
        None,
        description="Merge while the score is at least this affinity. None: the best on validation, else the one "
        "stored with the affinities, else 0.5.",
    )
    low: Fraction = Field(1e-4, description="Watershed: edges must be above this; voxels with none are background.")
    high: Fraction = Field(0.9999, description="Watershed: edges of at least this affinity always unite.")
    min_size: int | None = Field(
        None,
        ge=0,
        lt=2**63,
        description="Voxels below which a segment joins its best neighbour. 0 = keep all. None: with method "
        "agglomerate the number stored with the affinities by the model that made them, else 0.",
    )
    bias: Annotated[tuple[float, ...], Lenient, Field(min_length=1)] = Field(
        (-0.5,),
        description="Mutex watershed: added to affinities, one for all edges or one each; positive sums join, negative "
        "ones separate. Lower values for long edges split more.",
    )
    strides: Shape = Field(
        (1, 1, 1), description="Mutex watershed: edges longer than a voxel count at every n-th voxel [z, y, x] only."
    )
    fragments: bool = Field(
        False, description="Mutex watershed of the watershed's fragments, not of voxels; needed for work by blocks."
    )
    fill: bool = Field(False, description="Grow segments into the background until none is left.")

    @model_validator(mode="after")
    def _check_order(self) -> SegmentConfig:
        if self.low >= self.high:
            raise ValueError(f"expected low < high, got low {self.low} and high {self.high}")
        return self

    @model_validator(mode="after")
    def _check_used(self) -> SegmentConfig:
        fields, changed = type(self).model_fields, []
        for name in unused_settings(fields, self.method, self.min_size or 0, self.fragments):
            if getattr(self, name) != fields[name].default:
                changed.append(f"{name} (got {getattr(self, name)})")
        if changed:
            raise ValueError(f"method {self.method} does not use {', '.join(changed)}: leave it out, or change method")
        return self
