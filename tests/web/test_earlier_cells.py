"""Cells of an earlier `cellseg predict` are shown with the image."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cellseg.formats.geojson import write_geojson
from cellseg.images import ArraySource, open_image
from cellseg.structures.cells import Cells
from cellseg.web.earlier_cells import find_earlier_cells
from cellseg.web.page_images import PageImage

from .stand_in import CLASS_NAMES


def write(path: Path) -> Cells:
    label_map = np.zeros((96, 96), int)
    label_map[5:20, 5:20] = 1
    label_map[40:50, 30:33] = 2
    scores = np.array([0.9, 0.4], np.float32)
    cells = Cells.from_label_map(label_map, [0, 1], CLASS_NAMES, scores=scores)
    path.parent.mkdir(exist_ok=True)
    write_geojson(cells, path)
    return cells


@pytest.mark.parametrize("place", [".", "predictions"])
def test_image_when_predicted_before_then_its_cells_are_there(
    draw: Callable[..., Path], tmp_path: Path, place: str
) -> None:
    image = PageImage("g0", "a", draw(1, "a.png"), tmp_path / "c", is_given=True)
    cells = write(tmp_path / place / "a.geojson")
    log = image.open({}, CLASS_NAMES).log
    assert [cell.area for cell in log.cells.values()] == cells.areas.tolist()
    assert [cell.label for cell in log.cells.values()] == [0, 1]
    assert [cell.score for cell in log.cells.values()] == pytest.approx([0.9, 0.4])
    assert log.undo() is not None
    image.close()
    again = PageImage("g0", "a", tmp_path / "a.png", tmp_path / "c", is_given=True)
    assert again.open({}, CLASS_NAMES).log.revision == log.revision  # not taken a second time


@pytest.mark.parametrize(
    "content",
    ["", "{", "[1]", json.dumps([{"type": "Feature"}])]
    + [
        json.dumps([{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": deep}}])
        for deep in (
            None,
            5,
            [5],
            [[5]],
            [[[5]]],
            [[["a", "b"]] * 4],
            {"a": 1},
            [[[10**400] * 2] * 4],
        )
    ],
)
def test_file_when_damaged_then_the_image_opens_without_it(
    draw: Callable[..., Path], tmp_path: Path, content: str
) -> None:
    path = draw(1, "a.png")
    (tmp_path / "a.geojson").write_text(content)
    with open_image(path) as source:
        found = find_earlier_cells(path, "a", source, CLASS_NAMES)
    assert found is None or found.rings == []


@pytest.mark.parametrize("score", [10**400, -1, 7, True, "0.5"])
def test_cell_when_its_score_is_none_then_the_cell_has_none(
    draw: Callable[..., Path], tmp_path: Path, score: object
) -> None:
    path = draw(1, "a.png")
    write(tmp_path / "a.geojson")
    found = json.loads((tmp_path / "a.geojson").read_text())
    for feature in found["features"] if isinstance(found, dict) else found:
        feature["properties"]["measurements"] = {"score": score}
    (tmp_path / "a.geojson").write_text(json.dumps(found))
    with open_image(path) as source:
        earlier = find_earlier_cells(path, "a", source, CLASS_NAMES)
    assert earlier is not None
    assert earlier.scores == [None, None]


def test_file_when_there_is_none_then_none(tmp_path: Path) -> None:
    source = ArraySource(np.zeros((9, 9, 3), np.uint8))
    assert find_earlier_cells(tmp_path / "a.png", "a", source, CLASS_NAMES) is None
