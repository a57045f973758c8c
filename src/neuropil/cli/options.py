"""Options that several verbs share, and functions that parse them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neuropil.errors import NeuropilError

if TYPE_CHECKING:
    from neuropil.config import Config, SegmentConfig
    from neuropil.geometry import Box, Triple, VoxelSize
    from neuropil.volumes import Tissue, Volume

Recipes = Annotated[list[str], typer.Argument(metavar="CONFIG", help="YAML recipes, merged in order: later ones win.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="section.key=value", help="Change one value; may be repeated.")
]
OutFolder = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="[default: outputs/ and the name of the recipe]")
]
Pretrained = Annotated[
    str | None,
    typer.Option("--pretrained", metavar="CKPT|NAME", help="Start from the weights of a checkpoint or a model."),
]
Minutes = Annotated[
    float | None,
    typer.Option("--minutes", min=0.01, metavar="M", help="How long to train, instead of the time in the recipe."),
]
IgnoreOption = Annotated[
    str | None, typer.Option("--ignore", metavar="ID,…", help="Label ids that mean 'not labelled': not scored.")
]
MaskOption = Annotated[
    str | None,
    typer.Option("--mask", metavar="VOLUME", help="1 = tissue, else background. Its voxels may be larger."),
]
SkipOption = Annotated[
    str | None,
    typer.Option("--skip-sections", metavar="auto|LIST", help="Leave out sections 3,17-19; auto: damaged ones."),
]
BoxOption = Annotated[
    str | None,
    typer.Option(
        "--box", metavar="Z0:Z1,Y0:Y1,X0:X1", help="Only this part, in voxels of the image; such as 60:70,:,:."
    ),
]
VoxelSizeOption = Annotated[
    str | None, typer.Option("--voxel-size", metavar="Z,Y,X", help="Voxel size in nm, instead of the stored one.")
]


ScoreOption = Annotated[
    str | None,
    typer.Option(metavar="SCORE", help="Of affinities between regions: mean, max, min, qNN. [default: mean]"),
]
Low = Annotated[float | None, typer.Option(metavar="L", help="Watershed: ignore edges up to this. [default: 0.0001]")]
High = Annotated[
    float | None, typer.Option(metavar="H", help="Watershed: edges from this on always unite. [default: 0.9999]")
]
OffsetsOption = Annotated[
    str | None, typer.Option("--offsets", metavar="Z,Y,X;...", help="Offset of each channel, instead of stored ones.")
]
Snippet = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="YAML with a section segment; options override it.")
]


TileOption = Annotated[
    str | None,
    typer.Option("--tile", metavar="Z,Y,X", help="Voxels predicted at once. [default: the cheapest that fit memory]"),
]
OverlapOption = Annotated[
    str | None,
    typer.Option("--overlap", metavar="Z,Y,X", help="Least overlap of tiles. [default: patch/2, patch/4, patch/4]"),
]
SurroundOption = Annotated[
    str | None,
    typer.Option("--surround", metavar="Z,Y,X", help="Voxels of the image read around a box. [default: patch/4]"),
]
ContextOption = Annotated[
    str | None,
    typer.Option("--context", metavar="Z,Y,X", help="Voxels read around each tile and dropped. [default: 0,0,0]"),
]
CompileOption = Annotated[
    bool | None, typer.Option("--compile", help="Try torch.compile; keep it if it is faster on a tile.")
]
DevicesOption = Annotated[int, typer.Option("--devices", metavar="N", help="GPUs that share the tiles.")]


BlockOption = Annotated[
    str | None,
    typer.Option("--block", metavar="Z,Y,X", help="Work in blocks of this size; the result is the same."),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", metavar="N", min=1, help="Run blocks on N new local processes (Dask).")
]
SchedulerOption = Annotated[
    str | None, typer.Option("--scheduler", metavar="tls://...", help="Run blocks on the workers of a Dask cluster.")
]
WorkOption = Annotated[
    Path | None,
    typer.Option(
        "--work",
        metavar="DIR",
        help="Folder for intermediate files, shared by all workers. [default: next to the output or affinities]",
    ),
]


def read_recipe(recipes: list[str], sets: list[str] | None, minutes: float | None = None) -> Config:
    """The recipe of a command line; ``section.key=value`` among the files counts as one more ``--set``.

    ``minutes``, if given, replaces the training time of the recipe.
    """
    from neuropil.config import load_config

    length = [] if minutes is None else [f"training.minutes={minutes}", "training.iterations=null"]
    files = [text for text in recipes if not is_set(text)]
    return load_config(files, [*(sets or []), *filter(is_set, recipes), *length])


def is_set(text: str) -> bool:
    """Whether an argument is ``section.key=value`` and not a file."""
    return "=" in text and not Path(text).exists()


def out_folder(recipes: list[str]) -> Path:
    """The default folder for results: outputs/NAME, with the name of the last recipe."""
    names = [Path(text).stem for text in recipes if not is_set(text)]
    return Path("outputs") / (names[-1] if names else "default")


def read_segment(snippet: Path | None, options: dict[str, Any], by_blocks: bool = False) -> SegmentConfig:
    """The ``segment`` section of a file, overridden by options that are not None.

    By blocks the mutex watershed always works on fragments.
    """
    from neuropil.choices import unused_settings
    from neuropil.config import Config, load_config

    base = load_config([snippet] if snippet else []).segment.model_dump(mode="json")
    given = {name: value for name, value in options.items() if value is not None}
    values = {**base, **given}
    if by_blocks and values["method"] == "mutex" and not values["fragments"]:
        typer.echo("by blocks the mutex watershed works on fragments, as with --fragments in memory")
        values["fragments"] = True
    for name in unused_settings(values, values["method"], values["min_size"] or 0, values["fragments"]):
        if name in given:
            option = f"--{name.replace('_', '-')}"
            raise NeuropilError(f"{option} does nothing with --method {values['method']}; leave it out")
    return Config.from_dict({"segment": values}, f"{snippet} and options" if snippet else "options").segment


def read_numbers(text: str | None, option: str, kind: type[int] | type[float]) -> list[float] | None:
    """Numbers as typed, ``1,2,3``."""
    if text is None:
        return None
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise NeuropilError(f"{option} {text}: expected numbers with commas between them") from None


def read_pairs(paths: list[str], first: str = "affinities", second: str = "labels") -> list[tuple[str, str]]:
    """Pairs of affinities (or images) and labels from a flat list.

    >>> read_pairs(["a.h5", "t.h5", "b.h5", "u.h5"])
    [('a.h5', 't.h5'), ('b.h5', 'u.h5')]
    """
    if len(paths) % 2:
        raise NeuropilError(f"expected pairs of {first} and {second}, got {paths[-1]} without {second}")
    return list(zip(paths[::2], paths[1::2], strict=True))


def open_affinities(path: str, offsets: str | None) -> Volume:
    """Open affinities with offsets from the option, the file, or by default, which is then printed."""
    from neuropil.geometry import parse_offsets
    from neuropil.segmentation import with_offsets
    from neuropil.volumes import open_volume

    stored = open_volume(path)
    volume = with_offsets(stored, None if offsets is None else parse_offsets(offsets))
    if offsets is None and stored.metadata.offsets is None:
        typer.echo(f"{path} stores no offsets: its channels are taken as {volume.metadata.offsets}")
    if stored.dtype == "uint8" and stored.metadata.encoding is None and _is_of_bits(stored):
        typer.echo(f"{path} holds 0 and 1 in its middle: as bytes 1 means 1/255; if it means certain, store floats")
    return volume


def _is_of_bits(stored: Volume) -> bool:
    """Whether the middle of a volume holds only 0 and 1; False if it cannot be read, which fails later."""
    from neuropil.geometry import Box

    whole = stored.box
    shape = [min(n, most) for n, most in zip(whole.shape, (4, 128, 128), strict=True)]
    start = [a + (n - m) // 2 for a, n, m in zip(whole.start, whole.shape, shape, strict=True)]
    with suppress(NeuropilError):
        return bool(stored.read(Box.at(start, shape)).max() == 1)
    return False


def read_box(text: str | None, whole: Box) -> Box | None:
    """Parse ``--box``; omitted ends are those of ``whole``."""
    from neuropil.geometry import Box

    return None if text is None else Box.parse(text, whole)


def asks_for_blocks(block: str | None, workers: int | None, scheduler: str | None, work: Path | None = None) -> bool:
    """Whether the options ask for work by blocks; refuses ``--work`` without them."""
    if block is None and workers is None and scheduler is None:
        if work is not None:
            raise NeuropilError("--work is for work by blocks; give --block, --workers or --scheduler as well")
        return False
    read_block(block)  # refuse a wrong block before workers are started
    return True


def read_block(text: str | None) -> Triple | None:
    """Parse ``--block``, ``z,y,x``."""
    if text is None:
        return None
    numbers = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    if len(numbers) != 3 or min(numbers) < 1 or max(numbers) > 10**6:
        raise NeuropilError(f"--block {text}: expected three numbers of voxels, Z,Y,X, for example 128,512,512")
    return (numbers[0], numbers[1], numbers[2])


def read_voxel_size(text: str | None) -> VoxelSize | None:
    """Parse ``--voxel-size``, ``z,y,x`` in nm."""
    if text is None:
        return None
    try:
        z, y, x = (float(part) for part in text.split(","))
    except ValueError:
        z = y = x = 0.0
    if min(z, y, x) <= 0:
        raise NeuropilError(f"--voxel-size {text}: expected three sizes in nm, Z,Y,X, for example 30,6,6")
    return (z, y, x)


def read_tissue(volume: Volume, mask: str | None, skip: str | None, area: Box | None = None) -> Tissue | None:
    """The tissue by ``--mask`` and ``--skip-sections``; prints what they exclude."""
    from neuropil.volumes.skipping import choose_tissue

    tissue, lines = choose_tissue(volume, mask, skip, area)
    for line in lines:
        typer.echo(line)
    return tissue


def read_ignore(text: str | None) -> tuple[int, ...]:
    """Parse the ids of ``--ignore``.

    >>> read_ignore("7,18446744073709551615")
    (7, 18446744073709551615)
    """
    if text is None:
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise NeuropilError(f"expected ids as --ignore 7,9, got {text!r}") from None


def read_range(text: str | None) -> tuple[float, float] | None:
    """Parse the two numbers of ``--scale-range``.

    >>> read_range("0,4095")
    (0.0, 4095.0)
    """
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise NeuropilError(f"expected two numbers as --scale-range 0,4095, got {text!r}") from None
    return (low, high)
