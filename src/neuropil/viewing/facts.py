"""Collect how a segmentation was made: stored metadata, configs next to it, and package versions."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from neuropil import __version__
from neuropil.errors import NeuropilError
from neuropil.volumes import Volume
from neuropil.volumes.location import output_config

_PACKAGES = ("numpy", "torch", "tensorstore", "h5py")


def facts_of(segmentation: Volume, affinities: Volume | None) -> dict[str, Any]:
    """The last part of a report: attributes and configs of a segmentation and its affinities, and versions."""
    volumes = [segmentation, *([affinities] if affinities else [])]
    paths = dict.fromkeys(path for volume in volumes for path in configs_of(volume))
    return {
        "segmentation": list(_stored(segmentation).items()),
        "affinities": list(_stored(affinities).items()) if affinities else [],
        "configs": [(str(path), path.read_text(encoding="utf-8")) for path in paths],
        "versions": versions(),
    }


def configs_of(volume: Volume) -> list[Path]:
    """Config files written with a volume: next to it, and ``config.yaml`` of the run in the same folder."""
    try:
        # An output named without an array has the array "main", which the volume's path then includes.
        beside = [output_config(path) for path in (volume.path, volume.path.removesuffix("/main"))]
    except NeuropilError:  # an array in memory
        return []
    found = [path for path in beside if path is not None]
    return [path for path in (*found, *(path.parent / "config.yaml" for path in found[:1])) if path.is_file()]


def versions() -> str:
    """Versions of neuropil, of the packages that results depend on, and of Python.

    >>> versions().split(",")[0].split()[0]
    'neuropil'
    """
    names = [f"neuropil {__version__}"]
    for name in _PACKAGES:
        try:
            names.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join([*names, f"Python {platform.python_version()}"])


def _stored(volume: Volume) -> dict[str, str]:
    """The attributes of a volume as text."""
    facts = {"file": volume.path, **{key: _words(value) for key, value in volume.metadata.extra.items()}}
    if volume.metadata.voxel_size:
        facts["voxel size"] = " × ".join(f"{n:g}" for n in volume.metadata.voxel_size) + " nm (z y x)"
    return facts


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_words(part)}" for key, part in value.items())
    return value if isinstance(value, str) else json.dumps(value)
