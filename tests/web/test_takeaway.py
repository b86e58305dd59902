"""What is taken away: the cells that are shown, and the reviewed regions to train on."""

import io
import math
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cellseg.engine.data_source import open_data
from cellseg.errors import CellsegError
from cellseg.images import read_cell_image, read_label_map
from cellseg.web import takeaway as module
from cellseg.web.cell_edits import make_step
from cellseg.web.edit_log import PageCell
from cellseg.web.page_images import PageImage
from cellseg.web.takeaway import CellFilter, ReviewedImage, collect_cells, write_training_data

from .stand_in import CLASS_NAMES

CELL = PageCell.make(1, 1, 0.6, [[2, 3, 10, 10, -10]])


@pytest.fixture
def image(draw: Callable[..., Path], tmp_path: Path) -> PageImage:
    """Return an image with two cells: one is of the second class."""
    image = PageImage("k", "a.png", draw(4, "a.png"), tmp_path / "folder")
    image.open({}, CLASS_NAMES)
    for label, x in ((0, 10), (1, 40)):
        points = [[x, 10], [x + 10, 10], [x + 10, 20], [x, 20]]
        edit(image, do="draw", label=label, points=points)
    return image


def edit(image: PageImage, **action: object) -> None:
    assert image.opened is not None
    image.opened.log.apply(make_step(image.opened.log, image.canvas(2), action))


def review(image: PageImage, x1: float, y1: float, x2: float, y2: float) -> None:
    edit(image, do="review", points=[[x1, y1], [x2, y1], [x2, y2], [x1, y2]])


def export(image: PageImage, folder: Path) -> list[Path]:
    assert image.opened is not None
    log = image.opened.log
    content = io.BytesIO()
    reviewed = ReviewedImage("a", image.opened, list(log.cells.values()), log.regions)
    write_training_data([reviewed], CLASS_NAMES, content)
    with zipfile.ZipFile(content) as archive:
        archive.extractall(folder)
    return sorted((folder / "training-data").glob("*/"))


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ({}, True),
        ({"score": "0.6", "least": "100", "most": "100", "classes": "0,1"}, True),
        ({"score": "0.61"}, False),
        ({"least": "101"}, False),
        ({"most": "99"}, False),
        ({"classes": "0"}, False),
        ({"classes": ""}, False),
    ],
)
def test_filter_then_it_keeps_what_the_page_shows(values: dict[str, str], kept: bool) -> None:
    assert CellFilter.read(values).keeps(CELL) is kept
    by_hand = PageCell.make(1, 1, None, CELL.rings)
    assert CellFilter.read({"score": "1"}).keeps(by_hand)


@pytest.mark.parametrize("values", [{"score": "a"}, {"least": "nan"}, {"classes": "a"}])
def test_filter_when_a_value_is_none_then_refused(values: dict[str, str]) -> None:
    with pytest.raises(CellsegError, match="numbers"):
        CellFilter.read(values)


def test_cells_when_collected_then_pixels_scores_and_classes_are_theirs(image: PageImage) -> None:
    assert image.opened is not None
    cells = collect_cells([CELL, *image.opened.log.cells.values()], image.opened, CLASS_NAMES)
    assert cells.areas.tolist() == [100, 100, 100]
    assert cells.confidences.tolist() == pytest.approx([0.6, 1, 1])
    assert cells.labels.tolist() == [1, 0, 1]
    assert len(collect_cells([], image.opened, CLASS_NAMES)) == 0


def test_training_data_then_reviewed_cells_are_labels_and_the_rest_is_ignored(
    image: PageImage, tmp_path: Path
) -> None:
    review(image, 30, 5, 60, 30)
    review(image, 70, 70, 90, 90)
    folders = export(image, tmp_path / "out")
    assert [folder.name for folder in folders] == ["a_001", "a_002"]
    first = folders[0]
    x0, y0 = 30 - 16, 0
    pixels = read_cell_image(first / "image.tif")
    np.testing.assert_array_equal(pixels, read_cell_image(image.path)[y0:46, x0:76])
    second_class = read_label_map(first / "class2.tif")
    assert (second_class > 0).sum() == 100
    assert second_class[10 - y0, 40 - x0] > 0
    assert not read_label_map(first / "class1.tif").any()  # its cell was not reviewed
    ignored = read_label_map(first / "ignore.tif")
    assert ignored[10 - y0, 14 - x0] == 1
    assert not ignored[5 - y0 : 30 - y0, 30 - x0 : 60 - x0].any()
    assert (ignored == 0).sum() == 30 * 25
    data = open_data(tmp_path / "out" / "training-data")
    assert tuple(data.metainfo["classes"]) == CLASS_NAMES
    assert len(data) == 2


def test_training_data_when_one_region_is_small_then_it_becomes_several_crops(
    image: PageImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    review(image, 0, 0, 96, 96)
    folders = export(image, tmp_path / "out")
    assert len(folders) == 2
    assert not (folders[0] / "ignore.tif").exists()
    sides = [read_label_map(folder / "class1.tif").shape for folder in folders]
    assert sides == [(96, 48), (96, 48)]
    monkeypatch.setattr(module, "_LEAST_CUT_PX", 90)
    assert len(export(image, tmp_path / "quarters")) == 4
    monkeypatch.setattr(module, "_CROP_PX", 40)
    folders = export(image, tmp_path / "more")
    assert len(folders) == math.ceil(96 / 40) ** 2
    found = [read_cell_image(folder / "image.tif").shape[:2] for folder in folders]
    assert sum(height * width for height, width in found) == 96 * 96


def test_training_data_when_nothing_is_reviewed_then_words_say_so(
    image: PageImage, tmp_path: Path
) -> None:
    with pytest.raises(CellsegError, match="No region is reviewed"):
        export(image, tmp_path / "out")
