"""The table of docs/formats.md says what the formats do."""

from pathlib import Path

import pytest

from neuropil.volumes.formats import FORMATS

DOCS = Path(__file__).parents[3] / "docs" / "formats.md"
ROWS = {
    cells[0]: cells
    for line in DOCS.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ")
    for cells in [[cell.strip() for cell in line.strip("|").split(" | ")]]
}


@pytest.mark.parametrize("form", FORMATS, ids=str)
def test_a_row_for_each_format(form):
    row = ROWS[form.name]
    assert row[1].split() == list(form.suffixes)
    told = [cell == "yes" for cell in (row[2], row[3], row[8], row[9].rstrip(" |"))]
    assert told == [form.create is not None, form.several, form.folder, bool(form.schemes)]


def test_no_other_rows():
    assert set(ROWS) - {"format"} == {form.name for form in FORMATS}
