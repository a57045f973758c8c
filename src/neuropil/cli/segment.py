"""The verb ``segment``: affinities to a segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuropil.choices import Method
from neuropil.cli.app import app
from neuropil.cli.options import (
    BlockOption,
    High,
    Low,
    MaskOption,
    OffsetsOption,
    SchedulerOption,
    ScoreOption,
    SkipOption,
    Snippet,
    WorkersOption,
    WorkOption,
    asks_for_blocks,
    open_affinities,
    read_block,
    read_numbers,
    read_segment,
    read_tissue,
)
from neuropil.progress import ProgressDisplay


@app.command()
def segment(
    affinities: Annotated[str, typer.Argument(metavar="AFFINITIES", help="[edge, z, y, x].")],
    out: Annotated[str, typer.Option("-o", metavar="SEGMENTATION", help="Where to write.")],
    method: Annotated[Method | None, typer.Option(help="[default: agglomerate]")] = None,
    score: ScoreOption = None,
    threshold: Annotated[
        float | None, typer.Option(metavar="T", help="Merge scores of at least T. [default: stored one, else 0.5]")
    ] = None,
    low: Low = None,
    high: High = None,
    min_size: Annotated[
        int | None,
        typer.Option(metavar="N", help="Join segments of fewer voxels to a neighbour. [default: stored one, else 0]"),
    ] = None,
    fill: Annotated[bool | None, typer.Option("--fill", help="Grow segments over the background.")] = None,
    offsets: OffsetsOption = None,
    bias: Annotated[
        str | None, typer.Option(metavar="B,...", help="Mutex: added to affinities, for all or each. [default: -0.5]")
    ] = None,
    strides: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="Mutex: use every n-th edge of the long ones. [default: 1,1,1]")
    ] = None,
    fragments: Annotated[
        bool | None, typer.Option("--fragments", help="Mutex: join watershed fragments, not voxels.")
    ] = None,
    snippet: Snippet = None,
    edits: Annotated[
        Path | None, typer.Option(metavar="LOG", help="Apply a proofreader's decisions after the minimum size.")
    ] = None,
    mask: MaskOption = None,
    skip_sections: SkipOption = None,
    block: BlockOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    work: WorkOption = None,
) -> None:
    """Turn affinities into a segmentation.

    With --block, --workers or --scheduler it works block by block, for volumes of any size; repeat the command to
    resume such a run.
    """
    from neuropil.blockwise import BLOCK, open_executor, segment_blocks
    from neuropil.config import Config
    from neuropil.pipeline.estimates import tell_work
    from neuropil.pipeline.output_config import expect_output_config, write_output_config
    from neuropil.pipeline.scaling import memory_needed
    from neuropil.segmentation import segment_volume, settle
    from neuropil.segmentation.edits import EditLog
    from neuropil.volumes import in_tissue

    by_blocks = asks_for_blocks(block, workers, scheduler, work)
    expect_output_config(out)
    settings = read_segment(
        snippet,
        {
            "method": method,
            "score": score,
            "threshold": threshold,
            "low": low,
            "high": high,
            "min_size": min_size,
            "fill": fill,
            "bias": read_numbers(bias, "--bias", float),
            "strides": read_numbers(strides, "--strides", int),
            "fragments": fragments,
        },
        by_blocks,
    )
    with open_affinities(affinities, offsets) as volume:
        settings, lines = settle(volume, settings)
        for line in lines:
            typer.echo(line)
        volume = in_tissue(volume, read_tissue(volume, mask, skip_sections))
        log = None if edits is None else EditLog.read(edits)
        if log is not None:
            typer.echo(f"{len(log.active())} decisions of {edits}")
        part = (read_block(block) or BLOCK) if by_blocks else None
        tell_work(volume, "segmenting", memory_needed(volume, settings, part=part), by_blocks=by_blocks)
        if not by_blocks:
            segment_volume(volume, out, settings, log)
        else:
            with open_executor(workers, scheduler) as executor, ProgressDisplay("blocks") as progress:
                segment_blocks(
                    volume, out, settings, edits=log, block=read_block(block), executor=executor, work=work,
                    progress=progress,
                )  # fmt: skip
    write_output_config(Config(segment=settings), out)
    typer.echo(f"wrote {out}")
