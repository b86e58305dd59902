"""Which of QuPath's objects become cells: by type, class and plane."""

import numpy as np
import pytest

from cellseg.errors import CellDataError
from cellseg.formats.geojson import read_geojson
from cellseg.formats.qupath_objects import Plane
from tests.formats.qupath_files import SQUARE, make_object, make_typed, square


@pytest.mark.parametrize("kind", ["tile", "tmaCore", "TMA core", "root"])
@pytest.mark.parametrize("name", ["Tumor", "Ignore*"])
def test_geojson_tiles_and_cores_are_never_cells_nor_ignored(write_objects, run, read, kind, name):
    features = [make_typed(kind, square(0, 0, 18), name), make_typed("annotation", SQUARE)]
    report = run(read_geojson(*write_objects(features)))
    assert (report.cells, report.ignored_regions) == ({"Tumor": 1}, (0, 0))
    assert np.count_nonzero(read("a/class1.tif")) == 36
    assert [loss.kind for loss in report.losses] == ["cell"]


@pytest.mark.parametrize("kind", ["cell", "detection"])
def test_geojson_annotations_when_detections_exist_then_left_out_but_ignored_ones(
    write_objects, run, read, kind
):
    features = [
        make_typed("annotation", square(0, 0, 18), "Region"),
        make_typed("annotation", square(20, 0, 5), "Ignore*"),
        make_typed(kind, SQUARE),
    ]
    report = run(read_geojson(*write_objects(features)))
    assert report.classes == ("Tumor",)
    assert (report.cells, report.ignored_regions) == ({"Tumor": 1}, (1, 1))
    assert np.count_nonzero(read("a/class1.tif")) == 36
    (loss,) = report.losses
    assert loss.reason.startswith("is an annotation, where")
    assert "--objects" in loss.reason


def test_geojson_objects_when_chosen_then_only_those(write_objects, run):
    features = [make_typed("annotation", SQUARE, "Region"), make_typed("cell", square(20, 0, 5))]
    report = run(read_geojson(*write_objects(features), objects=["annotation"]))
    assert report.cells == {"Region": 1}
    assert "is a cell, where" in report.losses[0].reason


def test_geojson_of_qupath_0_2_when_read_then_types_are_those_of_the_ids(write_objects, run):
    features = [make_object([square(0, 0, 18)]), make_object([SQUARE])]
    for made, old in zip(features, ("PathAnnotationObject", "PathDetectionObject"), strict=True):
        made["id"] = old
        del made["properties"]["objectType"]
    report = run(read_geojson(*write_objects(features)))
    assert (report.cells, len(report.losses)) == ({"unclassified": 1}, 1)


def test_geojson_planes_when_several_then_one_is_chosen_or_all_are_refused(write_objects, run):
    folders = write_objects(
        [make_typed("cell", SQUARE), make_typed("cell", square(3, 3, 6), plane=(2, 1))]
    )
    with pytest.raises(CellDataError, match=r"a\.geojson: .*1 at z=0, t=0, 1 at z=2, t=1.*--z"):
        run(read_geojson(*folders))
    report = run(read_geojson(*folders, plane=Plane(z=2)))
    assert report.cells == {"Tumor": 1}
    assert [loss.reason for loss in report.losses] == ["is on another plane"]


def test_geojson_plane_that_is_absent_is_refused(write_objects, run):
    folders = write_objects([make_typed("cell", SQUARE, plane=(3, 0))])
    with pytest.raises(CellDataError, match=r"no object on the plane chosen .* only at z=3, t=0"):
        run(read_geojson(*folders, plane=Plane(z=0)))
    assert run(read_geojson(*folders)).cells == {"Tumor": 1}


def test_geojson_channels_when_several_then_one_is_chosen_or_all_are_refused(write_objects, run):
    objects = [make_typed("cell", square(3 * place, 3, 2), plane=(0, 0)) for place in range(3)]
    for place, made in enumerate(objects, start=-1):
        made["geometry"]["plane"]["c"] = place  # -1 is all channels
    folders = write_objects(objects)
    with pytest.raises(CellDataError, match=r"several planes .*1 at z=0, t=0, c=1\).*--c"):
        run(read_geojson(*folders))
    report = run(read_geojson(*folders, plane=Plane(c=1)))
    assert report.cells == {"Tumor": 2}


@pytest.mark.parametrize("key", ["objectType", "object_type"])
@pytest.mark.parametrize("kind", ["tile", "PathTileObject", "TMA core", "tma_core", "Root"])
def test_geojson_types_that_are_no_cells_are_found_however_they_are_spelled(
    write_objects, run, key, kind
):
    other = make_typed("cell", square(1, 1, 18))
    other["properties"] = {key: kind}
    folders = write_objects([other, make_typed("cell", SQUARE)])
    report = run(read_geojson(*folders))
    assert report.cells == {"Tumor": 1}
    assert "not a cell" in report.losses[0].reason


def test_geojson_of_tiles_only_says_that_no_object_is_a_cell(write_objects):
    folders = write_objects([make_typed("tile", SQUARE), make_typed("root", SQUARE)])
    with pytest.raises(CellDataError, match=r"geojson: holds no cell, only .* root object, tile"):
        read_geojson(*folders)
