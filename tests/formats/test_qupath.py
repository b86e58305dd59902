import json

import numpy as np
import pytest

from cellseg.errors import CellDataError
from cellseg.formats.qupath import read_qupath

SQUARE = [[2, 3], [8, 3], [8, 9], [2, 9], [2, 3]]
HOLE = [[4, 5], [4, 6], [6, 6], [6, 5], [4, 5]]


def feature(coordinates, classification=None, kind="Polygon", **more):
    properties = {"objectType": "annotation"}
    if classification is not None:
        properties["classification"] = classification
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "id": "x", "geometry": geometry, "properties": properties, **more}


@pytest.fixture
def write(tmp_path, draw_picture):
    """Return a function that writes an image of 20 x 30 pixels and its GeoJSON."""

    def call(document, name="a.geojson"):
        draw_picture(tmp_path / "images" / "a.tif")
        (tmp_path / "geojson").mkdir(exist_ok=True)
        text = document if isinstance(document, str) else json.dumps(document)
        (tmp_path / "geojson" / name).write_text(text)
        return tmp_path / "images", tmp_path / "geojson"

    return call


@pytest.mark.parametrize("name", ["a.geojson", "a.tif.geojson", "a.json"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_geojson_when_converted_then_classes_holes_and_ignored_regions_are_there(
    write, run, read, wrapped, name
):
    features = [
        feature([SQUARE, HOLE], {"name": "Tumor", "color": [200, 0, 0]}),
        feature(
            [[[[10, 0], [12, 0], [12, 2], [10, 2], [10, 0]]], [SQUARE]],
            {"names": ["Immune", "CD8"]},
            "MultiPolygon",
        ),
        feature([[[20, 0], [25, 0], [25, 5], [20, 5], [20, 0]]], {"name": "Ignore*"}),
    ]
    document = {"type": "FeatureCollection", "features": features} if wrapped else features
    report = run(read_qupath(*write(document, name)))
    assert report.classes == ("Immune: CD8", "Tumor")
    expected = np.zeros((20, 30), bool)
    expected[3:9, 2:8] = True
    np.testing.assert_array_equal(read("a/class1.tif")[3:] > 0, expected[3:])
    expected[5:6, 4:6] = False
    np.testing.assert_array_equal(read("a/class2.tif") > 0, expected)
    assert np.count_nonzero(read("a/ignore.tif")) == 25
    assert report.losses == []


def test_geojson_of_one_open_polygon_without_class_is_closed_and_counted(write, run):
    report = run(read_qupath(*write(feature([SQUARE[:-1]]))))
    assert report.classes == ("unclassified",)
    assert report.cells == {"unclassified": 1}
    assert [(loss.kind, loss.reason) for loss in report.losses] == [
        ("change", "open outline closed")
    ]


def test_geojson_nuclei_when_asked_for_then_taken_and_cells_without_are_counted(write, run, read):
    nucleus = {"type": "Polygon", "coordinates": [[[4, 4], [6, 4], [6, 6], [4, 6], [4, 4]]]}
    features = [feature([SQUARE], nucleusGeometry=nucleus), feature([SQUARE])]
    report = run(read_qupath(*write(features), nuclei=True))
    assert np.count_nonzero(read("a/class1.tif")) == 4
    assert [loss.reason for loss in report.losses] == ["has no outline"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (feature([[1, 1], [2, 2]], kind="LineString"), "is a LineString, which has no area"),
        (feature([1, 1], kind="Point"), "is a Point, which has no area"),
        ({"type": "Feature", "geometry": None, "properties": None}, "has no outline"),
        ({"type": "Feature"}, "has no outline"),
        (feature(None), "no list of x, y"),
        (feature([SQUARE[0]]), "no list of x, y"),
        (feature([[]]), "fewer than 3 points"),
        (feature([]), "fewer than 3 points"),
        (feature([], kind="MultiPolygon"), "fewer than 3 points"),
        (feature([[[1, 1], [3, 3], [1, 1]]]), "fewer than 3 points"),
        (feature([[[1, 1], [float("inf"), 3], [9, 1], [1, 1]]]), "not finite"),
        (feature([[[100, 1], [130, 3], [190, 1], [100, 1]]]), "outside the image"),
    ],
)
def test_geojson_object_of_no_use_is_counted(write, run, bad, reason):
    report = run(read_qupath(*write([bad, feature([SQUARE])])))
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
def test_geojson_file_of_no_use_is_refused_or_counted(write, run, text, message):
    folders = write(text)
    with pytest.raises(CellDataError, match=rf"a\.geojson: .*{message}"):
        run(read_qupath(*folders), classes=["x"])
    report = run(read_qupath(*folders), classes=["x"], skip_bad=True)
    assert [loss.kind for loss in report.losses] == ["image"]


def test_geojson_without_objects_is_an_image_without_cells(write, run, tmp_path):
    report = run(
        read_qupath(*write({"type": "FeatureCollection", "features": []})), classes=["cell"]
    )
    assert report.written == 1
    assert sorted(path.name for path in (tmp_path / "out" / "a").iterdir()) == [
        "conversion.json",
        "image.tif",
    ]
