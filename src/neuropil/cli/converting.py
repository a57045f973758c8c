"""The verb that copies a volume into another format: convert."""

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
        typer.Option(metavar="NAMES", help="Axes of IN as stored, where it does not say them: xyz, t,c,z,y,x."),
    ] = None,
    kind: Annotated[
        Colours | None,
        typer.Option("--type", help="What colours become, and how viewers show it: grey values, or ids."),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Type of the copy, as uint8; nothing is cut.")
    ] = None,
    scale_range: Annotated[
        str | None, typer.Option(metavar="LOW,HIGH", help="These become the ends of the type (uint8); beyond is cut.")
    ] = None,
    downsample: Annotated[
        int | None,
        typer.Option(metavar="N", help="N coarser levels next to it, for viewers: images by mean, ids by mode."),
    ] = None,
    sharded: Annotated[
        bool, typer.Option("--sharded", help="Pack many chunks into one file (Zarr 3, precomputed).")
    ] = False,
) -> None:
    """Copy a volume into another format.

    Voxel size, origin, offsets and encoding go with it where the format can hold them. A checkpoint, one of PyTorch
    Connectomics too, becomes a file of weights to share, whose name ends in .safetensors.
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
    """Write the weights of a checkpoint, and what to say about it; ``plain``: no option of volumes was given."""
    from neuropil.cli.classic import share_weights

    if not target.endswith(".safetensors"):
        raise NeuropilError(f"{checkpoint}: a checkpoint becomes weights: expected a name.safetensors, got {target}")
    if not plain:
        raise NeuropilError(f"{target}: weights are written whole; leave out the options for volumes")
    return share_weights(checkpoint, target)
