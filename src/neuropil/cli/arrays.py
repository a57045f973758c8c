"""Verbs that begin with an array: predict, segment, tune, evaluate."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from neuropil.choices import Keep, Method, Metric, StoredAs, TtaMode
from neuropil.cli.app import app
from neuropil.cli.options import (
    BlockOption,
    BoxOption,
    CompileOption,
    ContextOption,
    DevicesOption,
    High,
    IgnoreOption,
    Low,
    MaskOption,
    OffsetsOption,
    OverlapOption,
    SchedulerOption,
    ScoreOption,
    SkipOption,
    Snippet,
    SurroundOption,
    TileOption,
    VoxelSizeOption,
    WorkersOption,
    WorkOption,
    asks_for_blocks,
    open_affinities,
    read_block,
    read_box,
    read_ignore,
    read_numbers,
    read_pairs,
    read_segment,
    read_tissue,
    read_voxel_size,
)
from neuropil.errors import NeuropilError
from neuropil.progress import ProgressDisplay


@app.command()
def predict(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CKPT|NAME",
            help="A checkpoint, or a model of `neuropil models`; A,B: several as one.",
        ),
    ],
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="[z, y, x].")],
    out: Annotated[str, typer.Option("-o", metavar="AFFINITIES", help="Where to write; .zarr or .h5 suit best.")],
    tta: Annotated[
        int | None, typer.Option(metavar="1|4|8|16|48", help="Symmetries to average. [default: the model's own]")
    ] = None,
    tta_mode: Annotated[TtaMode | None, typer.Option(help="How they are combined. [default: mean]")] = None,
    encoding: Annotated[StoredAs | None, typer.Option(help="How affinities are stored. [default: logit8]")] = None,
    keep: Annotated[
        Keep | None, typer.Option(help="The three edges that segmentation needs, or all. [default: nearest]")
    ] = None,
    box: BoxOption = None,
    mask: MaskOption = None,
    skip_sections: SkipOption = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda|auto", help="Where to compute.")] = "auto",
    devices: DevicesOption = 1,
    tile: TileOption = None,
    overlap: OverlapOption = None,
    surround: SurroundOption = None,
    context: ContextOption = None,
    compile_: CompileOption = None,
    resample: Annotated[
        bool | None, typer.Option("--resample", help="Show the network the image at the model's voxel size.")
    ] = None,
    block: BlockOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
) -> None:
    """Predict affinities with a trained network.

    A run that was stopped goes on where it was when the same command is given again.
    """
    from neuropil.compat.pytc.checkpoint import is_classic, load_any_model
    from neuropil.config.mistakes import changed
    from neuropil.inference import predict_volume
    from neuropil.inference.resampling import resampling_line
    from neuropil.models.ensemble import load_ensemble
    from neuropil.pipeline.beside import write_config_beside
    from neuropil.volumes import open_volume

    given = {
        "tta": tta,
        "tta_mode": tta_mode,
        "encoding": encoding,
        "keep": keep,
        "tile": read_numbers(tile, "--tile", int),
        "overlap": read_numbers(overlap, "--overlap", int),
        "surround": read_numbers(surround, "--surround", int),
        "context": read_numbers(context, "--context", int),
        "compile": compile_,
        "resample": resample,
    }
    by_blocks = asks_for_blocks(block, workers, scheduler)
    if by_blocks and devices != 1:
        raise NeuropilError(
            "each block is done on one device; leave out --devices, or --block, --workers and --scheduler"
        )
    members = [] if Path(checkpoint).exists() or "," not in checkpoint else checkpoint.split(",")
    if members and by_blocks:
        raise NeuropilError("an ensemble is predicted in one process; leave out --block, --workers and --scheduler")
    model, said = load_any_model(checkpoint) if not members else (load_ensemble(members, tta_mode or "mean"), None)
    if members:
        typer.echo(f"{tta_mode or 'mean'} of {len(members)} models")
    if said:
        typer.echo(said, err=True)
    if by_blocks and is_classic(model):
        raise NeuropilError(
            f"{checkpoint}: workers open checkpoints of neuropil; make one: neuropil convert {checkpoint} "
            "weights.safetensors"
        )
    settings = changed(model.config.predict, given, "predict")
    views = f"{settings.tta} view{'s'[: settings.tta > 1]}"
    typer.echo(f"{views} ({'stored with the model' if tta is None else 'as asked'})")
    with open_volume(image) as volume:
        area = read_box(box, volume.box)
        tissue = read_tissue(volume, mask, skip_sections, area)
        if settings.resample:
            typer.echo(resampling_line(volume, model))
        if not by_blocks:
            with ProgressDisplay() as progress:
                predict_volume(
                    model, volume, out, settings, box=area, device=device, devices=devices, tissue=tissue,
                    progress=progress,
                )  # fmt: skip
        else:
            # Workers with a GPU are started with `--resources "GPU=1"`: each then does one block at a time.
            from neuropil.blockwise import open_executor
            from neuropil.blockwise.predict import predict_blocks

            resources = {"GPU": 1.0} if device == "cuda" else None
            with open_executor(workers, scheduler, resources) as executor, ProgressDisplay("blocks") as progress:
                predict_blocks(
                    checkpoint, volume, out, settings, block=read_block(block), box=area, device=device,
                    tissue=tissue, executor=executor, progress=progress,
                )  # fmt: skip
    write_config_beside(model.config.model_copy(update={"predict": settings}), out)
    typer.echo(f"wrote {out}")


@app.command()
def segment(
    affinities: Annotated[str, typer.Argument(metavar="AFFINITIES", help="[edge, z, y, x].")],
    out: Annotated[str, typer.Option("-o", metavar="SEGMENTATION", help="Where to write.")],
    method: Annotated[Method | None, typer.Option(help="[default: agglomerate]")] = None,
    score: ScoreOption = None,
    threshold: Annotated[
        float | None, typer.Option(metavar="T", help="Merge down to this affinity; else the one stored, else 0.5.")
    ] = None,
    low: Low = None,
    high: High = None,
    min_size: Annotated[
        int | None,
        typer.Option(metavar="N", help="Join segments of fewer voxels to a neighbour; else the number stored, else 0."),
    ] = None,
    fill: Annotated[bool | None, typer.Option("--fill", help="Grow segments over the background.")] = None,
    offsets: OffsetsOption = None,
    bias: Annotated[
        str | None, typer.Option(metavar="B,...", help="Mutex: added to affinities, one or one each. [default: -0.5]")
    ] = None,
    strides: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="Mutex: thins edges longer than a voxel. [default: 1,1,1]")
    ] = None,
    fragments: Annotated[
        bool | None, typer.Option("--fragments", help="Mutex: of watershed fragments, not of voxels.")
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

    With --block, --workers or --scheduler block by block, for volumes of any size. A run that was stopped goes on where
    it was when the same command is given again.
    """
    from neuropil.blockwise import open_executor, segment_blocks
    from neuropil.config import Config
    from neuropil.pipeline.beside import write_config_beside
    from neuropil.segmentation import segment_volume, settle
    from neuropil.segmentation.edits import EditLog
    from neuropil.volumes import in_tissue

    by_blocks = asks_for_blocks(block, workers, scheduler, work)
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
        if log is not None and by_blocks:
            raise NeuropilError(f"--edits goes with memory, not with blocks; afterwards: neuropil apply {out} {edits}")
        if log is not None:
            typer.echo(f"{len(log.active())} decisions of {edits}")
        if not by_blocks:
            segment_volume(volume, out, settings, log)
        else:
            with open_executor(workers, scheduler) as executor, ProgressDisplay("blocks") as progress:
                segment_blocks(
                    volume, out, settings, block=read_block(block), executor=executor, work=work,
                    progress=progress,
                )  # fmt: skip
    write_config_beside(Config(segment=settings), out)
    typer.echo(f"wrote {out}")


@app.command()
def tune(
    affinities: Annotated[str, typer.Argument(metavar="AFFINITIES", help="[edge, z, y, x].")],
    labels: Annotated[str, typer.Argument(metavar="LABELS", help="The truth.")],
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[AFFINITIES LABELS]...", help="Further pairs: scores are averaged.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", metavar="DIR", help="Leave curve and settings here.")] = None,
    metric: Annotated[Metric, typer.Option(help="What the best threshold minimises.")] = "voi",
    tolerance: Annotated[
        float, typer.Option(min=0, help="Take the middle of thresholds at most this much worse; 0: the very best.")
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
    """Score every threshold against labels; take the middle of those about as good as the best.

    Leaves curve.csv, curve.png and segment.yaml in DIR; `neuropil segment --config DIR/segment.yaml` uses the best.
    """
    from neuropil.blockwise import open_executor, tune_blocks
    from neuropil.evaluation.placing import common_box
    from neuropil.evaluation.search import search as searching
    from neuropil.evaluation.tuning import tune_pairs
    from neuropil.geometry import Box
    from neuropil.volumes import Volume, in_tissue, open_volume
    from neuropil.volumes.atomic import prepare
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
        given = None if box is None else area
        if out is not None:
            prepare(out / "segment.yaml")
        if by_blocks:
            if search:
                raise NeuropilError("--search segments many times, in memory; leave it out, or the options of blocks")
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


@app.command()
def evaluate(
    segmentation: Annotated[str, typer.Argument(metavar="SEGMENTATION", help="What to score.")],
    labels: Annotated[str, typer.Argument(metavar="LABELS", help="The truth; 0 is not scored.")],
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
        float, typer.Option(metavar="NM", min=0, help="CREMI variant: leave out truth so near a border.")
    ] = 0.0,
    components: Annotated[
        bool, typer.Option("--components", help="Score against the parts of truth that are connected in the box.")
    ] = False,
    erl: Annotated[
        bool, typer.Option("--erl", help="Expected run length, too, along skeletons of the labels (extra: mesh).")
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
    from neuropil.pipeline.scoring import write_json
    from neuropil.viewing.report import write_report_of
    from neuropil.volumes import open_volume
    from neuropil.volumes.atomic import prepare
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
                prepare(path)
        placed = place(volume, truth, area)
        if not by_blocks:
            scores = evaluate_placed(placed, border=border, voxel_size=size, components=components)
        elif border or components:
            raise NeuropilError("--border and --components look at whole sections; leave them out, or --block")
        else:
            with open_executor(workers, scheduler) as executor, ProgressDisplay("blocks") as progress:
                scores = evaluate_blocks(
                    volume, truth, block=read_block(block), box=area, executor=executor, work=work,
                    progress=progress,
                )  # fmt: skip
        if erl:
            scores = replace(scores, run_length=run_length(volume, truth, box=area, voxel_size=size))
        typer.echo(str(scores))
        if json_file is not None:
            write_json(json_file, scores.to_json())
            typer.echo(f"wrote {json_file}")
        if report is not None:
            write_report_of(placed, report, image=image, affinities=affinities, scores=scores)
            typer.echo(f"wrote {report}")
