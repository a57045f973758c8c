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

# --- arguments that several verbs share -------------------------------------------------------------------------------

Recipes = Annotated[
    list[str],
    typer.Argument(metavar="CONFIG...", help="YAML recipes, merged in order: later ones win.", show_default=False),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="section.key=value", help="Change one value; may be repeated.", show_default=False),
]


class _Verbs(TyperGroup):
    """Turns what a user may have done wrong into one message and the right exit code."""

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


@config_verbs.command("show")
def config_show(
    recipes: Annotated[
        list[str] | None, typer.Argument(metavar="[CONFIG...]", help="None: the defaults.", show_default=False)
    ] = None,
    sets: Sets = None,
) -> None:
    """Print the resolved recipe, every field with what it means."""
    from neuropil.config import config_to_yaml

    typer.echo(config_to_yaml(_load(recipes or [], sets)), nl=False)


def _load(recipes: list[str], sets: list[str] | None) -> Config:
    """The recipe of a command line; ``section.key=value`` among the files counts as one more ``--set``."""
    from neuropil.config import load_config

    more = [text for text in recipes if "=" in text and not Path(text).exists()]
    return load_config([text for text in recipes if text not in more], [*(sets or []), *more])


def main() -> None:
    """The entry point of the ``neuropil`` command."""
    app()


if __name__ == "__main__":
    main()
