"""The verb ``predict``: an image to affinities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuropil.choices import Keep, Precision, StoredAs, TtaMode
from neuropil.cli.app import app
from neuropil.cli.options import (
    BlockOption,
    BoxOption,
    CompileOption,
    ContextOption,
    DevicesOption,
    MaskOption,
    OverlapOption,
    SchedulerOption,
    SkipOption,
    SurroundOption,
    TileOption,
    WorkersOption,
    asks_for_blocks,
    read_block,
    read_box,
    read_numbers,
    read_tissue,
)
from neuropil.errors import NeuropilError
from neuropil.progress import ProgressDisplay

if TYPE_CHECKING:
    from neuropil.models.checkpoint import Model


@app.command()
def predict(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CKPT|NAME",
            help="A checkpoint, or a model of `neuropil models`; A,B: an ensemble.",
        ),
    ],
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="[z, y, x].")],
    out: Annotated[str, typer.Option("-o", metavar="AFFINITIES", help="Where to write; .zarr or .h5 suit best.")],
    tta: Annotated[
        int | None,
        typer.Option(metavar="1|4|8|16|48", help="Views of test-time augmentation. [default: the model's own]"),
    ] = None,
    tta_mode: Annotated[TtaMode | None, typer.Option(help="How views are combined. [default: mean]")] = None,
    encoding: Annotated[StoredAs | None, typer.Option(help="How affinities are stored. [default: logit8]")] = None,
    keep: Annotated[
        Keep | None, typer.Option(help="Nearest edges, all edges, or auxiliary channels, too. [default: nearest]")
    ] = None,
    box: BoxOption = None,
    mask: MaskOption = None,
    skip_sections: SkipOption = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda|auto", help="Where to compute.")] = "auto",
    devices: DevicesOption = 1,
    precision: Annotated[
        Precision | None,
        typer.Option(help="Numbers in which to compute; int8 is fast and less exact. [default: auto]"),
    ] = None,
    tile: TileOption = None,
    overlap: OverlapOption = None,
    surround: SurroundOption = None,
    context: ContextOption = None,
    compile_: CompileOption = None,
    resample: Annotated[
        bool | None, typer.Option("--resample", help="Resample the image to the voxel size of the model.")
    ] = None,
    block: BlockOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
) -> None:
    """Predict affinities with a trained network.

    Repeat the command to resume a run that was stopped.
    """
    from neuropil.config.mistakes import changed
    from neuropil.inference import predict_volume
    from neuropil.inference.engine import choose_device
    from neuropil.inference.resampling import resampling_line
    from neuropil.models.convolution import convolves_with_ours
    from neuropil.models.precision import no_int8
    from neuropil.pipeline.estimates import tell_work
    from neuropil.pipeline.output_config import expect_output_config, write_output_config
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
        "precision": precision,
        "compile": compile_,
        "resample": resample,
    }
    by_blocks = asks_for_blocks(block, workers, scheduler)
    expect_output_config(out)
    if by_blocks and devices != 1:
        raise NeuropilError(
            "each block is done on one device; leave out --devices, or --block, --workers and --scheduler"
        )
    model = _load(checkpoint, tta_mode or "mean", by_blocks)
    settings = changed(model.config.predict, given, "predict")
    views = f"{settings.tta} view{'s'[: settings.tta > 1]}"
    typer.echo(f"{views} ({'stored with the model' if tta is None else 'as asked'})")
    if settings.precision == "auto" and not no_int8(choose_device(device), convolves_with_ours(model.network)):
        typer.echo("--precision int8 would take about a third of the time on this processor (docs/speed.md)")
    with open_volume(image) as volume:
        area = read_box(box, volume.box)
        tell_work(volume, "predicting", 0, area, by_blocks=by_blocks)
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
            # Workers started with `--resources "GPU=1"` do one block at a time on their GPU.
            from neuropil.blockwise import open_executor
            from neuropil.blockwise.predict import predict_blocks

            resources = {"GPU": 1.0} if device == "cuda" else None
            with open_executor(workers, scheduler, resources) as executor, ProgressDisplay("blocks") as progress:
                predict_blocks(
                    checkpoint, volume, out, settings, block=read_block(block), box=area, device=device,
                    tissue=tissue, executor=executor, progress=progress,
                )  # fmt: skip
    write_output_config(model.config.model_copy(update={"predict": settings}), out)
    typer.echo(f"wrote {out}")


def _load(checkpoint: str, mode: TtaMode, by_blocks: bool) -> Model:
    """Load a checkpoint, a named model, or an ensemble of several separated by commas; prints notes about it."""
    from neuropil.cli.classic import open_model
    from neuropil.models.ensemble import load_ensemble

    if Path(checkpoint).exists() or "," not in checkpoint:
        model, said = open_model(checkpoint, by_blocks=by_blocks)
        if said:
            typer.echo(said, err=True)
        return model
    if by_blocks:
        raise NeuropilError("an ensemble is predicted in one process; leave out --block, --workers and --scheduler")
    members = checkpoint.split(",")
    ensemble = load_ensemble(members, mode)
    typer.echo(f"{mode} of {len(members)} models")
    return ensemble
