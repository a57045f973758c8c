"""Write the resolved config next to an output, as a record of how it was made."""

from __future__ import annotations

from pathlib import Path

from neuropil.config import Config, config_to_yaml
from neuropil.volumes.atomic import expect_output, write_text
from neuropil.volumes.location import output_config
from neuropil.volumes.marks import FIRST_LINE


def expect_output_config(output: Path | str) -> None:
    """Refuse before any work what :func:`write_output_config` would refuse.

    Raises:
        NeuropilError: the folder cannot be written, or a file of that name is not neuropil's.
    """
    path = output_config(output)
    if path is not None:
        expect_output(path)


def write_output_config(config: Config, output: Path | str) -> Path | None:
    """Write the config as ``OUTPUT.yaml``: ``a.zarr.yaml``, or ``a.h5.main.yaml`` where an array is named.

    Returns:
        The path; None for an output in a bucket, which carries its settings in its attributes alone.

    Raises:
        NeuropilError: the folder cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_output_config(Config(), f"{folder}/affinities.zarr").name
    'affinities.zarr.yaml'
    """
    path = output_config(output)
    if path is None:
        return None
    write_text(path, FIRST_LINE + config_to_yaml(config))
    return path
