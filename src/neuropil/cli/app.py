"""The command-line program: the order of its verbs, its errors and exit codes.

Exit codes: 0 done, 2 wrong input (one message on stderr), 1 anything else, 128 + n stopped by signal n
(130: Ctrl-C).
"""

from __future__ import annotations

import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from neuropil.errors import NeuropilError, Note, Unfinished, printable

ORDER = [
    *("demo", "fetch", "config", "train", "predict", "segment", "tune", "evaluate", "run"),
    *("rank", "proofread", "apply", "edits", "export", "objects", "view", "info", "models", "check", "convert"),
]
"""Verbs as help lists them: in the order in which they are used."""

_NO_MEMORY = re.compile("(?i)(cannot|can't|failed to) (allocate|map|start new thread)|not enough memory|out of memory")
"""Messages of libraries that run out of memory without a MemoryError."""


def _allow_gaps(given: bool) -> None:
    if given:
        from neuropil.volumes.allowances import allow_gaps

        allow_gaps()


def _allow_outside(given: bool) -> None:
    if given:
        from neuropil.volumes.allowances import allow_outside

        allow_outside()


def _force(given: bool) -> None:
    if given:
        from neuropil.inputs import replace_anything

        replace_anything()


def _allowances(
    gaps: Annotated[
        bool,
        typer.Option(
            "--allow-gaps", callback=_allow_gaps, help="Allow missing sections, chunks, and parts of virtual datasets."
        ),
    ] = False,
    outside: Annotated[
        bool,
        typer.Option(
            "--allow-outside", callback=_allow_outside, help="Follow links out of the folder of an opened file."
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", callback=_force, help="Replace files that neuropil did not write.")
    ] = False,
) -> None:
    """Options that many verbs share; each takes effect in its callback."""


_WITHOUT_VOLUMES = ("fetch", "models", "edits", "config", "show")
_WITHOUT_OUTPUTS = ("fetch", "models", "edits", "config", "view", "info", "show")


class Stopped(BaseException):
    """Raised by a signal that ends the program, so that unfinished files are removed as after an error."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a verb as Ctrl-C does; a signal that is ignored already (nohup) stays ignored."""

    def stop(number: int, _: object) -> None:
        raise Stopped(number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Sharing(TyperGroup):
    """Adds to each verb the options that many verbs share."""

    def get_command(self, ctx: Any, name: str) -> Any:
        command = super().get_command(ctx, name)
        if command is None:
            return None
        wanted = [] if name in _WITHOUT_VOLUMES else ["gaps", "outside"]
        wanted += [] if name in _WITHOUT_OUTPUTS or _only_checks(command) else ["force"]
        known = {option.name for option in command.params}
        shared = typer.Typer()
        shared.command()(_allowances)
        for option in typer.main.get_command(shared).params:
            if option.name in wanted and option.name not in known:
                option.expose_value = False
                command.params.append(option)
        return command


def _only_checks(command: Any) -> bool:
    """Whether a command is ``config check``, which writes nothing, unlike the verb ``check``."""
    return command.name == "check" and not any(option.name == "report" for option in command.params)


class _Verbs(_Sharing):
    """Turns errors that a user can correct into one message and the right exit code."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)

    def invoke(self, ctx: Any) -> Any:
        from neuropil.inputs import guarding_inputs

        warnings.showwarning = _warn
        try:
            with guarding_inputs(), stopped_by_signals():
                return super().invoke(ctx)
        except NeuropilError as error:
            _fail(str(error))
        except Unfinished as error:
            print(f"neuropil: {error}", file=sys.stderr)
            sys.exit(1)
        except (BrokenPipeError, ConnectionError):
            raise
        except OSError as error:  # a missing file, a full disk, a folder that may not be written
            _fail(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
        except (MemoryError, RuntimeError, ImportError) as error:
            if not isinstance(error, MemoryError) and not _NO_MEMORY.search(str(error)):
                raise
            _fail(f"not enough memory: {(str(error).splitlines() or ['nothing more is known'])[0][:300]}")
        except Stopped as stop:
            print(f"stopped by {signal.Signals(stop.number).name}", file=sys.stderr)
            sys.exit(128 + stop.number)
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            sys.exit(130)


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    message = printable(str(message))
    if category is Note:
        print(f"neuropil: {message}", file=sys.stderr)
    elif category is UserWarning:  # ours; warnings for programmers have other categories
        print(f"neuropil: warning: {message}", file=sys.stderr)


def _fail(message: str) -> None:
    print(f"neuropil: {printable(message)}", file=sys.stderr)
    sys.exit(2)


_SETTINGS: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
app = typer.Typer(cls=_Verbs, pretty_exceptions_enable=False, rich_markup_mode=None, **_SETTINGS)
config_verbs = typer.Typer(cls=_Sharing, rich_markup_mode=None, **_SETTINGS)
app.add_typer(config_verbs, name="config", help="Make, show and check recipes.")


def _version(wanted: bool) -> None:
    if wanted:
        from neuropil import __version__

        typer.echo(f"neuropil {__version__}")
        raise typer.Exit


@app.callback()
def _about(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Segment neurons in electron-microscopy images: training, prediction, segmentation, scores, proofreading."""
