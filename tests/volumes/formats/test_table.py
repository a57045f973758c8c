"""The tables of docs/formats.md say what the formats do: the first is measured here, on files of other libraries.

``python -m pytest tests/volumes/formats/test_table.py`` compares it; with NEUROPIL_WRITE_TABLE=1 it is written.
"""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from format_samples import ARRAY, ORIGIN, SIZE, WRITERS
from neuropil.blockwise import evaluate_blocks
from neuropil.errors import NeuropilError
from neuropil.geometry import Box
from neuropil.volumes import Metadata, open_volume, write_volume
from neuropil.volumes.formats import FORMATS

DOCS = Path(__file__).parents[3] / "docs" / "formats.md"
HEAD = "| format | read | written | voxel size | origin | axes | compressions read | lazy | by blocks | buckets |"
FIRST, LAST = "<!-- measured -->", "<!-- measured, end -->"


def table(first):
    """The rows of the table whose first row begins so, by format."""
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith(first))
    rows = {}
    for line in lines[at + 2 :]:
        if not line.startswith("| "):
            break
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        rows[cells[0].strip("| ")] = [cell.strip("| ") for cell in cells]
    return rows


def opened(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return open_volume(path)


def read_by(action):
    """Bytes that this process has read while something was done."""

    def total():
        text = Path("/proc/self/io").read_text()
        return int(text.split("rchar: ")[1].split()[0])

    before = total()
    action()
    return total() - before


def laziness(form, folder):
    """Whether opening a file and reading a small box reads a small part of it; mapped files are not read at all."""
    writer, packings = WRITERS[form.name]
    path = writer(folder, packings[-1] if form.name == "nifti" else packings[0])

    def small_box():
        with opened(path) as volume:
            volume.read(Box((0, 0, 0), (1, 8, 8)).shift(volume.metadata.start))

    small_box()  # what is imported is read, too
    return "yes" if read_by(small_box) < 0.5 * ARRAY.size else "no"


def measured(form, folder):
    """A row of the table."""
    writer, packings = WRITERS[form.name]
    packed = []
    for number, packing in enumerate(packings):
        place = folder / str(number)
        place.mkdir()
        volume = opened(writer(place, packing))
        np.testing.assert_array_equal(volume.read(), ARRAY)
        packed.append(packing)
        if number == 0:
            known = volume.metadata
    size = known.voxel_size is not None and np.allclose(known.voxel_size, SIZE, rtol=1e-5)
    assert size or known.voxel_size is None
    assert known.origin in (ORIGIN, None)
    (folder / "lazy").mkdir()
    words = [
        form.name, "yes", "yes" if written(form, folder) else "no", "yes" if size else "no",
        "yes" if known.origin else "no", "named" if form.name in NAMED else "fixed", ", ".join(packed),
        laziness(form, folder / "lazy"), blocks(form, folder), "yes" if form.schemes else "no",
    ]  # fmt: skip
    return f"| {' | '.join(words)} |"


NAMED = ("hdf5", "zarr", "n5", "mrc")
"""Formats whose samples are stored with turned axes that the file names."""

_OUT = {"sections": "out/*.png", "precomputed": "out.precomputed"}


def written(form, folder):
    """Whether we write it, and read back what we wrote."""
    path = f"{folder}/{_OUT.get(form.name, f'out{form.suffixes[0]}')}"
    known = Metadata(SIZE) if form.name not in ("sections", "npy") else None
    if form.create is None:
        with pytest.raises(NeuropilError, match="only read"):
            write_volume(path, ARRAY, known)
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_volume(path, ARRAY, known)
    np.testing.assert_array_equal(opened(path).read(), ARRAY)
    return True


def blocks(form, folder):
    """Whether workers read it block by block, and whether many may write it at once."""
    path = opened(WRITERS[form.name][0](folder)).path
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = evaluate_blocks(opened(path), opened(path), block=(20, 40, 40), work=folder / "work")
    assert scores.adapted_rand_error == 0
    return "read, written by many" if form.folder else "read"


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="tells by what the system counts as read")
@pytest.mark.parametrize("form", FORMATS, ids=str)
def test_the_measured_table(form, tmp_path):
    row = measured(form, tmp_path)
    if os.environ.get("NEUROPIL_WRITE_TABLE"):
        before, _, rest = DOCS.read_text(encoding="utf-8").partition(f"{FIRST}\n")
        inside, _, after = rest.partition(LAST)
        kept = [line for line in inside.splitlines() if line.startswith("| ") and line.split()[1] != form.name][1:]
        order = {str(one): number for number, one in enumerate(FORMATS)}
        rows = sorted([*kept, row], key=lambda line: order[line.split()[1]])
        text = "\n".join([HEAD, "|" + "---|" * (HEAD.count("|") - 1), *rows])
        DOCS.write_text(f"{before}{FIRST}\n{text}\n{LAST}{after}", encoding="utf-8")
    assert row in DOCS.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("form", FORMATS, ids=str)
def test_a_row_for_each_format(form):
    row = table("| format | endings")[form.name]
    assert row[1].split() == list(form.suffixes)
    told = [cell == "yes" for cell in (row[2],)]
    assert told == [form.several]


def test_no_other_rows():
    names = {form.name for form in FORMATS}
    assert set(table("| format | endings")) == names
    assert set(table("| format | read")) == names
