"""Ground truth and predictions, opened for the commands that compare them."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cellseg.cli.arguments import add_config_options, add_truth_arguments
from cellseg.cli.tasks.comparison import open_comparison
from cellseg.errors import CellsegError

SHAPE = (20, 30)


def parse(*words: object) -> argparse.Namespace:
    """Parse the flags that the commands share."""
    parser = argparse.ArgumentParser()
    add_truth_arguments(parser)
    add_config_options(parser)
    return parser.parse_args([str(word) for word in words])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write seven images of one class, each with one cell."""
    label_map = np.zeros(SHAPE, np.uint16)
    label_map[2:9, 3:12] = 1
    for name in "abcdefg":
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        tifffile.imwrite(folder / "image.tif", np.zeros((*SHAPE, 3), np.uint8), photometric="rgb")
        tifffile.imwrite(folder / "class1.tif", label_map)
    return tmp_path / "data"


def test_open_comparison_when_an_image_has_no_prediction_then_named_and_empty(
    root: Path, tmp_path: Path
) -> None:
    args = parse(root, tmp_path / "found", "--classes", "nucleus")
    label_map = np.zeros(SHAPE, np.uint16)
    label_map[2:9, 3:10] = 4
    (tmp_path / "found").mkdir()
    tifffile.imwrite(tmp_path / "found" / "b_cp_masks.tif", label_map)
    given = open_comparison(args.truth, args.predictions, args)
    assert given.classes == ["nucleus"]
    assert given.absent == "a, c, d, e, f, ..."
    assert [len(result.predictions) for result in given.results] == [0, 1, 0, 0, 0, 0, 0]
    assert [image.name for image in given.images] == [*"abcdefg"]
    assert given.results[1].predictions.areas.tolist() == [49]
    truths = [result.ground_truth for result in given.results]
    assert [truth is not None and truth.areas.tolist() for truth in truths] == [[63]] * 7


def test_open_comparison_when_every_image_has_one_then_none_is_absent(root: Path) -> None:
    args = parse(root, root, "--files", "{image}/class{class}.tif")
    given = open_comparison(args.truth, args.predictions, args)
    assert given.absent == ""
    assert given.options is None


def test_open_comparison_when_predictions_are_of_other_images_then_refused(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "found").mkdir()
    tifffile.imwrite(tmp_path / "found" / "z_cp_masks.tif", np.zeros(SHAPE, np.uint16))
    args = parse(root, tmp_path / "found", "--files", "{image}_cp_masks.tif")
    with pytest.raises(CellsegError, match=r"z_cp_masks\.tif: is of image 'z'"):
        open_comparison(args.truth, args.predictions, args)
