import json
import uuid

import numpy as np
import pytest
import shapely
import shapely.geometry

from cellseg.formats.geojson import write_geojson
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_crops, measure_rles


def written(cells, path, palette=()):
    """Write cells and read the document back."""
    write_geojson(cells, path, palette=palette)
    return json.loads(path.read_text())


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    crops = [rng.random(rng.integers(1, 12, 2)) < 0.7 for _ in range(40)]
    crops.append(np.pad(np.zeros((2, 2), bool), 2, constant_values=True))
    rles = encode_crops(crops, rng.integers(0, 60, 41), rng.integers(0, 40, 41), 60, 80)
    boxes, areas = measure_rles(rles)
    cells = Cells(boxes, rng.random(41), rng.integers(0, 2, 41), rles, 60, 80, ("tumour", "b/c"))
    return cells[areas > 0]


def test_geojson_read_by_shapely_gives_back_every_mask(tmp_path, cells):
    document = written(cells, tmp_path / "cells.geojson")
    rows, columns = np.mgrid[:60, :80]
    assert len(document["features"]) == len(cells)
    for feature, crop in zip(document["features"], cells.crops(), strict=True):
        shape = shapely.geometry.shape(feature["geometry"])
        assert shape.is_valid
        expected = np.zeros((60, 80), dtype=bool)
        h, w = crop.mask.shape
        expected[crop.y0 : crop.y0 + h, crop.x0 : crop.x0 + w] = crop.mask
        np.testing.assert_array_equal(
            shapely.contains_xy(shape, columns + 0.5, rows + 0.5), expected
        )
    assert any(
        len(feature["geometry"]["coordinates"]) > 1
        for feature in document["features"]
        if feature["geometry"]["type"] == "Polygon"
    )


def test_geojson_follows_rfc_7946(tmp_path, cells):
    document = written(cells, tmp_path / "cells.geojson")
    assert document["type"] == "FeatureCollection"
    for feature in document["features"]:
        assert set(feature) == {"type", "id", "geometry", "properties"}
        assert feature["type"] == "Feature"
        geometry = feature["geometry"]
        assert geometry["type"] in ("Polygon", "MultiPolygon")
        nested = geometry["coordinates"]
        for polygon in [nested] if geometry["type"] == "Polygon" else nested:
            for place, ring in enumerate(polygon):
                assert len(ring) >= 4
                assert ring[0] == ring[-1]
                assert all(len(position) == 2 for position in ring)
                assert shapely.LinearRing(ring).is_ccw == (place == 0)


def test_geojson_has_what_qupath_shows(tmp_path, cells):
    document = written(cells, tmp_path / "cells.geojson")
    for feature, name, score in zip(document["features"], cells.classes, cells.scores, strict=True):
        properties = feature["properties"]
        assert properties["objectType"] == "detection"
        assert properties["classification"]["name"] == name
        assert all(0 <= part <= 255 for part in properties["classification"]["color"])
        assert properties["measurements"]["score"] == pytest.approx(score, abs=1e-5)
        assert str(uuid.UUID(feature["id"])) == feature["id"]
    ids = [feature["id"] for feature in document["features"]]
    assert len(set(ids)) == len(ids)


def test_geojson_of_a_coarser_level_is_in_full_resolution_pixels(tmp_path, cells):
    fine = written(cells, tmp_path / "a.geojson")
    cells.downsample = 2.5
    coarse = written(cells, tmp_path / "b.geojson")
    for one, two in zip(fine["features"], coarse["features"], strict=True):
        areas = [shapely.geometry.shape(item["geometry"]).area for item in (one, two)]
        assert areas[1] == pytest.approx(areas[0] * 2.5**2)


def test_geojson_without_cells_is_an_empty_collection(tmp_path):
    document = written(Cells.empty(5, 5, ("a",)), tmp_path / "cells.geojson")
    assert document == {"type": "FeatureCollection", "features": []}


def test_geojson_when_a_palette_is_given_then_classes_have_its_colors(tmp_path, cells):
    document = written(cells, tmp_path / "cells.geojson", [(1, 2, 3), (4, 5, 6)])
    colors = [feature["properties"]["classification"]["color"] for feature in document["features"]]
    assert colors == [[1, 2, 3] if label == 0 else [4, 5, 6] for label in cells.labels]
