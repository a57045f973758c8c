"""The verb ``tune``: the best threshold for affinities with labels."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from neuropil.choices import Metric
from neuropil.cli.app import app
from neuropil.cli.options import (
    BlockOption,
    BoxOption,
    High,
    IgnoreOption,
    Low,
    MaskOption,
    OffsetsOption,
    SchedulerOption,
    ScoreOption,
    SkipOption,
    WorkersOption,
    WorkOption,
    asks_for_blocks,
    open_affinities,
    read_block,
    read_box,
    read_ignore,
    read_pairs,
    read_segment,
    read_tissue,
)
from neuropil.errors import NeuropilError
from neuropil.progress import ProgressDisplay


@app.command()
def tune(
    affinities: Annotated[str, typer.Argument(metavar="AFFINITIES", help="[edge, z, y, x].")],
    labels: Annotated[str, typer.Argument(metavar="LABELS", help="Ground truth.")],
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[AFFINITIES LABELS]...", help="Further pairs: scores are averaged.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", metavar="DIR", help="Folder for curve and settings.")] = None,
    metric: Annotated[Metric, typer.Option(help="The metric to minimise.")] = "voi",
    tolerance: Annotated[
        float, typer.Option(min=0, help="Take the middle of the thresholds at most this much worse; 0: the best one.")
    ] = 0.02,
    search: Annotated[bool, typer.Option("--search", help="Try other low, high and min-size as well.")] = False,
    score: ScoreOption = None,
    low: Low = None,
    high: High = None,
    offsets: OffsetsOption = None,
    box: BoxOption = None,
    ignore: IgnoreOption = None,
    mask: MaskOption = None,
    skip_sections: SkipOption = None,
    block: BlockOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    work: WorkOption = None,
) -> None:
    """Score every threshold against labels, and choose the middle of those about as good as the best.

    Writes curve.csv, curve.png and segment.yaml into DIR; `neuropil segment --config DIR/segment.yaml` uses the choice.
    """
    from neuropil.blockwise import BLOCK, open_executor, tune_blocks
    from neuropil.evaluation.placing import common_box
    from neuropil.evaluation.search import search as searching
    from neuropil.evaluation.tuning import Tuning, tune_pairs
    from neuropil.geometry import Box
    from neuropil.pipeline.estimates import tell_work
    from neuropil.pipeline.scaling import memory_needed
    from neuropil.volumes import Volume, in_tissue, open_volume
    from neuropil.volumes.scored import scored_labels

    by_blocks = asks_for_blocks(block, workers, scheduler, work)
    settings = read_segment(None, {"score": score, "low": low, "high": high})
    with ExitStack() as stack:
        pairs: list[tuple[Volume, Volume]] = []
        area: Box | None = None
        for one, other in read_pairs([affinities, labels, *(more or [])]):
            volume, truth = stack.enter_context(open_affinities(one, offsets)), stack.enter_context(open_volume(other))
            tissue = read_tissue(volume, mask, skip_sections)
            volume, truth = in_tissue(volume, tissue), scored_labels(truth, read_ignore(ignore), tissue)
            before, area = area, common_box(volume, truth, read_box(box, volume.box))
            if box is not None and before not in (None, area):
                raise NeuropilError(f"--box {box} is {before} in one volume and {area} in {one}; write out its ends")
            typer.echo(f"scored on {area}" + (f" of {one}" if more else ""))
            pairs.append((volume, truth))
            part = (read_block(block) or BLOCK) if by_blocks else area.shape
            needed = memory_needed(volume, settings, tuning=True, part=part)
            tell_work(volume, "tuning", needed, area, by_blocks=by_blocks)
        given = None if box is None else area
        if out is not None:
            Tuning.expect(out)
        if by_blocks:
            if search:
                raise NeuropilError("--search does not work by blocks; leave it out, or the block options")
            with open_executor(workers, scheduler) as executor, ProgressDisplay("blocks") as progress:
                found = tune_blocks(
                    pairs, settings, metric=metric, tolerance=tolerance, box=given, block=read_block(block),
                    executor=executor, work=work, progress=progress,
                )  # fmt: skip
        elif search:
            found, tried = searching(pairs, settings, metric=metric, tolerance=tolerance, box=given)
            typer.echo("\n".join(trial.line() for trial in tried))
        else:
            found = tune_pairs(pairs, settings, metric=metric, tolerance=tolerance, box=given)
    typer.echo("\n".join(found.lines()))
    if out is not None:
        found.save(out)
        typer.echo(f"wrote {out}/segment.yaml (threshold {found.settings.threshold:.4f}), curve.csv and curve.png")
