import csv
import sys
import warnings

import numpy as np
import pytest
from skimage.color import rgb2hed
from skimage.measure import regionprops

from cellseg.errors import CellsegError
from cellseg.formats import tables
from cellseg.formats.tables import measure_cells, write_csv, write_csv_table, write_parquet
from cellseg.images import ArraySource
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_crops, measure_rles


@pytest.fixture
def image():
    return np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    crops = [rng.random(rng.integers(1, 14, 2)) < rng.uniform(0.2, 1) for _ in range(150)]
    crops += [np.ones((1, 1), bool), np.ones((1, 9), bool), np.ones((60, 80), bool)]
    count = len(crops)
    xs, ys = rng.integers(0, 80, count), rng.integers(0, 60, count)
    xs[-1] = ys[-1] = 0
    rles = encode_crops(crops, xs, ys, 60, 80)
    boxes, areas = measure_rles(rles)
    cells = Cells(boxes, rng.random(count), rng.integers(0, 2, count), rles, 60, 80, ("a", "b,c"))
    return cells[areas > 0]


def measure_with_skimage(cells, image):
    hed = rgb2hed(image[..., ::-1])
    for crop in cells.crops():
        mask = np.zeros((60, 80), dtype=int)
        rows, columns = crop.mask.shape
        mask[crop.y0 : crop.y0 + rows, crop.x0 : crop.x0 + columns] = crop.mask
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # hulls of a pixel or a line
            (region,) = regionprops(mask)
            yield {
                "area_px": region.area,
                "centroid_x_px": region.centroid[1],
                "centroid_y_px": region.centroid[0],
                "major_axis_px": region.axis_major_length,
                "minor_axis_px": region.axis_minor_length,
                "eccentricity": region.eccentricity,
                "solidity": region.solidity,
                "mean_haematoxylin": hed[..., 0][mask > 0].mean(),
                "mean_eosin": hed[..., 1][mask > 0].mean(),
            }


@pytest.mark.parametrize("square_px", [7, 1024])
def test_measurements_equal_scikit_image(monkeypatch, cells, image, square_px):
    monkeypatch.setattr(tables, "_SQUARE_PX", square_px)
    monkeypatch.setattr(tables, "_BLOCK_CELLS", 40)
    table = measure_cells(cells, ArraySource(image))
    for index, expected in enumerate(measure_with_skimage(cells, image)):
        for name, value in expected.items():
            assert table[name][index] == pytest.approx(value, abs=2e-5), (index, name)


def test_measurements_in_micrometers_follow_the_pixel_size(cells):
    cells.pixel_size_um = 0.5
    table = measure_cells(cells)
    np.testing.assert_allclose(table["area_um2"], table["area_px"] * 0.25)
    for name in ("centroid_x", "centroid_y", "major_axis", "minor_axis"):
        np.testing.assert_allclose(table[f"{name}_um"], table[f"{name}_px"] * 0.5)
    assert "mean_eosin" not in table


def test_csv_read_back_holds_every_cell(tmp_path, cells, image):
    table = measure_cells(cells, ArraySource(image))
    write_csv(cells, path := tmp_path / "cells.csv", ArraySource(image))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(cells)
    assert list(rows[0]) == list(table)
    assert [row["class"] for row in rows] == cells.classes
    for name in ("area_px", "solidity", "mean_eosin"):
        np.testing.assert_allclose([float(row[name]) for row in rows], table[name], rtol=1e-5)


def test_csv_without_cells_has_its_header(tmp_path, image):
    table = measure_cells(Cells.empty(60, 80, ("a",)), ArraySource(image))
    text = write_csv_table(table, tmp_path / "cells.csv").read_text()
    assert text.startswith("cell,class,score,area_px,")
    assert text.count("\n") == 1


def test_parquet_read_back_holds_every_cell(tmp_path, cells, image):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = measure_cells(cells, ArraySource(image))
    write_parquet(cells, tmp_path / "cells.parquet", ArraySource(image))
    columns = parquet.read_table(tmp_path / "cells.parquet").to_pydict()
    assert list(columns) == list(table)
    assert columns["class"] == cells.classes
    np.testing.assert_allclose(columns["solidity"], table["solidity"])


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, cells, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CellsegError, match="extra parquet"):
        write_parquet(cells, tmp_path / "cells.parquet")
