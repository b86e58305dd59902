import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from cellseg.errors import CellsegError
from cellseg.formats.coco_results import (
    cells_to_coco_results,
    read_coco_results,
    write_coco_results,
)
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_crop
from tests.formats.drawn_truth import IMAGES, NAMES, SHAPE, figures_of


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


def test_coco_results_are_read_by_pycocotools():
    cells = draw_cells(60, 80)
    coco = COCO()
    coco.dataset = {
        "images": [{"id": 7, "height": 60, "width": 80}],
        "categories": [{"id": index} for index in range(1, 5)],
        "annotations": [],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        results = coco.loadRes(cells_to_coco_results(cells, 7))
    areas = cells.measure()[1]
    for index, annotation in enumerate(results.loadAnns(results.getAnnIds(imgIds=[7]))):
        assert results.annToMask(annotation).sum() == areas[index]
        assert annotation["category_id"] == cells.labels[index] + 1
        x, y, w, h = annotation["bbox"]
        np.testing.assert_allclose([x, y, x + w, y + h], cells.boxes[index])
        assert annotation["score"] == pytest.approx(cells.scores[index], abs=1e-4)


def test_coco_results_without_cells_are_an_empty_list(tmp_path):
    write_coco_results(Cells.empty(5, 5, ("a",)), tmp_path / "cells.json")
    assert json.loads((tmp_path / "cells.json").read_text()) == []


def good_rows() -> list[dict[str, Any]]:
    """List perfect predictions."""
    return [
        {
            "image_id": image.img_id,
            "category_id": label + 1,
            "score": 0.9,
            "segmentation": rle,
        }
        for image in IMAGES
        for label, rle in zip(image.cells.labels.tolist(), image.cells.rles, strict=True)
    ]


def write_json(tmp_path: Path, content: Any) -> Path:
    """Write a result file; text as it is."""
    path = tmp_path / "results.segm.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_read_coco_results_when_json_is_perfect_then_all_figures_are_one(tmp_path: Path) -> None:
    assert set(figures_of(write_json(tmp_path, good_rows())).values()) == {1.0}


def test_read_coco_results_when_json_lists_nothing_then_nothing_was_found(tmp_path: Path) -> None:
    predictions = read_coco_results(write_json(tmp_path, []), IMAGES, NAMES)
    assert predictions.absent == ["s/a", "b"]
    assert figures_of(write_json(tmp_path, []))["mPQ"] == 0


def test_read_coco_results_when_masks_are_polygons_or_plain_counts_then_read(
    tmp_path: Path,
) -> None:
    plain = {"size": list(SHAPE), "counts": [0, 40, 560]}
    rows = [
        {"image_id": 3, "category_id": 1, "score": 1, "segmentation": mask}
        for mask in (plain, [[0, 0, 2, 0, 2, 20, 0, 20]])
    ]
    predictions = read_coco_results(write_json(tmp_path, rows), IMAGES, NAMES)
    assert predictions.by_image[3].areas.tolist() == [40, 40]
    assert predictions.by_image[3].boxes.tolist() == [[0, 0, 2, 20]] * 2


def changed(**changes: Any) -> list[dict[str, Any]]:
    """Change one row of good ones; None takes the key away."""
    rows = good_rows()
    rows[1] = {key: value for key, value in (rows[1] | changes).items() if value is not None}
    return rows


NEGATIVE_TEXT = ":Kcb0"  # lengths 10, -5 and 595


RLE_TEXT = good_rows()[1]["segmentation"]["counts"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        (json.dumps(good_rows())[:-40], "cut off"),
        ({"annotations": []}, "holds a JSON dict"),
        ([3], "is not an object"),
        (f"[{'9' * 5000}]", "not valid JSON"),
        (changed(image_id=9), r"image_id 9, which is not among the 2 images"),
        (changed(image_id="3"), "image_id '3'"),
        (changed(category_id=3), "category_id 3; the classes are 1 to 2"),
        (changed(category_id=0), "category_id 0"),
        (changed(segmentation=None), r"no mask .* not the \.bbox\.json"),
        (changed(score=None), "lacks score"),
        (changed(score=float("nan")), "score nan"),
        (changed(segmentation={"size": [30, 20], "counts": RLE_TEXT}), r"has size \[30, 20\]"),
        (changed(segmentation={"size": [*SHAPE], "counts": RLE_TEXT[:-1] + "P"}), "cut off"),
        (changed(segmentation={"size": [*SHAPE], "counts": "0ooo0"}), "damaged"),
        (changed(segmentation={"size": [*SHAPE], "counts": "é"}), "damaged"),
        (changed(segmentation=7), "neither RLE nor polygons"),
        (changed(segmentation=["x"]), "neither RLE nor polygons"),
        (changed(segmentation=[]), "neither RLE nor polygons"),
        (changed(segmentation=[[0, 0, 2]]), "neither RLE nor polygons"),
        (changed(segmentation=[[0, 0, 2, 0, 2, float("nan")]]), "neither RLE nor polygons"),
        (changed(segmentation=[[0, 0, 2, 0, 2, 1e18]]), "px away"),
        (changed(segmentation={"size": None, "counts": RLE_TEXT}), "neither RLE nor polygons"),
        (changed(segmentation={"size": [*SHAPE], "counts": ""}), "neither RLE nor polygons"),
        (changed(segmentation={"size": [*SHAPE], "counts": [-5, 605]}), "neither RLE nor polygons"),
        (changed(segmentation={"size": [*SHAPE], "counts": NEGATIVE_TEXT}), "negative length"),
        (changed(segmentation={"size": [*SHAPE], "counts": [10**15]}), "neither RLE nor polygons"),
        (changed(segmentation={"size": [*SHAPE], "counts": []}), "sum up to 0, not to the 600"),
        (changed(segmentation={"size": [*SHAPE], "counts": [0, 40]}), "sum up to 40"),
        (changed(segmentation={"size": [*SHAPE], "counts": "04"}), "not of 20 x 30 pixels"),
        (changed(score=10**400), "finite number"),
        (changed(image_id=True), "image_id True"),
    ],
)
def test_read_coco_results_when_json_is_bad_then_one_error_names_it(
    tmp_path: Path, content: Any, message: str
) -> None:
    path = write_json(tmp_path, content)
    with pytest.raises(CellsegError, match=message) as caught:
        read_coco_results(path, IMAGES, NAMES)
    assert str(path) in str(caught.value)


def test_read_coco_results_when_json_is_no_utf_8_or_starts_with_a_mark_then_said_or_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(good_rows()).encode())
    assert len(read_coco_results(path, IMAGES, NAMES).by_image) == 2
    path.write_bytes('[{"image_id": "ü"}]'.encode("latin-1"))
    with pytest.raises(CellsegError, match="is not UTF-8 text"):
        read_coco_results(path, IMAGES, NAMES)
