"""Predictions from files, good and bad."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from cellseg.errors import CellsegError
from cellseg.formats.prediction_files import read_predictions
from cellseg.formats.prediction_set import TruthImage, join_results
from cellseg.scoring.counts import count_scene
from cellseg.scoring.results import ImageResult
from cellseg.scoring.scene import build_result_scene
from cellseg.scoring.scores import compute_scores
from cellseg.structures.cells import Cells

NAMES = ["lymphocyte", "macrophage"]
SHAPE = (20, 30)


def draw_labels(seed: int = 0) -> NDArray[np.int32]:
    """Draw blocks of cells."""
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 9, (4, 6)), np.ones((5, 5))).astype(np.int32)


def make_truth(name: str, img_id: int, *layers: NDArray[np.int32]) -> TruthImage:
    """Make an image with one layer a class."""
    parts = [Cells.from_label_map(layer, label, NAMES) for label, layer in enumerate(layers)]
    return TruthImage(img_id, name, Cells.concatenate(parts))


IMAGES = [make_truth("s/a", 3, draw_labels(1), draw_labels(2)), make_truth("b", 5, draw_labels(3))]


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


def judge_results(results: list[ImageResult], names: list[str]) -> dict[str, float]:
    """Score results of two classes."""
    return compute_scores([count_scene(build_result_scene(r, 2)) for r in results], names).to_dict()


def figures_of(path: Path, pattern: str | None = None) -> dict[str, float]:
    """Judge predictions from files."""
    predictions = read_predictions(path, IMAGES, NAMES, pattern)
    results = join_results(IMAGES, predictions)
    return compute_scores(
        [count_scene(build_result_scene(result, 2)) for result in results], NAMES
    ).to_dict()


def test_read_predictions_when_json_is_perfect_then_all_figures_are_one(tmp_path: Path) -> None:
    assert set(figures_of(write_json(tmp_path, good_rows())).values()) == {1.0}


def test_read_predictions_when_json_lists_nothing_then_nothing_was_found(tmp_path: Path) -> None:
    predictions = read_predictions(write_json(tmp_path, []), IMAGES, NAMES)
    assert predictions.absent == ["s/a", "b"]
    assert figures_of(write_json(tmp_path, []))["mPQ"] == 0


def test_read_predictions_when_masks_are_polygons_or_plain_counts_then_read(tmp_path: Path) -> None:
    plain = {"size": list(SHAPE), "counts": [0, 40, 560]}
    rows = [
        {"image_id": 3, "category_id": 1, "score": 1, "segmentation": mask}
        for mask in (plain, [[0, 0, 2, 0, 2, 20, 0, 20]])
    ]
    predictions = read_predictions(write_json(tmp_path, rows), IMAGES, NAMES)
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
def test_read_predictions_when_json_is_bad_then_one_error_names_it(
    tmp_path: Path, content: Any, message: str
) -> None:
    path = write_json(tmp_path, content)
    with pytest.raises(CellsegError, match=message) as caught:
        read_predictions(path, IMAGES, NAMES)
    assert str(path) in str(caught.value)


def test_read_predictions_when_json_is_no_utf_8_or_starts_with_a_mark_then_said_or_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(good_rows()).encode())
    assert len(read_predictions(path, IMAGES, NAMES).by_image) == 2
    path.write_bytes('[{"image_id": "ü"}]'.encode("latin-1"))
    with pytest.raises(CellsegError, match="is not UTF-8 text"):
        read_predictions(path, IMAGES, NAMES)


def test_read_predictions_when_there_is_nothing_to_read_then_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd").mkdir()
    tifffile.imwrite(tmp_path / "odd" / "cells.tif", draw_labels())
    (tmp_path / "results.txt").write_text("[]")
    for name, message in (
        ("empty", "holds no label TIFF"),
        ("odd", "none of its 1 TIFFs"),
        ("none.json", "no predictions at"),
        ("results.txt", "a folder of label TIFFs or a COCO result"),
    ):
        with pytest.raises(CellsegError, match=message):
            read_predictions(tmp_path / name, IMAGES, NAMES)
    with pytest.raises(CellsegError, match="no file is called"):
        read_predictions(tmp_path / "odd", IMAGES, NAMES, "{image}/x.tif")


def test_read_predictions_when_given_a_pickle_then_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "results.pkl"
    path.write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    with pytest.raises(CellsegError, match=r"can run code.*results\.segm\.json"):
        read_predictions(path, IMAGES, NAMES)
