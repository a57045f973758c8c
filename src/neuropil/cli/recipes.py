"""The verbs demo, fetch, config, train and run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuropil.cli.app import app, config_verbs
from neuropil.cli.options import (
    BoxOption,
    Minutes,
    OutFolder,
    Pretrained,
    Recipes,
    Sets,
    VoxelSizeOption,
    out_folder,
    read_pairs,
    read_recipe,
    read_voxel_size,
)


@app.command()
def demo(
    data: Annotated[
        Path | None, typer.Option(help="Folder with SNEMI3D; else $NEUROPIL_DATA, cache, download.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for all results.")] = Path("outputs/demo"),
    minutes: Annotated[float, typer.Option(help="How long to train; 0: show the shipped model only.")] = 5.75,
) -> None:
    """Segment with the shipped model, train another, score and show both, in minutes.

    On SNEMI3D, which is downloaded if needed; if that fails, on synthetic tissue.
    """
    from neuropil.pipeline.demo import demo as run

    run(data, out, minutes)


@app.command()
def fetch(
    dataset: Annotated[str, typer.Argument(metavar="snemi3d", help="The data set.")],
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Where to put it; else the cache.")] = None,
) -> None:
    """Download a public data set and verify its checksum."""
    from neuropil.pipeline.fetch import fetch as run

    typer.echo(f"{dataset} is in {run(dataset, folder)}")


@config_verbs.command("new")
def config_new(
    volumes: Annotated[
        list[str], typer.Argument(metavar="IMAGE LABELS [IMAGE LABELS]...", help="Images, each with its labels.")
    ],
    out: Annotated[Path | None, typer.Option("-o", metavar="FILE", help="Where to write; else it is printed.")] = None,
    mask: Annotated[
        list[str] | None, typer.Option(metavar="MASK", help="1 = use; one for each image, in their order.")
    ] = None,
    box: BoxOption = None,
    voxel_size: VoxelSizeOption = None,
    minutes: Annotated[float, typer.Option(min=0.01, help="How long to train.")] = 60.0,
    pretrained: Pretrained = None,
    full: Annotated[bool, typer.Option("--full", help="Write also the defaults.")] = False,
) -> None:
    """Write a recipe for your own data.

    Network, patch, offsets and the split into training, validation and test are chosen by labels and voxel size.
    """
    from neuropil.config import config_to_yaml
    from neuropil.pipeline.own_data import new_recipe
    from neuropil.volumes.atomic import write_text
    from neuropil.volumes.marks import FIRST_LINE

    pairs, size = read_pairs(volumes, "image", "labels"), read_voxel_size(voxel_size)
    recipe = new_recipe(pairs, masks=mask or (), box=box, voxel_size=size, minutes=minutes, pretrained=pretrained)
    head = "".join(f"# {reason}\n" for reason in recipe.reasons)
    text = head + "\n" + config_to_yaml(recipe.config, full=full)
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out, FIRST_LINE + text)
        typer.echo("\n".join(recipe.reasons) + f"\nwrote {out}; now: neuropil run {out}")


@config_verbs.command("show")
def config_show(
    recipes: Annotated[list[str] | None, typer.Argument(metavar="CONFIG", help="None: the defaults.")] = None,
    sets: Sets = None,
) -> None:
    """Print the resolved recipe with comments."""
    from neuropil.config import config_to_yaml

    typer.echo(config_to_yaml(read_recipe(recipes or [], sets)), nl=False)


@config_verbs.command("check")
def config_check(recipes: Recipes, sets: Sets = None) -> None:
    """Check a recipe and the volumes it names."""
    from neuropil.pipeline.checking import check_volumes

    typer.echo("\n".join(check_volumes(read_recipe(recipes, sets))))


@config_verbs.command("convert")
def config_convert(
    words: Annotated[
        list[str], typer.Argument(metavar="BASE FILE [KEY VALUE]...", help="YAML files of PyTorch Connectomics.")
    ],
    out: Annotated[Path | None, typer.Option("-o", metavar="FILE", help="Where to write; else it is printed.")] = None,
) -> None:
    """Translate configuration files of PyTorch Connectomics into a recipe.

    Keys without effect, and keys that a recipe cannot hold, are listed at its top; unsupported values are refused by
    name.
    """
    from neuropil.cli.classic import translated
    from neuropil.config import config_to_yaml
    from neuropil.volumes.atomic import write_text
    from neuropil.volumes.marks import FIRST_LINE

    files = [word for word in words if word.endswith((".yaml", ".yml"))]
    config, output, told = translated(files, words[len(files) :])
    head = [f"translated from {', '.join(files)}", *told]
    text = "".join(f"# {line}\n" for line in head) + "\n" + config_to_yaml(config)
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out, FIRST_LINE + text)
        typer.echo("\n".join([*told, f"wrote {out}; now: neuropil run {out} --out {output}"]))


@app.command()
def train(
    recipes: Recipes,
    sets: Sets = None,
    resume: Annotated[Path | None, typer.Option(metavar="CKPT", help="Resume training exactly from here.")] = None,
    pretrained: Pretrained = None,
    teacher: Annotated[
        str | None,
        typer.Option(metavar="CKPT|NAME", help="Also learn the affinities of this model; labels may be missing."),
    ] = None,
    out: OutFolder = None,
    minutes: Minutes = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the run of another recipe in DIR.")] = False,
) -> None:
    """Train a network.

    Writes checkpoints/last.pt, checkpoints/best.pt, config.yaml and tensorboard/ into DIR.
    """
    from neuropil.config import starting_from
    from neuropil.inputs import replace_anything
    from neuropil.training import train as run
    from neuropil.training.run import check_folder

    config, folder = read_recipe(recipes, sets, minutes), out or out_folder(recipes)
    if force:
        replace_anything()
    if not force and resume is None:
        check_folder(starting_from(config, pretrained), folder)
    last = run(config, folder, resume=resume, pretrained=pretrained, teacher=teacher)
    typer.echo(
        f"wrote {last} (end of the run: use it with --resume) and {last.with_name('best.pt')} (lowest validation loss: "
        "predict with it)"
    )


@app.command()
def run(
    recipes: Recipes,
    sets: Sets = None,
    out: OutFolder = None,
    pretrained: Pretrained = None,
    minutes: Minutes = None,
) -> None:
    """Train, predict, segment and evaluate.

    A step is skipped if it is done and its inputs have not changed. Writes checkpoints/, config.yaml, affinities.zarr,
    segmentation.h5, scores.json, figure.png and index.html into DIR.
    """
    from neuropil.pipeline.running import run as run_all

    run_all(read_recipe(recipes, sets, minutes), out or out_folder(recipes), pretrained=pretrained)
