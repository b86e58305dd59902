"""Cells of an earlier `cellseg predict` are shown with the image."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cellseg.formats.geojson import write_geojson
from cellseg.formats.label_tiff import write_label_tiffs
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


@pytest.mark.parametrize("place", [".", "predictions"])
def test_image_when_predicted_as_label_tiffs_then_its_cells_are_there(
    draw: Callable[..., Path], tmp_path: Path, place: str
) -> None:
    cells = write(tmp_path / place / "a.geojson")
    (tmp_path / place / "a.geojson").unlink()
    write_label_tiffs(cells, tmp_path / place / "a.labels.tif")
    image = PageImage("g0", "a", draw(1, "a.png"), tmp_path / "c", is_given=True)
    log = image.open({}, CLASS_NAMES).log
    assert [cell.area for cell in log.cells.values()] == cells.areas.tolist()
    assert [cell.label for cell in log.cells.values()] == [0, 1]
    assert [cell.score for cell in log.cells.values()] == [1.0, 1.0]


def test_label_tiffs_when_there_are_outlines_too_then_those_are_taken_unless_damaged(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    path = draw(1, "a.png")
    write_label_tiffs(write(tmp_path / "a.geojson"), tmp_path / "a.labels.tif")
    with open_image(path) as source:
        found = find_earlier_cells(path, "a", source, CLASS_NAMES)
        (tmp_path / "a.geojson").write_text("{")
        other = find_earlier_cells(path, "a", source, CLASS_NAMES)
    assert found is not None
    assert other is not None
    assert found.scores == pytest.approx([0.9, 0.4])
    assert (other.rings, other.scores) == (found.rings, [1.0, 1.0])


@pytest.mark.parametrize(
    ("written", "model", "count"),
    [
        (("nucleus",), ("nucleus",), 1),
        ((), ("nucleus",), 1),  # the file of all classes only
        (("tumor",), ("nucleus",), None),
        ((), ("nucleus", "other"), None),
        (("nucleus",), ("other", "nucleus"), 1),
    ],
)
def test_label_tiffs_when_classes_differ_then_only_those_of_the_model_are_shown(
    draw: Callable[..., Path],
    tmp_path: Path,
    written: tuple[str, ...],
    model: tuple[str, ...],
    count: int | None,
) -> None:
    path = draw(1, "a [1].png")
    label_map = np.zeros((96, 96), int)
    label_map[5:20, 5:20] = 1
    cells = Cells.from_label_map(label_map, 0, ("nucleus",))
    write_label_tiffs(replace(cells, class_names=written), tmp_path / "a [1].labels.tif")
    with open_image(path) as source:
        found = find_earlier_cells(path, "a [1]", source, model)
    assert (None if found is None else len(found.rings)) == count
    if found is not None:
        assert found.labels == [model.index("nucleus")]


@pytest.mark.parametrize("content", [b"", b"II*\0no TIFF", None])
def test_label_tiff_when_damaged_or_of_another_size_then_the_image_opens_without_it(
    draw: Callable[..., Path], tmp_path: Path, content: bytes | None
) -> None:
    path = draw(1, "a.png")
    small = Cells.from_label_map(np.ones((48, 48), int), 0, ("nucleus",))
    write_label_tiffs(small, tmp_path / "a.labels.tif")
    if content is not None:
        (tmp_path / "a.labels.nucleus.tif").write_bytes(content)
    with open_image(path) as source:
        assert find_earlier_cells(path, "a", source, ("nucleus",)) is None
