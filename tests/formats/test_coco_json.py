import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from cellseg.formats.coco_json import cells_to_coco_results, write_coco_results
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
