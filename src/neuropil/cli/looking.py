"""The verb ``view``: volumes in Neuroglancer."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer

from neuropil.cli.app import app
from neuropil.cli.options import OffsetsOption, read_numbers, read_voxel_size
from neuropil.errors import NeuropilError


@app.command()
def view(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="[IMAGE] [AFFINITIES] [SEGMENTATION]...", help="Volumes to show.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="LABELS", help="Ground truth; the worst mistakes are marked.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="Z,Y,X", help="Open at this voxel. [default: the worst mistake, or the middle]"),
    ] = None,
    select: Annotated[
        str | None, typer.Option(metavar="ID,...", help="Segments to select; with zmesh also shown in 3-D.")
    ] = None,
    offsets: OffsetsOption = None,
    voxel_size: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="Voxel size in nm, for volumes that store none.")
    ] = None,
    host: Annotated[str, typer.Option(help="Where to listen; by default only this machine can connect.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 0,
) -> None:
    """Show volumes in Neuroglancer, in a browser.

    Arrays with four axes are affinities; the first one of bytes or floats is the image, other integers are
    segmentations. Select segments by double-click; their meshes need zmesh.
    """
    from neuropil.cli.options import open_affinities
    from neuropil.viewing.layers import layers_of
    from neuropil.viewing.viewer import close_viewer, mistakes_in, open_viewer, serve
    from neuropil.volumes import open_volume
    from neuropil.volumes.counting import looks_like_image

    with ExitStack() as stack:
        volumes = [stack.enter_context(open_volume(path)) for path in paths or []]
        volumes = [open_affinities(v.path, offsets) if offsets and len(v.shape) == 4 else v for v in volumes]
        truth = stack.enter_context(open_volume(labels)) if labels else None
        layers = layers_of(volumes, truth, read_voxel_size(voxel_size))
        for layer in layers:
            typer.echo(f"{layer.kind:<12}  {layer.volume.path}")
            if layer.kind == "segmentation" and looks_like_image(layer.volume):
                typer.echo(
                    f"warning: {layer.volume.path} is taken for ids and looks like an image: most voxels differ from "
                    "their neighbour",
                    err=True,
                )
        if layers[0].volume.metadata.voxel_size is None:
            typer.echo("no voxel size is stored: taken as 1 nm; give --voxel-size Z,Y,X")
        mistakes = mistakes_in(layers)
        segments = [int(n) for n in read_numbers(select, "--select", int) or []]
        try:
            viewer = open_viewer(layers, at=_voxel(at), mistakes=mistakes, segments=segments, host=host, port=port)
            serve(viewer, host, typer.echo)
        finally:
            close_viewer()


def _voxel(text: str | None) -> tuple[int, int, int] | None:
    """A voxel as typed, ``z,y,x``."""
    numbers = read_numbers(text, "--at", int)
    if numbers is None:
        return None
    if len(numbers) != 3:
        raise NeuropilError(f"--at {text}: expected a voxel Z,Y,X, for example 75,512,512")
    return (int(numbers[0]), int(numbers[1]), int(numbers[2]))
