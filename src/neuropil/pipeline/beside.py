"""The resolved config written beside every output, so that what made a file can be read, and made again."""

from __future__ import annotations

from pathlib import Path

from neuropil.config import Config, config_to_yaml
from neuropil.volumes.atomic import replacing
from neuropil.volumes.location import config_beside
from neuropil.volumes.volume import writable


def write_config_beside(config: Config, output: Path | str) -> Path | None:
    """Write the config as ``OUTPUT.yaml``: ``a.zarr.yaml``, or ``a.h5.main.yaml`` where an array is named.

    Returns:
        The path; None for an output in a bucket, which carries its settings in its attributes alone.

    Raises:
        NeuropilError: the folder cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_config_beside(Config(), f"{folder}/affinities.zarr").name
    'affinities.zarr.yaml'
    """
    path = config_beside(output)
    if path is None:
        return None
    with replacing(path) as temporary, writable(str(path)):
        temporary.write_text(config_to_yaml(config), encoding="utf-8")
    return path
