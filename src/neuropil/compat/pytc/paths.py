"""Where things lie: volumes named in the classic way, and checkpoints under their classic names."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Any

from neuropil.compat.pytc.draft import Draft
from neuropil.errors import NeuropilError

CHECKPOINT = "checkpoint_{:05d}.pth"
"""Name of the checkpoint of an iteration, in ``DATASET.OUTPUT_PATH``."""

_FOLDERS = ("", "image", "seg")
"""Where the SNEMI3D download has its files, below ``INPUT_PATH``."""


def volume_paths(draft: Draft, names: str, folder: Any, absolute: bool) -> list[str]:
    """The volumes of a key such as ``DATASET.IMAGE_NAME``: one name, several with ``@`` between, a list, or a ``.txt``
    with one name a line; each below ``folder`` unless names are absolute.

    A name with ``*`` is one stack of sections. A file that is not where it should be is looked for in ``image/`` and
    ``seg/`` of the folder, where the SNEMI3D download has them.
    """
    value = draft.settings[names]
    if value is None:
        return []
    given = [part for text in ([value] if isinstance(value, str) else value) for part in str(text).split("@")]
    folders = [part for text in ([folder] if isinstance(folder, str) else folder) for part in str(text).split("@")]
    if len(folders) not in (1, len(given)):
        raise draft.refuse(names, f"expected as many names as folders, got {len(given)} and {len(folders)}")
    folders = folders * len(given) if len(folders) == 1 else folders
    paths: list[str] = []
    for name, where in zip(given, folders, strict=True):
        base = Path() if absolute else Path(where)
        if name.endswith(".txt"):
            paths += [_found(draft, base, line.strip()) for line in _lines(draft, names, base / name) if line.strip()]
        else:
            paths.append(_found(draft, base, name.strip()))
    return paths


def _lines(draft: Draft, key: str, path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise draft.refuse(key, f"the list {path} cannot be read: {error}") from None


def _found(draft: Draft, folder: Path, name: str) -> str:
    """The path of a volume; where there is none, that of its namesake in another folder of the download."""
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
    """A checkpoint, or its sibling of the other ending (``.pth`` for ``.pth.tar`` and the reverse); and what to say.

    Raises:
        NeuropilError: neither is there; the error names the checkpoints that lie in the folder.

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
    raise NeuropilError(f"--checkpoint: no file {path}, nor {sibling.name} beside it{listed}")
