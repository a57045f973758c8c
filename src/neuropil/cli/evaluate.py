"""The verb ``evaluate``: scores of a segmentation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from neuropil.cli.app import app
from neuropil.cli.options import (
    BlockOption,
    BoxOption,
    IgnoreOption,
    MaskOption,
    SchedulerOption,
    SkipOption,
    VoxelSizeOption,
    WorkersOption,
    WorkOption,
    asks_for_blocks,
    read_block,
    read_box,
    read_ignore,
    read_tissue,
    read_voxel_size,
)
from neuropil.errors import NeuropilError, tell
from neuropil.progress import ProgressDisplay


@app.command()
def evaluate(
    segmentation: Annotated[str, typer.Argument(metavar="SEGMENTATION", help="The segmentation to score.")],
    labels: Annotated[str, typer.Argument(metavar="LABELS", help="Ground truth; 0 is not scored.")],
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all scores here.")] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page with pictures and the worst mistakes here.")
    ] = None,
    image: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="For the report; by default the one the affinities name.")
    ] = None,
    affinities: Annotated[
        str | None, typer.Option(metavar="AFFINITIES", help="For the report; by default those the segmentation names.")
    ] = None,
    box: BoxOption = None,
    ignore: IgnoreOption = None,
    mask: MaskOption = None,
    skip_sections: SkipOption = None,
    border: Annotated[
        float, typer.Option(metavar="NM", min=0, help="CREMI variant: leave out labels this near to a border.")
    ] = 0.0,
    components: Annotated[
        bool, typer.Option("--components", help="Score against the connected components of the labels in the box.")
    ] = False,
    erl: Annotated[
        bool, typer.Option("--erl", help="Add the expected run length along skeletons of the labels (extra: mesh).")
    ] = False,
    voxel_size: VoxelSizeOption = None,
    block: BlockOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    work: WorkOption = None,
) -> None:
    """Score a segmentation against labels."""

    from neuropil.blockwise import evaluate_blocks, open_executor
    from neuropil.evaluation.placing import place
    from neuropil.evaluation.run_length import run_length
    from neuropil.evaluation.scores import evaluate_placed
    from neuropil.pipeline.estimates import tell_work
    from neuropil.pipeline.scoring import write_json
    from neuropil.viewing.report import write_report_of
    from neuropil.volumes import open_volume
    from neuropil.volumes.atomic import expect_output
    from neuropil.volumes.counting import refuse_image
    from neuropil.volumes.scored import scored_labels

    size, by_blocks = read_voxel_size(voxel_size), asks_for_blocks(block, workers, scheduler, work)
    if report is not None and report.suffix.lower() not in (".html", ".htm"):
        raise NeuropilError(f"--report {report}: a report is a page for a browser; give it a name that ends in .html")
    with open_volume(segmentation) as volume, open_volume(labels) as stored:
        for given in (volume, stored):
            refuse_image(given)
        area = read_box(box, volume.box)
        truth = scored_labels(stored, read_ignore(ignore), read_tissue(volume, mask, skip_sections, area))
        for path in (json_file, report):
            if path is not None:
                expect_output(path)
        placed = place(volume, truth, area)
        tell_work(volume, "scoring", 0, placed.box, by_blocks=by_blocks)
        if not by_blocks:
            scores = evaluate_placed(placed, border=border, voxel_size=size, components=components)
        elif border or components:
            raise NeuropilError("--border and --components do not work by blocks; leave them out, or the block options")
        else:
            with open_executor(workers, scheduler) as executor, ProgressDisplay("blocks") as progress:
                scores = evaluate_blocks(
                    volume, truth, block=read_block(block), box=area, executor=executor, work=work,
                    progress=progress,
                )  # fmt: skip
        if erl:
            scores = replace(scores, run_length=run_length(volume, truth, box=area, voxel_size=size))
        if not scores.segments:
            tell(f"all voxels of {volume.path} that were scored are 0")
        typer.echo(str(scores))
        if json_file is not None:
            write_json(json_file, scores.to_json())
            typer.echo(f"wrote {json_file}")
        if report is not None:
            write_report_of(placed, report, image=image, affinities=affinities, scores=scores)
            typer.echo(f"wrote {report}")
