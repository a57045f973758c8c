"""Resolve file names of the classic program: volumes, outputs and checkpoints."""

from __future__ import annotations

import glob
from pathlib import Path

from neuropil.compat.pytc.draft import Draft
from neuropil.config.section import expand_path
from neuropil.errors import NeuropilError

CHECKPOINT = "checkpoint_{:05d}.pth"
"""Name of the checkpoint of an iteration, in ``DATASET.OUTPUT_PATH``."""

_FOLDERS = ("", "image", "seg")
"""Folders of the SNEMI3D download, below ``INPUT_PATH``."""


def volume_paths(draft: Draft, names: str, folder: str | None) -> list[str]:
    """Paths of the volumes of a key such as ``DATASET.IMAGE_NAME``.

    The value is one name, several separated by ``@``, a list, or a ``.txt`` with one name per line, which is searched
    in the working folder, then next to the volumes. Names are relative to the path of the key ``folder``; without one
    they are whole paths. A name with ``*`` is one stack of sections. A missing file is searched in ``image/`` and
    ``seg/`` of the folder, as in the SNEMI3D download.

    Raises:
        NeuropilError: an empty name, a list that cannot be read, or another number of folders than of names.
    """
    folders = _parts(draft, folder) if folder else [""]
    given = _parts(draft, names)
    if not given:
        return []
    if not all(given):
        raise draft.refuse(names, f"expected names of volumes, got an empty one in {draft.settings[names]!r}")
    if len(folders) not in (1, len(given)):
        problem = f"expected one folder in {folder}, or one for each name, got {len(folders)} and {len(given)}"
        raise draft.refuse(folder or names, problem, names)
    folders = folders * len(given) if len(folders) == 1 else folders
    paths: list[str] = []
    for name, where in zip(given, folders, strict=True):
        if name.endswith(".txt"):
            # In the working folder, as in the classic package, or next to the volumes.
            lines = map(str.strip, _lines(draft, names, Path(name) if Path(name).is_file() else Path(where) / name))
            paths += [_found(draft, Path(where), expanded(draft, names, line)) for line in lines if line]
        else:
            paths.append(_found(draft, Path(where), name))
    return paths


def _parts(draft: Draft, key: str) -> list[str]:
    """The parts of a value, a list or separated by ``@``."""
    value = draft.settings[key]
    parts = [part for text in ([value] if isinstance(value, str) else value or []) for part in str(text).split("@")]
    return [expanded(draft, key, part.strip()) for part in parts]


def expanded(draft: Draft, key: str, path: str) -> str:
    """Expand ``~`` and ``${NAME}`` in a path.

    Raises:
        NeuropilError: a variable that is not set.
    """
    try:
        return expand_path(path)
    except ValueError as error:
        raise draft.refuse(key, f"{error}; got {path!r}") from None


def _lines(draft: Draft, key: str, path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise draft.refuse(key, f"the list {path} cannot be read: {error}") from None


def _found(draft: Draft, folder: Path, name: str) -> str:
    """The path of a volume; if it does not exist, that of the same name in another folder of the download."""
    if "://" in name:
        return name
    if not (folder / name).exists() and not glob.has_magic(name):
        for other in _FOLDERS:
            candidate = folder / other / Path(name).name
            if candidate.is_file():
                draft.notes.append(f"no {folder / name}; taking {candidate}")
                return str(candidate)
    return str(folder / name)


def find_checkpoint(path: Path | str) -> tuple[Path, str | None]:
    """A checkpoint, or the file with the other ending (``.pth`` for ``.pth.tar`` and the reverse); and a line to print.

    Raises:
        NeuropilError: neither exists; the error names the checkpoints in the folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     (Path(folder) / "checkpoint_00100.pth").touch()
    ...     found, said = find_checkpoint(f"{folder}/checkpoint_00100.pth.tar")
    ...     found.name, said.split("/")[-1]
    ('checkpoint_00100.pth', 'checkpoint_00100.pth')
    """
    path = Path(path)
    if path.is_file():
        return path, None
    text = str(path)
    sibling = Path(text.removesuffix(".tar") if text.endswith(".pth.tar") else f"{text}.tar")
    if text.endswith((".pth", ".pth.tar")) and sibling.is_file():
        return sibling, f"no {path}; taking {sibling}"
    there = sorted(file.name for file in path.parent.glob("checkpoint_*.pth*")) if path.parent.is_dir() else []
    listed = f"; there are {', '.join(there[-5:])}" if there else ""
    raise NeuropilError(f"--checkpoint: no file {path}, nor {sibling.name} next to it{listed}")
