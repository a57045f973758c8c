"""The verbs ``info``, ``models`` and ``check``: describe volumes, checkpoints and models, and check a volume."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuropil.cli.app import app
from neuropil.errors import NeuropilError, printable

if TYPE_CHECKING:
    from neuropil.geometry import Offsets
    from neuropil.volumes import Volume


@app.command()
def info(
    path: Annotated[
        str | None, typer.Argument(metavar="PATH|NAME", help="A volume, a checkpoint, or a model of `neuropil models`.")
    ] = None,
    system: Annotated[
        bool,
        typer.Option("--system", help="This machine: torch, threads, instruction sets, GPUs, what is off and why."),
    ] = False,
) -> None:
    """Describe a volume, a checkpoint, or this machine."""
    if system == (path is not None):
        raise NeuropilError("info: expected a PATH or NAME, or --system for this machine; give one of them")
    if system:
        from neuropil.cli.system import describe_system

        typer.echo("\n".join(describe_system()))
    elif path is not None:
        typer.echo(printable("\n".join(describe(path))))


@app.command()
def models() -> None:
    """List the models that come with the package."""
    typer.echo("\n".join(list_models()))


def list_models() -> list[str]:
    """Lines about each model of the package.

    >>> list_models()[0].startswith("fib25 ")
    True
    """
    from neuropil.models.released import model_facts, released_models

    lines: list[str] = []
    for name in released_models():
        facts = model_facts(name)
        views = f"{facts.views} view{'s'[: facts.views > 1]}"
        voi = f"VI {facts.voi_split + facts.voi_merge:.3f} ({facts.voi_split:.3f} + {facts.voi_merge:.3f})"
        lines += [
            f"{name:<14} {facts.tissue}, {_by(facts.voxel_size)} nm (z, y, x)",
            f"    scores     adapted Rand error {facts.adapted_rand_error:.3f}, {voi}, on {facts.scored_on}",
            f"    speed      {facts.speed:.2g} Mvoxel/s with {views}, its default, on {facts.measured_on}",
            f"    licence    {facts.licence}",
        ]
    return [*lines, "scores are validation figures; more of each: neuropil info NAME"]


def describe(path: str) -> list[str]:
    """Lines that describe a volume, a container of several volumes, or a checkpoint; no voxel is read.

    Args:
        path: of a volume or a checkpoint; or the name of a model of the package, whose model card comes first.

    Raises:
        NeuropilError: none of these, or a file that cannot be read.

    >>> import numpy as np, tempfile
    >>> from neuropil.volumes import Metadata, write_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volume(f"{folder}/a.h5", np.zeros((4, 5, 6), np.uint8), Metadata(voxel_size=(30, 6, 6)))
    ...     describe(f"{folder}/a.h5")[1:3]
    ['shape       4 × 5 × 6 (z, y, x), uint8, 120 bytes', 'voxel size  30 × 6 × 6 nm']
    """
    from neuropil.volumes import list_arrays, open_volume
    from neuropil.volumes.location import parse_location

    file = Path(path)
    if not file.exists():
        from neuropil.models.released import released_models

        if path.isidentifier() or path in released_models():
            return _released(path)
    if file.suffix in (".pt", ".pth", ".ckpt", ".safetensors") or (file.is_file() and zipfile.is_zipfile(file)):
        return _checkpoint(file)
    arrays = list_arrays(path)
    if len(arrays) > 1 and not parse_location(path).array:
        return [f"container   {path}", *(f"{name}  {listed}" for name, listed in arrays.items())]
    with open_volume(path) as volume:
        return _volume(volume)


def _volume(volume: Volume) -> list[str]:
    metadata = volume.metadata
    size = volume.dtype.itemsize
    for n in volume.shape:
        size *= n
    axes = "z, y, x" if len(volume.shape) == 3 else "channel, z, y, x"
    lines = [
        f"volume      {volume.path}",
        f"shape       {_by(volume.shape)} ({axes}), {volume.dtype}, {_bytes(size)}",
        f"voxel size  {_by(metadata.voxel_size) + ' nm' if metadata.voxel_size else 'not stored'}",
    ]
    if volume.chunks:
        lines.append(f"chunks      {_by(volume.chunks)}")
    if metadata.origin is not None:
        lines.append(f"box         {volume.box} of the image")
    if metadata.offsets is not None:
        lines.append(f"offsets     {_offsets(metadata.offsets)}")
    if metadata.encoding is not None:
        lines.append(f"encoding    {json.dumps(metadata.encoding.to_json())}")
    return lines + [f"{key:<10}  {json.dumps(value)}" for key, value in metadata.extra.items()]


def _released(name: str) -> list[str]:
    from neuropil.models.released import find_checkpoint, model_card

    path = find_checkpoint(name)
    return [*(model_card(name) or "").splitlines(), "", *_checkpoint(path)]


def _checkpoint(path: Path) -> list[str]:
    from neuropil.cli.classic import open_model
    from neuropil.config import config_to_yaml

    model, said = open_model(path)
    weights = sum(parameter.numel() for parameter in model.network.parameters())
    lines = [
        f"checkpoint  {path}",
        f"network     {model.config.model.architecture}, {weights:,} weights",
        f"offsets     {_offsets(model.config.model.offsets)}",
    ]
    lines += [f"{key.replace('_', ' '):<10}  {json.dumps(value)}" for key, value in model.info.items()]
    lines += ["", said] if said else []
    return [*lines, "", "trained by this recipe:", "", config_to_yaml(model.config, comments=False).rstrip()]


def _offsets(offsets: Offsets) -> str:
    return "; ".join(",".join(map(str, offset)) for offset in offsets)


def _by(numbers: Iterable[float]) -> str:
    return " × ".join(f"{n:g}" for n in numbers)


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:.3g} {unit}"


@app.command()
def check(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="[z, y, x].")],
    labels: Annotated[str | None, typer.Argument(metavar="[LABELS]", help="Ground truth, if there is one.")] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write the same as one page, with pictures.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|WEIGHTS", help="Model to compare with. [default: that of the nearest voxel size]"),
    ] = None,
) -> None:
    """Check a volume before training or prediction: sizes, grey values, damaged sections, labels."""
    from contextlib import ExitStack

    from neuropil.pipeline.inspecting import inspect_volumes
    from neuropil.pipeline.inspecting_page import write_check
    from neuropil.volumes import open_volume
    from neuropil.volumes.atomic import expect_output

    with ExitStack() as stack:
        shown = stack.enter_context(open_volume(image))
        truth = None if labels is None else stack.enter_context(open_volume(labels))
        if report is not None:
            expect_output(report)
        found = inspect_volumes(shown, truth, model)
        typer.echo("\n".join(found.lines()))
        if report is not None:
            write_check(report, found, shown, truth)
            typer.echo(f"wrote {report}")
