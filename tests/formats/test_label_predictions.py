"""Predictions from folders of label TIFFs, good and bad."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from cellseg.errors import CellsegError
from cellseg.formats.label_predictions import KNOWN_PATTERNS
from cellseg.formats.label_tiff import write_label_tiffs
from cellseg.formats.prediction_files import read_predictions
from cellseg.formats.prediction_set import join_results
from cellseg.scoring.counts import count_scene
from cellseg.scoring.results import ImageResult
from cellseg.scoring.scene import build_result_scene
from cellseg.scoring.scores import compute_scores
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_label_map
from tests.formats.drawn_truth import IMAGES, NAMES, SHAPE, draw_labels, make_truth


def write_labels(path: Path, label_map: NDArray[Any]) -> None:
    """Write a label TIFF and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, label_map)


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


@pytest.mark.parametrize("suffix", [".tif", ".tiff"])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_read_predictions_when_folder_is_perfect_then_all_figures_are_one(
    tmp_path: Path, suffix: str, dtype: type
) -> None:
    write_labels(tmp_path / f"s/a/class1{suffix}", draw_labels(1).astype(dtype))
    write_labels(tmp_path / f"s/a/class2{suffix}", draw_labels(2).astype(dtype))
    write_labels(tmp_path / f"b/class1{suffix}", draw_labels(3).astype(dtype))
    assert set(figures_of(tmp_path).values()) == {1.0}
    predictions = read_predictions(tmp_path, IMAGES, NAMES)
    assert (predictions.has_scores, predictions.has_classes, predictions.absent) == (
        False,
        True,
        [],
    )


@pytest.mark.parametrize("pattern", [name for name in KNOWN_PATTERNS if "{class}" not in name])
def test_read_predictions_when_named_as_other_tools_do_then_found(
    tmp_path: Path, pattern: str
) -> None:
    write_labels(tmp_path / pattern.format(image="s/a"), draw_labels(1))
    predictions = read_predictions(tmp_path, IMAGES, NAMES)
    assert not predictions.has_classes
    assert predictions.absent == ["b"]
    assert len(predictions.by_image[3].rles or ()) == len(np.unique(draw_labels(1))) - 1


def test_read_predictions_when_a_pattern_is_given_then_other_files_are_left_alone(
    tmp_path: Path,
) -> None:
    write_labels(tmp_path / "s/a/macrophage_v2.tif", draw_labels(2))
    write_labels(tmp_path / "s/a/class1.tif", draw_labels(1))
    predictions = read_predictions(tmp_path, IMAGES, NAMES, "{image}/{class}_v2.tif")
    assert set(predictions.by_image[3].labels.tolist()) == {1}


def test_read_predictions_when_the_pattern_is_a_windows_path_then_as_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_labels(tmp_path / "s/a/class1.tif", draw_labels(1))
    monkeypatch.setattr(os, "sep", "\\")
    predictions = read_predictions(tmp_path, IMAGES, NAMES, "{image}\\class{class}.tif")
    assert list(predictions.by_image) == [3]


@pytest.mark.parametrize(
    ("name", "label_map", "message"),
    [
        ("c/class1.tif", draw_labels(), "image 'c', which is not in this data set"),
        ("b/class3.tif", draw_labels(), "class '3'; the classes are 1 to 2 .* without {class}"),
        ("b/class1.tif", draw_labels().T, "30 x 20 pixels .* is 20 x 30"),
        ("b/class1.tif", draw_labels() + 0.5, "fractional"),
        ("b/notes.tif", draw_labels(), "does not follow the other files"),
    ],
)
def test_read_predictions_when_a_label_file_is_bad_then_one_error_names_it(
    tmp_path: Path, name: str, label_map: NDArray[Any], message: str
) -> None:
    write_labels(tmp_path / "s/a/class1.tif", draw_labels(1))
    write_labels(tmp_path / name, label_map)
    with pytest.raises(CellsegError, match=message) as caught:
        read_predictions(tmp_path, IMAGES, NAMES)
    assert str(tmp_path / name) in str(caught.value)


def test_read_predictions_when_a_label_file_is_cut_off_then_named(tmp_path: Path) -> None:
    write_labels(tmp_path / "b/class1.tif", draw_labels(1))
    data = (tmp_path / "b/class1.tif").read_bytes()
    (tmp_path / "b/class1.tif").write_bytes(data[: len(data) // 3])
    with pytest.raises(CellsegError, match=r"b/class1\.tif"):
        read_predictions(tmp_path, IMAGES, NAMES)


@pytest.mark.parametrize(
    "strays", [["b/clas1.tif", "b/notes.tif"], ["b/clas1.tif"], ["b.labels.tif"], ["b/zlass1.tiff"]]
)
def test_read_predictions_when_files_follow_no_pattern_then_the_first_is_named(
    tmp_path: Path, strays: list[str]
) -> None:
    for name in ("s/a/class1.tif", "s/a/image.tif", "s/a/ignore.tif", *strays):
        write_labels(tmp_path / name, draw_labels(1))
    with pytest.raises(CellsegError, match="does not follow the other files") as caught:
        read_predictions(tmp_path, IMAGES, NAMES)
    assert str(tmp_path / strays[0]) in str(caught.value)
    assert ("1 more" in str(caught.value)) == (len(strays) == 2)


def test_read_predictions_when_two_files_are_of_one_image_and_class_then_both_are_named(
    tmp_path: Path,
) -> None:
    for name in ("b/class1.tif", "b/class1.tiff"):
        write_labels(tmp_path / name, draw_labels(3))
    with pytest.raises(CellsegError, match=r"b/class1\.tiff: is of the same .*b/class1\.tif;"):
        read_predictions(tmp_path, IMAGES, NAMES)


def predict(folder: Path, name: str, layers: list[NDArray[np.int32]], classes: list[str]) -> Path:
    """Write the label TIFFs of one image as tools/predict.py does."""
    found = [encode_label_map(layer) for layer in layers]
    cells = Cells(
        np.concatenate([boxes for _, boxes, _, _ in found]),
        np.ones(sum(len(ids) for ids, *_ in found)),
        np.repeat([0, 1], [len(ids) for ids, *_ in found]),
        [rle for *_, rles in found for rle in rles],
        *SHAPE,
        tuple(classes),
    )
    folder.mkdir(exist_ok=True)
    write_label_tiffs(cells, folder / f"{name}.labels.tif")
    return folder / f"{name}.labels.tif"


def test_read_predictions_when_tools_predict_wrote_them_then_perfect_ones_score_one(
    tmp_path: Path,
) -> None:
    classes = ["lymphocyte", "large (odd) cell"]
    images = [make_truth(n, k, draw_labels(k), draw_labels(k + 2)) for k, n in enumerate("ab", 1)]
    for image in images:
        layers = [draw_labels(image.img_id), draw_labels(image.img_id + 2)]
        combined = predict(tmp_path / "out", image.name, layers, classes)
    predictions = read_predictions(tmp_path / "out", images, classes)
    assert (predictions.has_classes, predictions.absent) == (True, [])
    results = join_results(images, predictions)
    figures = compute_scores(
        [count_scene(build_result_scene(result, 2)) for result in results], classes
    ).to_dict()
    assert set(figures.values()) == {1.0}
    for path in (tmp_path / "out").glob("b.labels.*.tif"):
        path.unlink()
    with pytest.raises(CellsegError, match=rf"{combined}: does not follow"):
        read_predictions(tmp_path / "out", images, classes)
    merged = read_predictions(tmp_path / "out", images, classes, "{image}.labels.tif")
    assert (merged.has_classes, merged.absent) == (False, [])


def test_read_predictions_when_a_file_is_a_yes_no_mask_then_warned_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(
        "cellseg.formats.label_predictions.print_log", lambda message, *_: told.append(message)
    )
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:6, 2:6] = mask[10:14, 20:24] = 255
    write_labels(tmp_path / "b" / "class1.tif", mask)
    write_labels(tmp_path / "s/a" / "class1.tif", draw_labels(1) * 0 + 1)
    read_predictions(tmp_path, IMAGES, NAMES)
    assert len(told) == 1
    assert "in 1 of 2 label files, such as" in told[0]
    assert "class1.tif, labels are in several pieces: each label counts as one cell" in told[0]
