"""Every format writes what it says it writes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cellseg.formats.outputs import FORMATS, check_formats, output_files, write_outputs
from cellseg.images import ArraySource
from cellseg.structures.cells import Cells

NAMES = ("a", "b/c")


def draw_cells(number: int) -> Cells:
    """Draw squares of two classes."""
    label_map = np.zeros((40, 60), np.int32)
    for place in range(number):
        label_map[5 : 5 + 8, 10 * place : 10 * place + 7] = place + 1
    cells = Cells.from_label_map(label_map, 0, NAMES)
    return replace(cells, labels=np.arange(number) % 2)


@pytest.mark.parametrize("number", [0, 5])
@pytest.mark.parametrize("name", list(FORMATS))
def test_format_when_written_then_exactly_the_listed_files_are_there(
    name: str, number: int, tmp_path: Path
) -> None:
    if name == "parquet":
        pytest.importorskip("pyarrow")
    image = ArraySource(np.full((40, 60, 3), 200, np.uint8))
    notes = write_outputs(draw_cells(number), image, tmp_path / "x.1", [name])
    listed = output_files(tmp_path / "x.1", [name], NAMES)
    assert sorted(tmp_path.iterdir()) == sorted(listed)
    assert all(path.name.startswith("x.1.") for path in listed)
    assert notes == ({"lost_pixels": 0} if name == "labels" else {})


def test_formats_when_all_are_listed_then_no_two_share_a_file() -> None:
    files = output_files(Path("x"), list(FORMATS), NAMES)
    assert len(set(files)) == len(files) == len(FORMATS) + len(NAMES)


def test_formats_always_say_what_they_are_for() -> None:
    assert all(form.purpose and form.suffix.startswith(".") for form in FORMATS.values())
    check_formats([])
