import json

import numpy as np
import pytest
import tifffile

from cellseg.errors import CellDataError, CellsegError
from cellseg.formats.conversion.converting import check_source
from cellseg.formats.conversion.names import settle_classes
from cellseg.formats.label_folders import read_label_folders
from cellseg.formats.qupath import Plane, read_qupath

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
        (feature(None), "must be a list of x, y"),
        (feature([SQUARE[0]]), "must be a list of x, y"),
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


def square(x, y, size):
    corners = [[x, y], [x + size, y], [x + size, y + size], [x, y + size], [x, y]]
    return corners


def typed(object_type, coordinates, name="Tumor", plane=None):
    made = feature([coordinates], {"name": name})
    made["properties"]["objectType"] = object_type
    if plane is not None:
        made["geometry"]["plane"] = {"c": -1, "z": plane[0], "t": plane[1]}
    return made


@pytest.mark.parametrize("kind", ["tile", "tmaCore", "TMA core", "root"])
@pytest.mark.parametrize("name", ["Tumor", "Ignore*"])
def test_geojson_tiles_and_cores_are_never_cells_nor_ignored(write, run, read, kind, name):
    features = [typed(kind, square(0, 0, 18), name), typed("annotation", SQUARE)]
    report = run(read_qupath(*write(features)))
    assert (report.cells, report.ignored_regions) == ({"Tumor": 1}, (0, 0))
    assert np.count_nonzero(read("a/class1.tif")) == 36
    assert [loss.kind for loss in report.losses] == ["cell"]


@pytest.mark.parametrize("kind", ["cell", "detection"])
def test_geojson_annotations_when_detections_exist_then_left_out_but_ignored_ones(
    write, run, read, kind
):
    features = [
        typed("annotation", square(0, 0, 18), "Region"),
        typed("annotation", square(20, 0, 5), "Ignore*"),
        typed(kind, SQUARE),
    ]
    report = run(read_qupath(*write(features)))
    assert report.classes == ("Tumor",)
    assert (report.cells, report.ignored_regions) == ({"Tumor": 1}, (1, 1))
    assert np.count_nonzero(read("a/class1.tif")) == 36
    (loss,) = report.losses
    assert loss.reason.startswith("is an annotation, where")
    assert "--objects" in loss.reason


def test_geojson_objects_when_chosen_then_only_those(write, run):
    features = [typed("annotation", SQUARE, "Region"), typed("cell", square(20, 0, 5))]
    report = run(read_qupath(*write(features), objects=["annotation"]))
    assert report.cells == {"Region": 1}
    assert "is a cell, where" in report.losses[0].reason


def test_geojson_of_qupath_0_2_when_read_then_types_are_those_of_the_ids(write, run):
    features = [feature([square(0, 0, 18)]), feature([SQUARE])]
    for made, old in zip(features, ("PathAnnotationObject", "PathDetectionObject"), strict=True):
        made["id"] = old
        del made["properties"]["objectType"]
    report = run(read_qupath(*write(features)))
    assert (report.cells, len(report.losses)) == ({"unclassified": 1}, 1)


def test_geojson_object_that_encloses_others_is_warned_of(write, run):
    features = [
        typed("annotation", square(0, 0, 18), "Region"),
        typed("annotation", SQUARE),
        typed("annotation", square(10, 10, 4)),
    ]
    report = run(read_qupath(*write(features)))
    (warning,) = [loss for loss in report.losses if loss.kind == "warning"]
    assert (warning.class_name, warning.label) == ("Region", "object x")
    assert "To check:" in report.to_text()


def test_geojson_nucleus_in_its_cell_is_not_warned_of(write, run):
    features = [typed("detection", square(2, 2, 8)), typed("detection", square(4, 4, 4), "Nucleus")]
    assert run(read_qupath(*write(features))).losses == []


def test_geojson_planes_when_several_then_one_is_chosen_or_all_are_refused(write, run):
    folders = write([typed("cell", SQUARE), typed("cell", square(3, 3, 6), plane=(2, 1))])
    with pytest.raises(CellDataError, match=r"a\.geojson: .*1 at z=0, t=0, 1 at z=2, t=1.*--z"):
        run(read_qupath(*folders))
    report = run(read_qupath(*folders, plane=Plane(z=2)))
    assert report.cells == {"Tumor": 1}
    assert [loss.reason for loss in report.losses] == ["is on another plane"]


def test_geojson_plane_that_is_absent_is_refused(write, run):
    folders = write([typed("cell", SQUARE, plane=(3, 0))])
    with pytest.raises(CellDataError, match=r"no object on the plane chosen .* only at z=3, t=0"):
        run(read_qupath(*folders, plane=Plane(z=0)))
    assert run(read_qupath(*folders)).cells == {"Tumor": 1}


def test_geojson_that_is_cut_off_is_told_before_classes_are_asked_for(write):
    source = read_qupath(*write('{"type": "FeatureColl'))
    with pytest.raises(CellDataError, match=r"a\.geojson: cannot be read as JSON"):
        check_source(source)
    with pytest.raises(CellsegError, match=r"--classes is needed.*a\.geojson: cannot be read"):
        settle_classes(source)


def test_geojson_of_other_names_is_told_with_the_nearest_before_classes(write):
    source = read_qupath(*write([], "a_1.geojson"))
    with pytest.raises(
        CellDataError, match=r"No annotated image.*a\.tif: .*the nearest is a_1\.geojson"
    ):
        check_source(source)


def test_geojson_of_a_whole_slide_is_refused_with_a_way_that_works(write, run, monkeypatch):
    folders = write([typed("cell", SQUARE)])
    monkeypatch.setattr("cellseg.images.opening.DEFAULT_MAX_PIXELS", 100)
    with pytest.raises(CellDataError, match=r"a\.tif: declares .* `cellseg convert labels images/"):
        run(read_qupath(*folders))


def test_geojson_of_a_slide_that_no_converter_reads_is_told_what_to_do(write, tmp_path):
    folders = write([typed("cell", SQUARE)], "b.geojson")
    (tmp_path / "images" / "b.mrxs").touch()
    (tmp_path / "images" / "a.tif").unlink()
    with pytest.raises(CellDataError, match=r"b\.mrxs is a whole slide.*convert labels"):
        check_source(read_qupath(*folders))


def test_labels_that_the_script_for_slides_writes_are_converted(run, tmp_path, draw_picture):
    name = "slide [x=0,y=0,w=30,h=20].tif"
    draw_picture(tmp_path / "images" / name)
    (tmp_path / "masks").mkdir()
    labels = np.zeros((20, 30), np.uint16)
    labels[2:5, 3:6] = 300
    tifffile.imwrite(tmp_path / "masks" / name, labels)
    report = run(read_label_folders(tmp_path / "images", tmp_path / "masks"))
    assert report.cells == {"cell": 1}
