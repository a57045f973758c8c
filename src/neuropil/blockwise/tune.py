"""Every threshold scored block by block: the curve of the whole volume."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neuropil.blockwise.engine import Engine, Serial
from neuropil.blockwise.job import plan
from neuropil.blockwise.rows import load_curve
from neuropil.blockwise.segment import Run, Watch
from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.evaluation import ThresholdCurve
from neuropil.evaluation.curve import Metric
from neuropil.evaluation.placing import common_box
from neuropil.evaluation.tuning import Tuning, chosen
from neuropil.geometry import Box, Triple
from neuropil.volumes import Volume, require_labels
from neuropil.volumes.intermediate import holding, work_folder
from neuropil.volumes.volume import ArrayStore


def tune_blocks(
    pairs: Sequence[tuple[Volume, Volume]],
    settings: SegmentConfig | None = None,
    *,
    metric: Metric = "adapted_rand_error",
    tolerance: float = 0.0,
    box: Box | None = None,
    block: Triple,
    engine: Engine | None = None,
    work: Path | str | None = None,
    watch: Watch | None = None,
) -> Tuning:
    """:func:`neuropil.evaluation.tuning.tune_pairs` of volumes in files, block by block: the same curve.

    Each block hands up what its merges do to the scores, summed by the score at which they happen. So no list of all
    fragments or merges exists anywhere; what grows is the curve, at 64 bytes for each score that merges have.

    Args:
        pairs, settings, metric, tolerance, box: as for ``tune_pairs``; volumes in files.
        block, engine, watch: as for :func:`neuropil.blockwise.segment_blocks`.
        work: as there; beside the affinities when not given.

    Raises:
        NeuropilError: as ``tune_pairs``.
        BlocksFailed: blocks that could not be done; the same call does only what is missing.

    >>> import tempfile, numpy as np
    >>> from neuropil.volumes import open_volume, write_volume
    >>> affinities = (np.where(np.arange(4) == 2, 0.1, 0.8) * np.ones((3, 1, 4, 4))).astype(np.float32)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volume(f"{folder}/a.zarr", affinities)
    ...     write_volume(f"{folder}/t.zarr", np.repeat([[[1, 1, 2, 2]]], 4, axis=1).astype(np.uint8))
    ...     pair = (open_volume(f"{folder}/a.zarr"), open_volume(f"{folder}/t.zarr"))
    ...     tuning = tune_blocks([pair], block=(1, 2, 3))
    >>> round(tuning.settings.threshold, 3), tuning.score
    (0.275, 0.0)
    """
    settings = settings or SegmentConfig()
    curves = [
        curve_by_blocks(*pair, settings, box=box, block=block, engine=engine, work=work, watch=watch) for pair in pairs
    ]
    return chosen(curves, settings, metric, tolerance)


def curve_by_blocks(
    affinities: Volume,
    labels: Volume,
    settings: SegmentConfig,
    *,
    box: Box | None = None,
    block: Triple,
    engine: Engine | None = None,
    work: Path | str | None = None,
    watch: Watch | None = None,
) -> ThresholdCurve:
    """The threshold curve of one pair; see :func:`tune_blocks`."""
    if settings.method != "agglomerate":
        raise NeuropilError(f'only the method "agglomerate" has a threshold to tune, got {settings.method!r}')
    if type(labels.store) is ArrayStore:
        raise NeuropilError("blocks are read by any process: expected labels in a file, got an array in memory")
    scored = common_box(affinities, require_labels(labels), box)
    wanted = SegmentConfig(low=settings.low, high=settings.high, score=settings.score, threshold=0.0)
    folder = work_folder(work, affinities.path, "tune.blocks")
    job = plan(affinities, wanted, block, folder.path, truth=labels.path, scored=str(scored))
    folder.begin()
    job.save()
    with holding(job.folder):
        run = Run(job, engine or Serial(), watch)
        run.merge()
        for level in range(job.tree.levels):
            run.step("rows", run.nodes(level), "counting pairs" if level == 0 else f"adding up scores, level {level}")
        run.stop_if_failed()
        curve = load_curve(job)
        folder.end(job.folder)
    return curve
