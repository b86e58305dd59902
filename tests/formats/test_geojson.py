import json
import uuid

import numpy as np
import pytest
import shapely
import shapely.geometry

from cellseg.errors import CellDataError, CellsegError
from cellseg.formats.conversion.converting import check_source
from cellseg.formats.conversion.names import settle_classes
from cellseg.formats.geojson import read_geojson, write_geojson
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_crops, measure_rles
from tests.formats.qupath_files import SQUARE, make_object, make_typed, square

HOLE = [[4, 5], [4, 6], [6, 6], [6, 5], [4, 5]]


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


@pytest.mark.parametrize("name", ["a.geojson", "a.tif.geojson", "a.json"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_geojson_when_converted_then_classes_holes_and_ignored_regions_are_there(
    write_objects, run, read, wrapped, name
):
    features = [
        make_object([SQUARE, HOLE], {"name": "Tumor", "color": [200, 0, 0]}),
        make_object(
            [[[[10, 0], [12, 0], [12, 2], [10, 2], [10, 0]]], [SQUARE]],
            {"names": ["Immune", "CD8"]},
            "MultiPolygon",
        ),
        make_object([[[20, 0], [25, 0], [25, 5], [20, 5], [20, 0]]], {"name": "Ignore*"}),
    ]
    document = {"type": "FeatureCollection", "features": features} if wrapped else features
    report = run(read_geojson(*write_objects(document, name)))
    assert report.classes == ("Immune: CD8", "Tumor")
    expected = np.zeros((20, 30), bool)
    expected[3:9, 2:8] = True
    np.testing.assert_array_equal(read("a/class1.tif")[3:] > 0, expected[3:])
    expected[5:6, 4:6] = False
    np.testing.assert_array_equal(read("a/class2.tif") > 0, expected)
    assert np.count_nonzero(read("a/ignore.tif")) == 25
    assert report.losses == []


def test_geojson_of_one_open_polygon_without_class_is_closed_and_counted(write_objects, run):
    report = run(read_geojson(*write_objects(make_object([SQUARE[:-1]]))))
    assert report.classes == ("unclassified",)
    assert report.cells == {"unclassified": 1}
    assert [(loss.kind, loss.reason) for loss in report.losses] == [
        ("change", "open outline closed")
    ]


def test_geojson_nuclei_when_asked_for_then_taken_and_cells_without_are_counted(
    write_objects, run, read
):
    nucleus = {"type": "Polygon", "coordinates": [[[4, 4], [6, 4], [6, 6], [4, 6], [4, 4]]]}
    features = [make_object([SQUARE], nucleusGeometry=nucleus), make_object([SQUARE])]
    report = run(read_geojson(*write_objects(features), nuclei=True))
    assert np.count_nonzero(read("a/class1.tif")) == 4
    assert [loss.reason for loss in report.losses] == ["has no outline"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (make_object([[1, 1], [2, 2]], kind="LineString"), "is a LineString, which has no area"),
        (make_object([1, 1], kind="Point"), "is a Point, which has no area"),
        ({"type": "Feature", "geometry": None, "properties": None}, "has no outline"),
        ({"type": "Feature"}, "has no outline"),
        (make_object(None), "must be a list of x, y"),
        (make_object([SQUARE[0]]), "must be a list of x, y"),
        (make_object([[]]), "fewer than 3 points"),
        (make_object([]), "fewer than 3 points"),
        (make_object([], kind="MultiPolygon"), "fewer than 3 points"),
        (make_object([[[1, 1], [3, 3], [1, 1]]]), "fewer than 3 points"),
        (make_object([[[1, 1], [float("inf"), 3], [9, 1], [1, 1]]]), "not finite"),
        (make_object([[[100, 1], [130, 3], [190, 1], [100, 1]]]), "outside the image"),
    ],
)
def test_geojson_object_of_no_use_is_counted(write_objects, run, bad, reason):
    report = run(read_geojson(*write_objects([bad, make_object([SQUARE])])))
    (loss,) = report.losses
    assert loss.kind == "cell"
    assert reason in loss.reason
    assert report.cells == {"unclassified": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type": "FeatureColl', "cannot be read as JSON"),
        ("{}", "no GeoJSON of features"),
        ('{"type": "FeatureCollection"}', "no GeoJSON of features"),
        ("[1]", "no GeoJSON of features"),
        ("5", "no GeoJSON of features"),
    ],
)
def test_geojson_file_of_no_use_is_refused_or_counted(write_objects, run, text, message):
    folders = write_objects(text)
    with pytest.raises(CellDataError, match=rf"a\.geojson: .*{message}"):
        run(read_geojson(*folders), classes=["x"])
    report = run(read_geojson(*folders), classes=["x"], skip_bad=True)
    assert [loss.kind for loss in report.losses] == ["image"]


def test_geojson_without_objects_is_an_image_without_cells(write_objects, run, tmp_path):
    report = run(
        read_geojson(*write_objects({"type": "FeatureCollection", "features": []})),
        classes=["cell"],
    )
    assert report.written == 1
    assert sorted(path.name for path in (tmp_path / "out" / "a").iterdir()) == [
        "conversion.json",
        "image.tif",
    ]


def test_geojson_object_that_encloses_others_is_warned_of(write_objects, run):
    features = [
        make_typed("annotation", square(0, 0, 18), "Region"),
        make_typed("annotation", SQUARE),
        make_typed("annotation", square(10, 10, 4)),
    ]
    report = run(read_geojson(*write_objects(features)))
    (warning,) = [loss for loss in report.losses if loss.kind == "warning"]
    assert (warning.class_name, warning.label) == ("Region", "object x")
    assert "To check:" in report.to_text()


def test_geojson_nucleus_in_its_cell_is_not_warned_of(write_objects, run):
    features = [
        make_typed("detection", square(2, 2, 8)),
        make_typed("detection", square(4, 4, 4), "Nucleus"),
    ]
    assert run(read_geojson(*write_objects(features))).losses == []


def test_geojson_that_is_cut_off_is_told_before_classes_are_asked_for(write_objects):
    source = read_geojson(*write_objects('{"type": "FeatureColl'))
    with pytest.raises(CellDataError, match=r"a\.geojson: cannot be read as JSON"):
        check_source(source)
    with pytest.raises(CellsegError, match=r"--classes is needed.*a\.geojson: cannot be read"):
        settle_classes(source)


def test_geojson_of_other_names_is_told_with_the_nearest_before_classes(write_objects):
    source = read_geojson(*write_objects([], "a_1.geojson"))
    with pytest.raises(
        CellDataError, match=r"No annotated image.*a\.tif: .*the nearest is a_1\.geojson"
    ):
        check_source(source)


def test_geojson_of_a_whole_slide_is_refused_with_a_way_that_works(write_objects, run, monkeypatch):
    folders = write_objects([make_typed("cell", SQUARE)])
    monkeypatch.setattr("cellseg.images.opening.DEFAULT_MAX_PIXELS", 100)
    with pytest.raises(CellDataError, match=r"a\.tif: declares .* `cellseg convert labels images/"):
        run(read_geojson(*folders))


def test_geojson_of_a_slide_that_no_converter_reads_is_told_what_to_do(write_objects, tmp_path):
    folders = write_objects([make_typed("cell", SQUARE)], "b.geojson")
    (tmp_path / "images" / "b.mrxs").touch()
    (tmp_path / "images" / "a.tif").unlink()
    with pytest.raises(CellDataError, match=r"b\.mrxs is a whole slide.*convert labels"):
        check_source(read_geojson(*folders))


def test_geojson_when_written_and_read_again_then_every_pixel_is_the_same(
    tmp_path, cells, draw_picture, run, read
):
    draw_picture(tmp_path / "images" / "a.tif", (60, 80))
    (first,) = np.flatnonzero(cells.labels == 0)[:1]
    (second,) = np.flatnonzero(cells.labels == 1)[:1]
    chosen = cells[[first, second]]
    write_geojson(chosen, tmp_path / "geojson" / "a.geojson")
    report = run(read_geojson(tmp_path / "images", tmp_path / "geojson"))
    assert report.cells == {"b/c": 1, "tumour": 1}
    for place, number in ((0, 2), (1, 1)):  # classes are in alphabetical order
        expected = chosen[[place]].label_map() > 0
        np.testing.assert_array_equal(read(f"a/class{number}.tif") > 0, expected)


def test_geojson_collection_of_geometries_is_drawn_where_it_has_area(write_objects, run, read):
    line = {"type": "LineString", "coordinates": [[0, 0], [5, 5]]}
    area = {"type": "Polygon", "coordinates": [SQUARE]}
    made = [make_object([], {"name": "Tumor"}), make_object([], {"name": "Tumor"})]
    made[0]["geometry"] = {"type": "GeometryCollection", "geometries": [line, area]}
    made[1]["geometry"] = {"type": "GeometryCollection", "geometries": [line]}
    report = run(read_geojson(*write_objects(made)))
    assert np.count_nonzero(read("a/class1.tif")) == 36
    assert [loss.reason for loss in report.losses] == ["is a GeometryCollection, which has no area"]
