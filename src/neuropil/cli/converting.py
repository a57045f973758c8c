"""The verb ``convert``: copy a volume into another format, or the weights of a checkpoint into .safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuropil.choices import Colours
from neuropil.cli.app import app
from neuropil.cli.options import BoxOption, VoxelSizeOption, read_box, read_range, read_voxel_size
from neuropil.errors import NeuropilError

_CHECKPOINTS = (".pt", ".pth", ".pth.tar", ".ckpt")


@app.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="IN", help="A volume, or a checkpoint.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="Its copy; the ending decides the format.")],
    box: BoxOption = None,
    voxel_size: VoxelSizeOption = None,
    axes: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Axes of IN as stored, where it does not name them: xyz, or t,c,z,y,x."),
    ] = None,
    kind: Annotated[
        Colours | None,
        typer.Option("--type", help="What the voxels are: grey values or ids; colours are converted to that."),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Type of the copy, such as uint8; values must fit.")
    ] = None,
    scale_range: Annotated[
        str | None, typer.Option(metavar="LOW,HIGH", help="Scale this range to that of the type (uint8); clip beyond.")
    ] = None,
    downsample: Annotated[
        int | None,
        typer.Option(metavar="N", help="Add N coarser levels, for viewers: images by mean, ids by mode."),
    ] = None,
    sharded: Annotated[
        bool, typer.Option("--sharded", help="Pack many chunks into one file (Zarr 3, precomputed).")
    ] = False,
) -> None:
    """Copy a volume into another format.

    Voxel size, origin, offsets and encoding are copied if the format can hold them. A checkpoint, also one of PyTorch
    Connectomics, is converted to a file of weights whose name ends in .safetensors.
    """
    from neuropil.pipeline.estimates import tell_work
    from neuropil.volumes import open_volume, spare_input
    from neuropil.volumes.convert import SLAB_BYTES, Voxels, convert_volume

    if target.endswith(".safetensors") or source.endswith(_CHECKPOINTS):
        plain = not sharded and {box, voxel_size, axes, kind, dtype, scale_range, downsample} == {None}
        written, said = _weights(source, target, plain)
        typer.echo(f"{said}\nwrote {written}" if said else f"wrote {written}")
        return
    volume = open_volume(source, colour=kind or "", axes=axes or "")
    spare_input(volume, target)
    voxels = Voxels(dtype, kind or "", read_range(scale_range))
    area, size = read_box(box, volume.box), read_voxel_size(voxel_size)
    tell_work(volume, "copying", 2 * SLAB_BYTES, area)
    if downsample is None:
        convert_volume(volume, target, box=area, voxel_size=size, voxels=voxels, sharded=sharded)
    else:
        from neuropil.volumes.pyramid import Pyramid, convert_pyramid

        pyramid = Pyramid(downsample, sharded)
        convert_pyramid(volume, target, pyramid, box=area, voxel_size=size, voxels=voxels, say=typer.echo)
    typer.echo(f"wrote {target}")


def _weights(checkpoint: str, target: str, plain: bool) -> tuple[Path, str | None]:
    """Write the weights of a checkpoint; and a line to print. ``plain``: no option for volumes was given."""
    from neuropil.cli.classic import share_weights

    if not target.endswith(".safetensors"):
        raise NeuropilError(f"{checkpoint} is a checkpoint: expected OUT to end in .safetensors, got {target}")
    if not plain:
        raise NeuropilError(f"{target}: weights are written as they are; leave out the options for volumes")
    return share_weights(checkpoint, target)
