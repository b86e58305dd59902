"""The cells of one image at any threshold: numbers, drawing and files agree."""

import csv
import io
import json

import numpy as np
import pytest
import tifffile

from cellseg.formats.outputs import FORMATS
from cellseg.images import ArraySource
from cellseg.web.found_cells import DOWNLOADS, TABLE_COLUMNS, FoundCells
from cellseg.web.uploads import UploadedImage

from .stand_in import CLASS_NAMES, BlobFinder, draw_blobs


def _find(count: int) -> FoundCells:
    pixels = np.ascontiguousarray(draw_blobs(count)[..., ::-1])
    return FoundCells.measured(
        "slide",
        UploadedImage(pixels, 0.5),
        BlobFinder()(ArraySource(pixels, 0.5)),
        BlobFinder.palette,
    )


@pytest.mark.parametrize("count", [0, 1, 9])
@pytest.mark.parametrize("score_thr", [0.0, 0.5, 0.96])
def test_found_cells_at_a_threshold_then_all_views_hold_the_same_cells(tmp_path, count, score_thr):
    found = _find(count)
    shown = found.at(score_thr)
    expected = int((found.cells.scores >= score_thr).sum())
    assert len(shown.cells) == expected
    assert [entry.name for entry in shown.count_classes()] == list(CLASS_NAMES)
    assert sum(entry.cells for entry in shown.count_classes()) == expected
    rows = shown.rows(100)
    assert [row[0] for row in rows] == list(range(1, expected + 1))
    assert all(len(row) == len(TABLE_COLUMNS) for row in rows)
    labels = tifffile.imread(io.BytesIO(shown.encode_download("labels", tmp_path)[1]))
    assert np.unique(labels[labels > 0]).tolist() == list(range(1, expected + 1))
    areas = np.bincount(labels.ravel(), minlength=expected + 1)[1:]
    assert [row[3] for row in rows] == areas.tolist()
    features = json.loads(shown.encode_download("geojson", tmp_path)[1])["features"]
    assert len(features) == expected
    table = list(csv.DictReader(io.StringIO(shown.encode_download("csv", tmp_path)[1].decode())))
    assert [int(row["cell"]) for row in table] == list(range(1, expected + 1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", DOWNLOADS)
def test_download_then_it_is_the_file_that_predict_writes(tmp_path, kind):
    shown = _find(9).at(0.4)
    path = tmp_path / f"slide{FORMATS[kind].suffix}"
    source = ArraySource(shown.image.pixels, 0.5)
    FORMATS[kind].write(shown.cells, path, source, shown.palette)
    assert shown.encode_download(kind, tmp_path) == (path.name, path.read_bytes())


def test_found_cells_when_they_come_in_any_order_then_numbers_are_those_of_the_label_map(tmp_path):
    found = _find(9)
    shown = FoundCells.measured("slide", found.image, found.cells[::-1], found.palette).at(0.5)
    labels = tifffile.imread(io.BytesIO(shown.encode_download("labels", tmp_path)[1]))
    for number, _, _, _, x, y in shown.rows(100):
        assert labels[round(y), round(x)] == number


def test_rows_when_limited_then_the_highest_scoring_come_first():
    rows = _find(9).rows(3)
    assert [row[0] for row in rows] == [1, 2, 3]
    assert [row[2] for row in rows] == ["0.950", "0.850", "0.750"]


def test_draw_then_outlines_have_the_colors_of_the_classes():
    found = _find(9)
    for entry in found.count_classes():
        drawn = found.draw(with_scores=False)
        assert (drawn == entry.color).all(axis=2).any()
    empty = found.at(1.0)
    assert len(empty.cells) == 0
    assert not (empty.draw(with_scores=True) == found.count_classes()[0].color).all(axis=2).any()
    assert (found.draw(with_scores=True) != found.draw(with_scores=False)).any()
    assert found.encode_drawing(with_scores=True).startswith(b"\x89PNG")
