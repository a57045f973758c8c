"""What a user types: one thin function per verb. Each imports the room it needs when it runs, so that help is instant.

Exit codes: 0 done, 2 wrong input (one message on stderr), 1 anything else, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from neuropil.errors import NeuropilError

if TYPE_CHECKING:
    from neuropil.config import Config
    from neuropil.geometry import Box, VoxelSize

# --- arguments that several verbs share -------------------------------------------------------------------------------

Recipes = Annotated[list[str], typer.Argument(metavar="CONFIG", help="YAML recipes, merged in order: later ones win.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="section.key=value", help="Change one value; may be repeated.")
]
BoxOption = Annotated[
    str | None,
    typer.Option(
        "--box", metavar="Z0:Z1,Y0:Y1,X0:X1", help="Only this part, in voxels of the image; 60:70,:,: is fine."
    ),
]
VoxelSizeOption = Annotated[
    str | None, typer.Option("--voxel-size", metavar="Z,Y,X", help="nm, where the files do not say it.")
]


ORDER = ["demo", "fetch", "config", "train", "predict", "segment", "tune", "evaluate", "run", "view", "info", "convert"]
"""Verbs as help lists them: in the order in which they are used."""


class _Verbs(TyperGroup):
    """Turns what a user may have done wrong into one message and the right exit code."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except NeuropilError as error:
            _fail(str(error))
        except (BrokenPipeError, ConnectionError):
            raise
        except OSError as error:  # a missing file, a full disk, a folder that may not be written
            _fail(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            sys.exit(130)


def _fail(message: str) -> None:
    print(f"neuropil: {message}", file=sys.stderr)
    sys.exit(2)


_SETTINGS: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
app = typer.Typer(cls=_Verbs, pretty_exceptions_enable=False, rich_markup_mode=None, **_SETTINGS)
config_verbs = typer.Typer(rich_markup_mode=None, **_SETTINGS)
app.add_typer(config_verbs, name="config", help="Make, show and check recipes.")


@app.callback()
def _about() -> None:
    """From an electron-microscopy image to a map in which every neuron has its own id."""


@app.command()
def fetch(
    dataset: Annotated[str, typer.Argument(metavar="snemi3d", help="The data set.")],
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Where to put it; else the cache.")] = None,
) -> None:
    """Download a public data set, checksum checked."""
    from neuropil.fetch import fetch as run

    typer.echo(f"{dataset} lies in {run(dataset, folder)}")


@config_verbs.command("new")
def config_new(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The image.")],
    labels: Annotated[str, typer.Argument(metavar="LABELS", help="Its truth.")],
    out: Annotated[Path | None, typer.Option("-o", metavar="FILE", help="Where to write; else it is printed.")] = None,
    box: BoxOption = None,
    voxel_size: VoxelSizeOption = None,
    minutes: Annotated[float, typer.Option(min=0.01, help="How long to train.")] = 60.0,
) -> None:
    """Write a recipe for your own data.

    Network, patch, offsets and the split into training, validation and test follow from shape and voxel size.
    """
    from neuropil.config import config_to_yaml
    from neuropil.recipe import new_recipe

    recipe = new_recipe(image, labels, box=box, voxel_size=_voxel_size(voxel_size), minutes=minutes)
    text = "".join(f"# {reason}\n" for reason in recipe.reasons) + "\n" + config_to_yaml(recipe.config)
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
        typer.echo("\n".join(recipe.reasons) + f"\nwrote {out}; now: neuropil run {out}")


@config_verbs.command("show")
def config_show(
    recipes: Annotated[list[str] | None, typer.Argument(metavar="CONFIG", help="None: the defaults.")] = None,
    sets: Sets = None,
) -> None:
    """Print the resolved recipe with comments."""
    from neuropil.config import config_to_yaml

    typer.echo(config_to_yaml(_load(recipes or [], sets)), nl=False)


@config_verbs.command("check")
def config_check(recipes: Recipes, sets: Sets = None) -> None:
    """Check a recipe and the volumes it names."""
    from neuropil.pipeline import check_volumes

    typer.echo("\n".join(check_volumes(_load(recipes, sets))))


@app.command()
def train(
    recipes: Recipes,
    sets: Sets = None,
    resume: Annotated[Path | None, typer.Option(metavar="CKPT", help="Go on with this checkpoint, exactly.")] = None,
    pretrained: Annotated[str | None, typer.Option(metavar="CKPT", help="Start from the weights of this one.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Default: outputs/ and the name of the recipe.")
    ] = None,
) -> None:
    """Train a network.

    Leaves checkpoints/last.pt, checkpoints/best.pt, config.yaml and tensorboard/ in DIR.
    """
    from neuropil.training import train as run

    config = _load(recipes, sets)
    typer.echo(f"wrote {run(config, out or _folder(recipes), resume=resume, pretrained=pretrained)}")


@app.command()
def info(path: Annotated[str, typer.Argument(metavar="PATH", help="A volume or a checkpoint.")]) -> None:
    """Say what a volume or a checkpoint holds."""
    from neuropil.describe import describe

    typer.echo("\n".join(describe(path)))


@app.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="IN", help="A volume.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="Its copy; the ending decides the format.")],
    box: BoxOption = None,
    voxel_size: VoxelSizeOption = None,
) -> None:
    """Copy a volume into another format.

    Voxel size, origin, offsets and encoding go with it where the format can hold them.
    """
    from neuropil.volumes import open_volume
    from neuropil.volumes.convert import convert_volume

    volume = open_volume(source)
    convert_volume(volume, target, box=_box(box, volume.box), voxel_size=_voxel_size(voxel_size))
    typer.echo(f"wrote {target}")


# --- reading what was typed -------------------------------------------------------------------------------------------


def _load(recipes: list[str], sets: list[str] | None) -> Config:
    """The recipe of a command line; ``section.key=value`` among the files counts as one more ``--set``."""
    from neuropil.config import load_config

    return load_config([text for text in recipes if not _is_set(text)], [*(sets or []), *filter(_is_set, recipes)])


def _is_set(text: str) -> bool:
    return "=" in text and not Path(text).exists()


def _folder(recipes: list[str]) -> Path:
    """Where results go when nothing is said: outputs/NAME, after the last recipe."""
    names = [Path(text).stem for text in recipes if not _is_set(text)]
    return Path("outputs") / (names[-1] if names else "default")


def _box(text: str | None, whole: Box) -> Box | None:
    from neuropil.geometry import Box

    return None if text is None else Box.parse(text, whole)


def _voxel_size(text: str | None) -> VoxelSize | None:
    if text is None:
        return None
    try:
        z, y, x = (float(part) for part in text.split(","))
    except ValueError:
        z = y = x = 0.0
    if min(z, y, x) <= 0:
        raise NeuropilError(f"--voxel-size {text}: expected three sizes in nm, Z,Y,X, for example 30,6,6")
    return (z, y, x)


def main() -> None:
    """The entry point of the ``neuropil`` command."""
    app()


if __name__ == "__main__":
    main()
