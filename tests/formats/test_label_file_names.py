"""How label files may be called, in the folders of this project and of other tools."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from cellseg.errors import CellsegError
from cellseg.formats.label_file_names import KNOWN_PATTERNS
from cellseg.formats.prediction_files import read_predictions
from tests.formats.drawn_truth import IMAGES, NAMES, draw_labels


def write_labels(path: Path, label_map: NDArray[Any]) -> None:
    """Write a label TIFF and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, label_map)


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
