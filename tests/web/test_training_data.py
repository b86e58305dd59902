"""The data folder of the reviewed regions: what is labeled, what is ignored, what validates."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cellseg.datasets.transforms import LoadLabelMaps
from cellseg.engine.data_source import open_data
from cellseg.engine.fine_tuning import open_training_folder
from cellseg.errors import CellsegError
from cellseg.images import read_cell_image, read_label_map
from cellseg.web import training_data as module
from cellseg.web.page_images import PageImage
from cellseg.web.training_data import ReviewedImage, write_training_data

from .stand_in import CLASS_NAMES, edit


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
    return sorted(path.parent for path in (folder / "training-data").rglob("image.tif"))


def test_training_data_then_reviewed_cells_are_labels_and_the_rest_is_ignored(
    image: PageImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LEAST_SIDE_PX", 40)
    monkeypatch.setattr(module, "_FEWEST_PARTS", 2)
    review(image, 30, 5, 60, 30)
    review(image, 70, 70, 90, 90)
    folders = export(image, tmp_path / "out")
    assert [folder.name for folder in folders] == ["a_001", "a_002"]
    first = folders[0]
    x0, y0 = 30 - 16, 0
    pixels = read_cell_image(first / "image.tif")
    np.testing.assert_array_equal(pixels, read_cell_image(image.path)[y0 : y0 + 57, x0 : x0 + 62])
    second_class = read_label_map(first / "class2.tif")
    assert (second_class > 0).sum() == 100
    assert second_class[10 - y0, 40 - x0] > 0
    assert not read_label_map(first / "class1.tif").any()  # its cell was not reviewed
    ignored = read_label_map(first / "ignore.tif")
    assert ignored[10 - y0, 14 - x0] == 1
    assert (ignored == 0).sum() == 30 * 25
    data = open_data(tmp_path / "out" / "training-data")
    assert tuple(data.metainfo["classes"]) == CLASS_NAMES
    assert len(data) == 2


def test_training_data_when_few_parts_then_a_quarter_of_each_validates(
    image: PageImage, tmp_path: Path
) -> None:
    review(image, 0, 0, 64, 30)
    train, val = export(image, tmp_path / "out")
    assert [path.parts[-2:] for path in (train, val)] == [("train", "a_001"), ("val", "a_002")]
    assert open_training_folder(tmp_path / "out" / "training-data").num_folds == 0
    shown = [read_label_map(folder / "ignore.tif") == 0 for folder in (train, val)]
    cells = [read_label_map(train / f"class{number}.tif") > 0 for number in (1, 2)]
    assert cells[0].sum() == cells[1].sum() == 100  # the second cell reaches into the other part
    assert not read_label_map(val / "class2.tif").any()
    assert shown[0].sum() == 48 * 30 + 20
    assert shown[1].sum() == 16 * 30 - 20  # what is the other part's cell is not background
    assert not (shown[0] & shown[1]).any()
    for folder in (train, val):  # what surrounds it is there to be seen
        assert read_cell_image(folder / "image.tif").shape[:2] == (96, 96)


def test_training_data_when_a_frame_is_ignored_then_what_it_surrounds_is_learned(
    image: PageImage, tmp_path: Path
) -> None:
    review(image, 20, 5, 80, 60)
    export(image, tmp_path / "out")
    loaded = LoadLabelMaps()(open_data(tmp_path / "out/training-data/train").get_data_info(0))
    is_ignored = loaded["gt_ignore_flags"]
    boxes = loaded["gt_bboxes"].tensor.numpy()
    cells, ignored = boxes[~is_ignored], boxes[is_ignored]
    assert len(cells) == 1
    covered = np.zeros((96, 96), dtype=bool)
    for x1, y1, x2, y2 in ignored.astype(int).tolist():
        covered[y1:y2, x1:x2] = True
    assert covered.sum() == 96 * 96 - 45 * 55


def test_training_data_when_a_region_is_large_then_it_is_cut_into_parts(
    image: PageImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PART_PX", 40)
    review(image, -5, 0, 96, 200)
    folders = export(image, tmp_path / "out")
    assert len(folders) == 9
    taught = sum((read_label_map(folder / "ignore.tif") == 0).sum() for folder in folders)
    assert taught == 96 * 96


def test_training_data_when_nothing_is_reviewed_then_words_say_so(
    image: PageImage, tmp_path: Path
) -> None:
    with pytest.raises(CellsegError, match="No region is reviewed"):
        export(image, tmp_path / "out")
