"""Result rows and their files."""

import json

import numpy as np

from cellseg.scoring.results import (
    ImageResult,
    boxes_to_xywh,
    order_results,
    result_rows,
    write_result_files,
)
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_crop


def make_result(img_id: int, num_cells: int, with_masks: bool = True) -> ImageResult:
    boxes = np.array([[i, i, i + 2.5, i + 4.0] for i in range(num_cells)]).reshape(-1, 4)
    rles = [encode_crop(np.ones((2, 2), dtype=bool), i, i, 32, 32) for i in range(num_cells)]
    predictions = Cells(
        boxes,
        np.linspace(0.1, 0.9, num_cells),
        np.arange(num_cells) % 2,
        rles if with_masks else None,
        32,
        32,
    )
    return ImageResult(img_id, 32, 32, predictions)


def test_boxes_to_xywh_when_empty_then_keeps_four_columns() -> None:
    assert boxes_to_xywh(np.zeros((0, 4))).shape == (0, 4)
    assert boxes_to_xywh(np.array([[1, 2, 4, 8]])).tolist() == [[1, 2, 3, 6]]


def test_order_results_when_images_repeat_then_keeps_the_first_of_each_by_id() -> None:
    results = [make_result(5, 1), make_result(2, 1), make_result(5, 3)]
    ordered = order_results(results)
    assert [result.img_id for result in ordered] == [2, 5]
    assert ordered[1] is results[0]


def test_result_rows_when_cells_are_given_then_categories_count_from_one() -> None:
    rows = result_rows(9, make_result(9, 3).predictions)
    assert [row["category_id"] for row in rows] == [1, 2, 1]
    assert rows[1]["bbox"] == [1.0, 1.0, 2.5, 4.0]
    assert all(isinstance(row["segmentation"]["counts"], str) for row in rows)
    assert result_rows(9, make_result(9, 0).predictions) == []


def test_write_result_files_when_images_are_empty_then_writes_empty_lists(tmp_path) -> None:
    paths = write_result_files([make_result(1, 0)], tmp_path / "r.v2")
    assert {path.name for path in paths.values()} == {"r.v2.bbox.json", "r.v2.segm.json"}
    assert [json.loads(path.read_text()) for path in paths.values()] == [[], []]


def test_write_result_files_when_there_are_no_masks_then_writes_boxes_only(tmp_path) -> None:
    paths = write_result_files([make_result(1, 2, with_masks=False)], tmp_path / "r")
    assert list(paths) == ["bbox"]
    assert not list(tmp_path.glob("*.part"))
