"""What a person can do to cells, and values that no page sends."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellseg.web.cell_edits import MOST_POINTS, Canvas, EditError, make_step
from cellseg.web.edit_log import EditLog, PageCell
from cellseg.web.rings import decode_rings

CANVAS = Canvas(100, 80, 2)
SQUARE = [[10, 10], [30, 10], [30, 30], [10, 30]]
OTHER = [[34, 10], [50, 10], [50, 30], [34, 30]]


@pytest.fixture
def log(tmp_path: Path) -> EditLog:
    """Return a log with one cell of 20 x 20 pixels, of the first class."""
    log = EditLog.open(tmp_path / "edits.jsonl", (100, 80))
    do(log, "draw", points=SQUARE, label=0)
    return log


def do(log: EditLog, kind: str, **values: Any) -> list[PageCell]:
    return list(log.apply(make_step(log, CANVAS, {"do": kind, **values})).added)


def paint(cells: Any) -> np.ndarray:
    image = np.zeros((80, 100), int)
    for cell in cells:
        crop = decode_rings(cell.rings)
        rows, columns = crop.mask.shape
        image[crop.y0 : crop.y0 + rows, crop.x0 : crop.x0 + columns] += crop.mask
    return image


def test_draw_then_pixels_whose_centers_lie_inside_are_the_cell(log: EditLog) -> None:
    cell = log.cells[1]
    assert (cell.box, cell.area, cell.score, cell.label) == ((10, 10, 30, 30), 400, None, 0)
    (cut,) = do(log, "draw", points=[[-50, 60], [20, 60], [20, 500], [-50, 500]], label=1)
    assert cut.box == (0, 60, 20, 80)


def test_class_and_delete_then_the_outline_stays_or_goes(log: EditLog) -> None:
    (changed,) = do(log, "class", keys=[1], label=1)
    assert (changed.label, changed.rings, changed.score) == (1, SQUARE_RINGS, None)
    assert do(log, "delete", keys=[changed.key, changed.key]) == []
    assert log.cells == {}


SQUARE_RINGS = [[10, 10, 20, 20, -20]]


def test_redraw_then_class_stays(log: EditLog) -> None:
    do(log, "class", keys=[1], label=1)
    (cell,) = do(log, "redraw", keys=[2], points=OTHER)
    assert (cell.label, cell.area) == (1, 16 * 20)
    assert len(log.cells) == 1


def test_brush_then_pixels_under_it_are_added_or_taken_away(log: EditLog) -> None:
    (cell,) = do(log, "brush", keys=[1], points=[[30, 20], [40, 20]], radius=3)
    image = paint([cell])
    assert image[20, 42] == image[20, 25] == 1
    assert image[24, 36] == image[20, 44] == 0
    (smaller,) = do(log, "brush", keys=[2], points=[[35, 20]], radius=20, erase=True)
    assert 0 < smaller.area < 400
    assert do(log, "brush", keys=[3], points=[[20, 20]], radius=60, erase=True) == []
    assert log.cells == {}
    (fresh,) = do(log, "brush", points=[[50, 50]], radius=5, label=1)
    assert fresh.area == pytest.approx(math.pi * 25, rel=0.15)


def test_split_then_no_pixel_is_lost(log: EditLog) -> None:
    before = paint(log.cells.values())
    parts = do(log, "split", keys=[1], points=[[5, 20], [35, 22]])
    assert len(parts) == 2
    np.testing.assert_array_equal(paint(parts), before)
    with pytest.raises(EditError, match="does not cut"):
        do(log, "split", keys=[parts[0].key], points=[[60, 60], [70, 70]])


def test_merge_then_gaps_are_closed_and_far_cells_stay_apart(log: EditLog) -> None:
    do(log, "draw", points=OTHER, label=1)
    (cell,) = do(log, "merge", keys=[1, 2])
    assert cell.area > 400 + 320
    assert (cell.label, len(cell.rings)) == (0, 1)
    do(log, "draw", points=[[90, 70], [95, 70], [95, 75]], label=1)
    with pytest.raises(EditError, match="too far"):
        do(log, "merge", keys=[3, 4])
    with pytest.raises(EditError, match="two or more"):
        do(log, "merge", keys=[3, 3])


def test_review_then_regions_come_and_go(log: EditLog) -> None:
    do(log, "review", points=[[-5, 0], [50, 0], [50, 500]])
    assert log.regions == (((0.0, 0.0), (50.0, 0.0), (50.0, 80.0)),)
    do(log, "unreview", region=0)
    assert log.regions == ()
    log.undo()
    assert len(log.regions) == 1


@pytest.mark.parametrize(
    "action",
    [
        {},
        {"do": "eval"},
        {"do": ["delete"]},
        {"do": "delete"},
        {"do": "delete", "keys": [2]},
        {"do": "delete", "keys": ["1"]},
        {"do": "delete", "keys": [True]},
        {"do": "delete", "keys": {"a": 1}},
        {"do": "class", "keys": [1], "label": 2},
        {"do": "class", "keys": [1], "label": -1},
        {"do": "class", "keys": [1], "label": "0"},
        {"do": "class", "keys": [1], "label": True},
        {"do": "draw", "points": SQUARE},
        {"do": "draw", "points": SQUARE[:2], "label": 0},
        {"do": "draw", "points": "SQUARE", "label": 0},
        {"do": "draw", "points": [[0, 0], [1, "1"], [2, 2]], "label": 0},
        {"do": "draw", "points": [[0, 0], [1, math.inf], [2, 2]], "label": 0},
        {"do": "draw", "points": [[0, 0], [1, math.nan], [2, 2]], "label": 0},
        {"do": "draw", "points": [[0, 0], [1, 1e300], [2, 2]], "label": 0},
        {"do": "draw", "points": [[0, 0, 0], [1, 1, 1], [2, 2, 2]], "label": 0},
        {"do": "draw", "points": [[5, 5]] * (MOST_POINTS + 1), "label": 0},
        {"do": "draw", "points": [[200, 200], [210, 200], [210, 210]], "label": 0},
        {"do": "draw", "points": [[5, 5], [6, 6], [7, 7]], "label": 0},
        {"do": "redraw", "keys": [1, 1], "points": SQUARE},
        {"do": "brush", "keys": [1], "points": [[5, 5]], "radius": 0},
        {"do": "brush", "keys": [1], "points": [[5, 5]], "radius": 1e9},
        {"do": "brush", "keys": [1], "points": [[5, 5]], "radius": "5"},
        {"do": "brush", "keys": [1], "points": [[5, 5]], "radius": math.nan},
        {"do": "split", "keys": [1], "points": [[5, 5]]},
        {"do": "merge", "keys": []},
        {"do": "review", "points": [[5, 5], [5, 6], [5, 7]]},
        {"do": "unreview", "region": 0},
        {"do": "unreview", "region": "0"},
    ],
    ids=str,
)
def test_edit_that_no_page_makes_then_one_sentence_and_nothing_changes(
    log: EditLog, action: dict[str, Any]
) -> None:
    before = (dict(log.cells), log.revision, log.path.read_bytes())
    with pytest.raises(EditError):
        make_step(log, CANVAS, action)
    assert (dict(log.cells), log.revision, log.path.read_bytes()) == before


def test_edit_of_a_vast_image_then_memory_is_not_reserved_for_a_large_outline(
    tmp_path: Path,
) -> None:
    log = EditLog.open(tmp_path / "edits.jsonl", (200_000, 200_000))
    canvas = Canvas(200_000, 200_000, 1)
    corners = [[0, 0], [200_000, 0], [200_000, 200_000]]
    for action in (
        {"do": "draw", "points": corners, "label": 0},
        {"do": "brush", "points": corners, "radius": 2, "label": 0},
    ):
        with pytest.raises(EditError, match="too large"):
            make_step(log, canvas, action)
