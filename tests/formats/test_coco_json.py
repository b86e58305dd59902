import contextlib
import io
import json
import zipfile

import numpy as np
import pytest
from pycocotools.coco import COCO

from cellseg.errors import CellsegError
from cellseg.formats.coco_json import (
    cells_to_coco_results,
    read_image_index,
    write_coco_results,
    write_submission,
)
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_crop


def draw_cells(height, width, seed=0):
    """Up to five cells in an image of any size, down to one pixel."""
    rng = np.random.default_rng(seed)
    boxes, rles = [], []
    for _ in range(5):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        w, h = min(int(rng.integers(1, 30)), width - x), min(int(rng.integers(1, 30)), height - y)
        boxes.append((x, y, x + w, y + h))
        rles.append(encode_crop(np.ones((h, w), bool), x, y, height, width))
    return Cells(boxes, rng.random(5), rng.integers(0, 4, 5), rles, height, width, tuple("abcd"))


def test_coco_results_are_read_by_pycocotools(tmp_path):
    cells = draw_cells(60, 80)
    path = write_coco_results(cells, tmp_path / "cells.json", image_id=7)
    coco = COCO()
    coco.dataset = {
        "images": [{"id": 7, "height": 60, "width": 80}],
        "categories": [{"id": index} for index in range(1, 5)],
        "annotations": [],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        results = coco.loadRes(str(path))
    areas = cells.measure()[1]
    for index, annotation in enumerate(results.loadAnns(results.getAnnIds(imgIds=[7]))):
        assert results.annToMask(annotation).sum() == areas[index]
        assert annotation["category_id"] == cells.labels[index] + 1
        x, y, w, h = annotation["bbox"]
        np.testing.assert_allclose([x, y, x + w, y + h], cells.boxes[index])
        assert annotation["score"] == pytest.approx(cells.scores[index], abs=1e-4)


def test_coco_results_with_corner_boxes_keep_the_corners():
    cells = draw_cells(60, 80)
    results = cells_to_coco_results(cells, 1, "xyxy")
    np.testing.assert_allclose([result["bbox"] for result in results], cells.boxes)


def test_coco_results_without_cells_are_an_empty_list(tmp_path):
    path = write_coco_results(Cells.empty(5, 5, ("a",)), tmp_path / "cells.json")
    assert json.loads(path.read_text()) == []


def check_schema(rows, index):
    """Check a submission as the assignment describes it, independently of the writer."""
    sizes = {row["id"]: (row["height"], row["width"]) for row in index.values()}
    for row in rows:
        assert set(row) == {"image_id", "bbox", "score", "category_id", "segmentation"}
        assert type(row["image_id"]) is int
        assert type(row["category_id"]) is int
        assert 1 <= row["category_id"] <= 4
        assert len(row["bbox"]) == 4
        assert all(type(side) is float for side in row["bbox"])
        assert 0 <= row["score"] <= 1
        assert set(row["segmentation"]) == {"size", "counts"}
        assert tuple(row["segmentation"]["size"]) == sizes[row["image_id"]]
        assert type(row["segmentation"]["counts"]) is str


def test_submission_of_all_real_sizes_fits_the_schema(tmp_path, real_data):
    index = read_image_index(real_data / "hw3" / "test_image_name_to_ids.json")
    assert len(index) == 101
    results = []
    for row in index.values():
        cells = draw_cells(row["height"], row["width"], seed=row["id"])
        results += cells_to_coco_results(cells, row["id"])
    path = write_submission(results, tmp_path / "submission.zip", index, 4)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["test-results.json"]
        rows = json.loads(archive.read("test-results.json"))
    check_schema(rows, index)
    assert {row["image_id"] for row in rows} == set(range(1, 102))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(image_id=9), "image_id 9"),
        (dict(category_id=0), "category_id 0"),
        (dict(category_id=5), "category_id 5"),
        (dict(score=1.5), "score 1.5"),
        (dict(bbox=[1, 2, 3]), "4 finite numbers"),
        (dict(bbox=[1, 2, 3, float("nan")]), "4 finite numbers"),
        (dict(segmentation={"size": [80, 60], "counts": "x"}), "mask size"),
        (dict(segmentation={"size": [60, 80], "counts": b"x"}), "no text"),
    ],
)
def test_submission_that_the_grader_would_refuse_is_refused(tmp_path, change, message):
    index = {"a.tif": {"file_name": "a.tif", "id": 1, "height": 60, "width": 80}}
    row = {**cells_to_coco_results(draw_cells(60, 80), 1)[0], **change}
    with pytest.raises(CellsegError, match=message):
        write_submission([row], tmp_path / "submission.zip", index, 4)
    assert not (tmp_path / "submission.zip").exists()


@pytest.mark.parametrize(
    "text",
    ["{", "{}x", '[{"file_name": "a"}]', '["a"]', '[{"file_name":"a","id":1,"height":1,"width":1}'],
)
def test_index_that_is_none_is_reported(tmp_path, text):
    path = tmp_path / "index.json"
    path.write_text(text)
    with pytest.raises(CellsegError, match="index of test images"):
        read_image_index(path)


def test_index_that_names_a_file_twice_is_reported(tmp_path):
    row = {"file_name": "a.tif", "id": 1, "height": 1, "width": 1}
    path = tmp_path / "index.json"
    path.write_text(json.dumps([row, {**row, "id": 2}]))
    with pytest.raises(CellsegError, match="twice"):
        read_image_index(path)


def test_index_that_gives_one_id_to_two_files_is_reported(tmp_path):
    row = {"file_name": "a.tif", "id": 7, "height": 1, "width": 1}
    path = tmp_path / "index.json"
    path.write_text(json.dumps([row, {**row, "file_name": "b.tif"}]))
    with pytest.raises(CellsegError, match="several files the id 7"):
        read_image_index(path)
