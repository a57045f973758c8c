"""Commands of neuropil in the process of a test: a process of its own would take two seconds to start."""

import warnings

from typer.testing import CliRunner

from neuropil.cli import app


def neuropil(*words: object) -> tuple[int, str, str]:
    """The exit code of a command, and what it prints to stdout and stderr."""
    with warnings.catch_warnings():
        done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def printed(*words: object) -> str:
    """What a command prints that must succeed."""
    code, out, err = neuropil(*words)
    assert code == 0, err
    return out + err
