"""The verbs for proofreading: rank, proofread, apply, edits, objects, export."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuropil.choices import ExportTarget
from neuropil.cli.app import app
from neuropil.cli.options import (
    BlockOption,
    OffsetsOption,
    SchedulerOption,
    WorkersOption,
    WorkOption,
    asks_for_blocks,
    open_affinities,
    read_block,
)
from neuropil.errors import NeuropilError

if TYPE_CHECKING:
    from neuropil.config import SegmentConfig
    from neuropil.proofreading import Calibration, Proofreading, Ranking
    from neuropil.proofreading.candidates import Segmented
    from neuropil.proofreading.sources import ExportInput
    from neuropil.volumes import Volume

AffinitiesArgument = Annotated[str, typer.Argument(metavar="AFFINITIES", help="[edge, z, y, x].")]
SegmentationArgument = Annotated[str, typer.Argument(metavar="SEGMENTATION", help="Made from these affinities.")]
CalibrationOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A calibration.json of --calibrate. [default: the package's own]")
]


@app.command()
def rank(
    affinities: AffinitiesArgument,
    segmentation: SegmentationArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", metavar="decisions.csv", help="Where to write the list; decisions.csv, unless --summary or --report."
        ),
    ] = None,
    calibrate: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="AFFINITIES LABELS", help="Learn the probabilities from a labelled volume first."),
    ] = None,
    calibration: CalibrationOption = None,
    summary: Annotated[bool, typer.Option("--summary", help="Print estimates of the quality without labels.")] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write the summary as a page, with places to look at.")
    ] = None,
    offsets: OffsetsOption = None,
    block: BlockOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    work: WorkOption = None,
) -> None:
    """List the decisions that proofreading should begin with, the most useful first.

    A decision answers one question: should two touching segments be one (join), or was a merge wrong (separate)?
    """
    from neuropil.blockwise import open_executor
    from neuropil.progress import ProgressDisplay
    from neuropil.proofreading import open_proofreading
    from neuropil.proofreading.calibrating import calibrate_on
    from neuropil.proofreading.sources import open_by_blocks
    from neuropil.volumes import open_volume, require_labels
    from neuropil.volumes.tissue import as_segmented

    if calibrate is not None and calibration is not None:
        raise NeuropilError("expected --calibrate or --calibration, got both")
    by_blocks = asks_for_blocks(block, workers, scheduler, work)
    if by_blocks and (summary or report):
        raise NeuropilError("--summary and --report look at whole segments; leave them out, or the block options")
    out = out or (None if summary or report else Path("decisions.csv"))
    with ExitStack() as stack:
        segments = stack.enter_context(open_volume(segmentation))
        volume = as_segmented(stack.enter_context(open_affinities(affinities, offsets)), segments)
        if calibrate is not None:
            known = stack.enter_context(open_affinities(calibrate[0], offsets))
            truth = require_labels(stack.enter_context(open_volume(calibrate[1])))
            chosen, fit = calibrate_on([(known, truth)])
            typer.echo("\n".join(fit))
            beside = (out or Path("decisions.csv")).with_name("calibration.json")
            chosen.save(beside)
            typer.echo(f"wrote {beside}")
        else:
            chosen = _calibration(calibration)
        if by_blocks and out is not None:
            executor = stack.enter_context(open_executor(workers, scheduler))
            progress = stack.enter_context(ProgressDisplay("blocks"))
            with open_by_blocks(
                volume, segments, typer.echo, block=read_block(block), executor=executor, work=work, progress=progress
            ) as parts:
                _write_list(out, parts, chosen)
            return
        state, _ = open_proofreading(volume, segments, typer.echo)
        ranking = _write_list(out, state, chosen)
        if summary or report:
            _write_quality(summary, report, state, ranking, segments, volume)


def _calibration(path: Path | None) -> Calibration:
    """Load the calibration that is given, or that of the package, and say what it learned from."""
    from neuropil.proofreading import load_calibration

    chosen = load_calibration(path)
    typer.echo(f"probabilities learned from {chosen.made_from}")
    return chosen


def _write_list(out: Path | None, state: Segmented, calibration: Calibration) -> Ranking:
    """Rank the questions, and write them if a file is named."""
    from neuropil.proofreading import rank as ranked
    from neuropil.proofreading import write_decisions

    ranking = ranked(state, calibration)
    if out is not None:
        write_decisions(out, state, ranking)
        joins = int(ranking.found.join.sum())
        typer.echo(
            f"wrote {out}: {joins} questions to join, {len(ranking.found) - joins} to separate; all answers together "
            f"are expected to gain {ranking.gain.sum():.4f} bits of VI"
        )
    return ranking


def _write_quality(
    summary: bool, report: Path | None, state: Proofreading, ranking: Ranking, segments: Volume, affinities: Volume
) -> None:
    """Print and write what can be said without labels."""
    from neuropil.proofreading.quality import quality_of
    from neuropil.viewing.quality_page import write_quality

    quality = quality_of(state, ranking, segments)
    if summary:
        typer.echo("\n".join(quality.lines()))
    if report is not None:
        typer.echo(f"wrote {write_quality(report, quality, state, ranking, segments, affinities)}")


@app.command()
def proofread(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="[z, y, x].")],
    affinities: AffinitiesArgument,
    segmentation: SegmentationArgument,
    edits: Annotated[
        Path | None, typer.Option(metavar="LOG", help="Answer in the browser; write decisions to this log.")
    ] = None,
    simulate: Annotated[str | None, typer.Option(metavar="LABELS", help="Simulate: labels give the answers.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", metavar="DIR", help="Folder for simulation.csv and simulation.png.")
    ] = None,
    wrong: Annotated[
        float,
        typer.Option(
            metavar="P", min=0, max=45, help="Expected wrong answers, in percent: unlikely answers are asked for again."
        ),
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulation.")] = 0,
    components: Annotated[
        bool,
        typer.Option("--components", help="Simulate: parts of a label that are connected only outside are not one."),
    ] = False,
    calibration: CalibrationOption = None,
    offsets: OffsetsOption = None,
    host: Annotated[str, typer.Option(help="Where to listen; by default only this machine can connect.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 0,
) -> None:
    """Answer ranked questions, in the browser or by labels."""
    from neuropil.proofreading import open_proofreading
    from neuropil.proofreading.simulation import simulate_into, truth_of
    from neuropil.volumes import open_volume, require_labels
    from neuropil.volumes.tissue import as_segmented

    if (edits is None) == (simulate is None):
        raise NeuropilError("expected either --edits LOG or --simulate LABELS -o DIR")
    if simulate is not None and out is None:
        raise NeuropilError("--simulate needs a folder for its results: -o DIR")
    if edits is not None and (out is not None or seed or components):
        raise NeuropilError("-o, --seed and --components go with --simulate, not with --edits")
    with ExitStack() as stack:
        segments = stack.enter_context(open_volume(segmentation))
        volume = as_segmented(stack.enter_context(open_affinities(affinities, offsets)), segments)
        shown = stack.enter_context(open_volume(image))
        state, settings = open_proofreading(volume, segments, typer.echo)
        if not shown.box.contains(state.fragments.box):
            raise NeuropilError(f"expected an image that covers {state.fragments.box}, got {shown.box} in {image}")
        chosen = _calibration(calibration)
        if simulate is not None and out is not None:
            labels = require_labels(stack.enter_context(open_volume(simulate)))
            truth = truth_of(state, labels, components)
            lines = simulate_into(out, state, truth, chosen, wrong=wrong / 100, seed=seed)
            typer.echo("\n".join(lines))
            typer.echo(f"wrote {out}/simulation.csv and simulation.png")
            return
        if edits is not None:
            _answer(shown, volume, state, settings, chosen, wrong / 100, edits, (host, port))


def _answer(
    image: Volume, affinities: Volume, state: Proofreading, settings: SegmentConfig, calibration: Calibration,
    wrong: float, path: Path, address: tuple[str, int],
) -> None:  # fmt: skip
    """Serve the page until Ctrl-C, with the log locked."""
    from neuropil.proofreading.session import Session
    from neuropil.segmentation.edits import EditLog, log_header, session
    from neuropil.viewing.proofreader import Proofreader
    from neuropil.viewing.viewer import close_viewer, serve

    assert settings.threshold is not None
    log = EditLog.begin(path, log_header(affinities, settings))
    with session(path):
        if log.edits:
            typer.echo(f"{len(log.active())} decisions of {path} are applied")
        tree, graph, nodes = state.cut.tree, state.cut.graph, state.cut.tree.nodes(state.fragments.read())
        try:
            page = Proofreader(
                image, Session(state, log, calibration, wrong),
                lambda threshold: tree.lut(threshold, settings.min_size or 0, graph, nodes), *address,
            )  # fmt: skip
            serve(page.viewer, address[0], typer.echo)
        finally:
            close_viewer()
    typer.echo(f"{len(log.active())} decisions in {path}; apply them: neuropil apply SEGMENTATION {path} -o OUT")


@app.command()
def apply(
    segmentation: Annotated[str, typer.Argument(metavar="SEGMENTATION", help="[z, y, x].")],
    log: Annotated[Path, typer.Argument(metavar="LOG", help="Decisions of a proofreader.")],
    out: Annotated[str, typer.Option("-o", metavar="OUT", help="Where to write.")],
    affinities: Annotated[
        str | None, typer.Option(metavar="AFFINITIES", help="Needed once the log holds a separation.")
    ] = None,
    offsets: OffsetsOption = None,
    block: BlockOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    work: WorkOption = None,
) -> None:
    """Apply a proofreader's decisions to a segmentation. Ids that no decision touches stay as they are.

    With --block, --workers or --scheduler it works block by block, for volumes of any size.
    """
    from neuropil.blockwise import open_executor
    from neuropil.progress import ProgressDisplay
    from neuropil.proofreading.sources import apply_by_blocks, apply_log
    from neuropil.segmentation.edits import EditLog
    from neuropil.volumes import open_volume, require_labels
    from neuropil.volumes.tissue import as_segmented

    by_blocks = asks_for_blocks(block, workers, scheduler, work)
    with ExitStack() as stack:
        found = EditLog.read(log)
        segments = require_labels(stack.enter_context(open_volume(segmentation)))
        known = None if affinities is None else stack.enter_context(open_affinities(affinities, offsets))
        known = None if known is None else as_segmented(known, segments)
        if not by_blocks:
            apply_log(segments, found, known, out)
        else:
            executor = stack.enter_context(open_executor(workers, scheduler))
            progress = stack.enter_context(ProgressDisplay("blocks"))
            apply_by_blocks(
                segments, found, known, out, block=read_block(block), executor=executor, work=work, progress=progress
            )
    typer.echo(f"wrote {out} with {len(found.active())} decisions of {log}")


@app.command()
def edits(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="Decisions of a proofreader.")],
    undo: Annotated[int | None, typer.Option(metavar="ID", help="Undo a decision: appends an undo to the log.")] = None,
    merge: Annotated[
        list[Path] | None, typer.Option(metavar="LOG2", help="Add the decisions of other logs; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", metavar="LOG3", help="The new log of --merge.")] = None,
) -> None:
    """List and check the decisions of a log; undo one, or merge logs."""
    from neuropil.segmentation.edits import EditLog, merged

    if (merge is None or not merge) != (out is None):
        raise NeuropilError("--merge LOG2 and -o LOG3 go together")
    found = EditLog.read(log)
    if undo is not None:
        typer.echo(f"appended {found.append('undo', undoes=undo)}")
    if merge and out is not None:
        found = merged([found, *map(EditLog.read, merge)], out)
        typer.echo(f"wrote {out}")
    header = found.header
    typer.echo(
        f"{found.path}: affinities {header.affinities_digest}, low {header.low:g}, high {header.high:g}, score "
        f"{header.score}, threshold {header.threshold:g}, minimum size {header.min_size}"
    )
    if found.unfinished:
        typer.echo("the last line is incomplete after a crash; the next decision replaces it")
    active = {edit.id for edit in found.active()}
    for edit in found.edits:
        typer.echo(f"{edit}{'' if edit.id in active or edit.kind == 'undo' else ', undone'}")
    typer.echo(f"{len(found.edits)} lines, {len(active)} decisions in force")


@app.command()
def objects(
    segmentation: Annotated[str, typer.Argument(metavar="SEGMENTATION", help="[z, y, x].")],
    out: Annotated[Path, typer.Option("-o", metavar="objects.csv", help="Where to write the table.")],
    affinities: Annotated[
        str | None, typer.Option(metavar="AFFINITIES", help="Adds the weakest merge and the confidence.")
    ] = None,
    calibration: CalibrationOption = None,
    offsets: OffsetsOption = None,
) -> None:
    """Write a table of all segments: size, box, centre, border contact, parts, neighbours, confidence."""
    from neuropil.proofreading.objects import objects_of, with_confidence, write_objects

    with ExitStack() as stack:
        source = _source(stack, segmentation, affinities, offsets, calibration)
        rows = objects_of(source.segmentation)
        if source.state is not None and source.calibration is not None:
            rows = with_confidence(rows, source.state, source.calibration)
        write_objects(rows, out)
    typer.echo(f"wrote {out}: {len(rows)} segments")


@app.command()
def export(
    segmentation: Annotated[str, typer.Argument(metavar="SEGMENTATION", help="[z, y, x], with a voxel size.")],
    out: Annotated[Path, typer.Option("-o", metavar="DIR", help="A new or empty folder.")],
    to: Annotated[ExportTarget, typer.Option(help="The program to export to.")],
    affinities: Annotated[
        str | None, typer.Option(metavar="AFFINITIES", help="Adds decisions; webknossos and pychunkedgraph need them.")
    ] = None,
    calibration: CalibrationOption = None,
    offsets: OffsetsOption = None,
) -> None:
    """Export a segmentation to the program that a lab proofreads with."""
    from neuropil.proofreading.export import export as write

    with ExitStack() as stack:
        typer.echo("\n".join(write(_source(stack, segmentation, affinities, offsets, calibration), out, to)))


def _source(
    stack: ExitStack, segmentation: str, affinities: str | None, offsets: str | None, calibration: Path | None
) -> ExportInput:
    """Open a segmentation and, with affinities, compute its fragments and load a calibration."""
    from neuropil.proofreading import open_proofreading
    from neuropil.proofreading.sources import ExportInput
    from neuropil.volumes import open_volume
    from neuropil.volumes.counting import refuse_image
    from neuropil.volumes.tissue import as_segmented

    volume = refuse_image(stack.enter_context(open_volume(segmentation)))
    if affinities is None:
        if calibration is not None:
            raise NeuropilError("--calibration goes with --affinities")
        return ExportInput(volume)
    known = as_segmented(stack.enter_context(open_affinities(affinities, offsets)), volume)
    state, _ = open_proofreading(known, volume, typer.echo)
    return ExportInput(volume, state, _calibration(calibration))
