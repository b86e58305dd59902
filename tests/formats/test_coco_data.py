import io
import json
from contextlib import redirect_stdout

import numpy as np
import pytest
from pycocotools.coco import COCO

from cellseg.datasets.layer_instances import find_instances, to_data_instances
from cellseg.errors import CellDataError, CellsegError
from cellseg.formats.coco_data import read_coco, to_coco
from cellseg.formats.conversion.names import settle_classes

SQUARE = [2, 3, 8, 3, 8, 9, 2, 9]


def annotate(segmentation, number=1, **more):
    return {"id": number, "image_id": 1, "category_id": 1, "segmentation": segmentation, **more}


@pytest.fixture
def write(tmp_path, draw_picture):
    """Return a function that writes a COCO file of one image of 20 x 30 pixels."""

    def call(*annotations, **parts):
        draw_picture(tmp_path / "images" / "a" / "b.tif")
        document = {
            "images": [{"id": 1, "file_name": "a/b.tif", "height": 20, "width": 30}],
            "annotations": list(annotations),
            "categories": [{"id": 7, "name": "immune"}, {"id": 1, "name": "tumour"}],
            **parts,
        }
        path = tmp_path / "coco.json"
        path.write_text(json.dumps(document))
        return path, tmp_path / "images"

    return call


def test_coco_when_converted_then_polygons_and_rles_are_cells_and_crowds_are_ignored(
    write, run, read
):
    report = run(
        read_coco(
            *write(
                annotate([SQUARE]),
                annotate([SQUARE, [20, 0, 22, 0, 22, 2, 20, 2]], 2, category_id=7),
                annotate({"size": [20, 30], "counts": [590, 10]}, 3, category_id=7),
                annotate({"size": [20, 30], "counts": [400, 20, 180]}, 4, iscrowd=1),
                annotate([[25, 0, 30, 0, 30, 5, 25, 5]], 5, ignore=1),
            )
        )
    )
    assert report.classes == ("tumour", "immune")
    assert report.cells == {"tumour": 1, "immune": 2}
    expected = np.zeros((20, 30), int)
    expected[3:9, 2:8] = 1
    np.testing.assert_array_equal(read("a_b/class1.tif"), expected)
    expected = expected * 2
    expected[:2, 20:22], expected[10:, 29] = 2, 3
    np.testing.assert_array_equal(read("a_b/class2.tif"), expected)
    assert np.count_nonzero(read("a_b/ignore.tif")) == 20 + 25
    assert report.losses == []


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        (None, "has no mask, only a box"),
        ([], "has no mask, only a box"),
        ([[]], "fewer than 3 points"),
        ([[1, 1, 5, 5]], "fewer than 3 points"),
        ([[1, 1, 5, 5, 9]], "must be a list of x, y"),
        ([[1, 1, 5, None, 9, 9]], "not finite"),
        ([[1, 1, 5, float("nan"), 9, 9]], "not finite"),
        ([[1, 1], 5], "must be a list of x, y"),
        ("abc", "has no mask"),
        ({"size": [9, 9], "counts": "11"}, "not of the image's size"),
        ({"counts": "11"}, "not of the image's size"),
        ({"size": 5, "counts": "11"}, "not of the image's size"),
        ({"size": [20, 30], "counts": "zz"}, "damaged"),
    ],
)
def test_coco_annotation_of_no_use_is_counted(write, run, segmentation, reason):
    report = run(read_coco(*write(annotate(segmentation), annotate([SQUARE], 2))))
    (loss,) = report.losses
    assert (loss.kind, loss.label, loss.class_name) == ("cell", "annotation 1", "tumour")
    assert reason in loss.reason
    assert report.cells == {"tumour": 1}


def test_coco_when_a_category_is_not_listed_then_it_is_unknown(write):
    source = read_coco(*write(annotate([SQUARE], category_id=99)))
    with pytest.raises(CellsegError, match="category 99"):
        settle_classes(source)


def test_coco_annotation_of_no_listed_image_is_named(write, run):
    source = read_coco(*write(annotate([SQUARE], 5, image_id=3), annotate([SQUARE])))
    with pytest.raises(CellDataError, match="image 3, annotation 5: its image is not listed"):
        run(source)
    assert run(source, skip_bad=True).cells == {"tumour": 1}


def test_coco_when_an_image_is_missing_then_it_is_named_or_counted(write, run):
    rows = [{"id": 1, "file_name": "a/b.tif"}, {"id": 2, "file_name": "gone.png"}]
    source = read_coco(*write(annotate([SQUARE]), images=rows))
    with pytest.raises(CellDataError, match=r"gone\.png: the image is missing"):
        run(source)
    assert run(source, skip_bad=True).written == 1


def test_coco_when_the_image_is_of_another_size_then_error(write, run):
    rows = [{"id": 1, "file_name": "a/b.tif", "height": 30, "width": 20}]
    with pytest.raises(CellDataError, match=r"is 20 x 30 pixels but the COCO file says 30 x 20"):
        run(read_coco(*write(images=rows)))


@pytest.mark.parametrize("name", ["../../x.png", "/etc/x.png", "..\\x.png"])
def test_coco_file_name_that_leads_outside_is_refused(write, name):
    with pytest.raises(CellDataError, match="does not stay inside"):
        read_coco(*write(images=[{"id": 1, "file_name": name}]))


@pytest.mark.parametrize(
    "parts",
    [
        {"images": None},
        {"images": [{"id": 1}]},
        {"images": [[]]},
        {"annotations": {}},
        {"annotations": [{"id": 3}]},
        {"annotations": [5]},
        {"categories": [{"id": None, "name": "a"}]},
    ],
)
def test_coco_file_without_its_parts_is_refused(write, run, parts):
    with pytest.raises(
        CellsegError, match=r"coco\.json: is not a whole COCO file|--classes|neither a whole number"
    ):
        run(read_coco(*write(**parts)), classes=None)


def test_coco_file_that_lists_an_image_twice_is_refused(write):
    rows = [{"id": 1, "file_name": "a/b.tif"}] * 2
    with pytest.raises(CellDataError, match="an image id occurs twice"):
        read_coco(*write(images=rows))


@pytest.mark.parametrize("text", ["", '{"images": [', "\xff", "[" * 100_000])
def test_coco_file_that_is_no_json_is_refused(tmp_path, text):
    (tmp_path / "coco.json").write_text(text)
    with pytest.raises(CellDataError, match=r"coco\.json: cannot be read as JSON"):
        read_coco(tmp_path / "coco.json", tmp_path)


def test_coco_file_that_is_absent_is_named(tmp_path):
    with pytest.raises(CellDataError, match=r"coco\.json: no such file"):
        read_coco(tmp_path / "coco.json", tmp_path)


@pytest.mark.parametrize("spelled", [str, float, lambda number: f"{number}.0", "id-{}".format])
def test_coco_ids_as_text_or_floats_are_read(write, run, spelled):
    rows = [{"id": spelled(1), "file_name": "a/b.tif", "height": "20", "width": 30.0}]
    parts = {
        "images": rows,
        "categories": [{"id": spelled(7), "name": "immune"}, {"id": spelled(1), "name": "tumour"}],
    }
    cell = annotate([SQUARE], image_id=spelled(1), category_id=spelled(7), iscrowd="0", ignore="0")
    report = run(read_coco(*write(cell, **parts)))
    assert (report.cells, report.losses) == ({"immune": 1}, [])
    assert sorted(report.classes) == ["immune", "tumour"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"images": [{"id": 1.5, "file_name": "a/b.tif"}]}, "image id 1.5 is neither"),
        ({"images": [{"id": True, "file_name": "a/b.tif"}]}, "image id True is neither"),
        ({"annotations": [annotate([SQUARE], image_id=1.5)]}, "annotation 1: image_id 1.5"),
        (
            {"annotations": [annotate([SQUARE], iscrowd="maybe")]},
            "annotation 1: iscrowd is 'maybe'",
        ),
        ({"annotations": [annotate([SQUARE], ignore=2)]}, "annotation 1: ignore is 2"),
        (
            {"categories": [{"id": 1, "name": "a"}, {"id": "1", "name": "b"}]},
            "category id 1 stands for a and for b",
        ),
        ({"categories": [{"id": 1, "name": None}]}, "category id 1 has no name"),
        ({"categories": [{"id": 1, "name": " "}]}, "category id 1 has no name"),
    ],
)
def test_coco_values_that_are_ambiguous_are_refused_by_name(write, parts, message):
    with pytest.raises(CellDataError, match=message):
        read_coco(*write(**parts))


def test_coco_crowds_as_text_are_regions_to_ignore(write, run):
    report = run(read_coco(*write(annotate([SQUARE], iscrowd="1"), annotate([SQUARE], 2))))
    assert (report.cells, report.ignored_regions) == ({"tumour": 1}, (1, 1))


def test_coco_file_listed_twice_is_read_from_the_annotated_row_or_refused(write, run):
    rows = [{"id": 3, "file_name": "./a/b.tif"}, {"id": 1, "file_name": "a/b.tif"}]
    assert run(read_coco(*write(annotate([SQUARE]), images=rows))).cells == {"tumour": 1}
    both = annotate([SQUARE]), annotate([SQUARE], 2, image_id=3)
    with pytest.raises(CellDataError, match=r"b\.tif 2 times with annotations \(image ids 3, 1\)"):
        read_coco(*write(*both, images=rows))


def test_coco_when_every_rle_is_a_crowd_then_the_way_out_is_named(write, run, tmp_path):
    masks = [
        annotate({"size": [20, 30], "counts": [40 * k, 10, 590 - 40 * k]}, k, iscrowd=1)
        for k in (1, 2, 3)
    ]
    paths = write(*masks, annotate([[20, 0, 25, 0, 25, 5, 20, 5]], 9))
    (warning,) = read_coco(*paths).losses
    assert warning.kind == "warning"
    assert "all 3 run-length encodings have iscrowd=1" in warning.reason
    assert "--crowds-as-cells" in warning.reason
    report = run(read_coco(*paths, crowds_as_cells=True))
    assert (report.cells, report.losses) == ({"tumour": 4}, [])


def test_coco_when_a_crowd_is_beside_polygons_then_nothing_is_said(write):
    crowd = annotate({"size": [20, 30], "counts": [40, 10, 550]}, iscrowd=1)
    assert read_coco(*write(crowd, annotate([SQUARE], 2))).losses == []


def test_coco_parent_category_of_roboflow_is_named(write, run):
    categories = [
        {"id": 0, "name": "cells", "supercategory": "none"},
        {"id": 1, "name": "big cell", "supercategory": "cells"},
    ]
    report = run(read_coco(*write(annotate([SQUARE]), categories=categories)))
    assert [loss.kind for loss in report.losses] == ["warning"]
    assert '--classes "big cell" leaves it out' in report.to_text()


def test_coco_image_that_is_missing_is_named_with_the_nearest(write, run):
    rows = [{"id": 1, "file_name": "a/B 1.tif"}]
    with pytest.raises(CellDataError, match=r"the image is missing; the nearest is b\.tif"):
        run(read_coco(*write(images=rows)))


def test_to_coco_when_read_by_pycocotools_then_masks_and_crowds_are_there(tmp_path):
    cells = np.zeros((12, 16), np.int32)
    cells[1:4, 2:6] = 7
    cells[8:10, 10:15] = 70_000
    cells[11, 0] = 7
    found = find_instances([cells, (cells == 7).astype(np.int32)])
    instances = to_data_instances(found, (1, -1))
    entry = {"img_id": 5, "file_name": "a/image.tif", "height": 12, "width": 16}
    empty = {**entry, "img_id": 6, "instances": []}
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(to_coco([{**entry, "instances": instances}, empty], ("x", "y"))))
    with redirect_stdout(io.StringIO()):
        coco = COCO(path)
    assert coco.getImgIds() == [5, 6]
    assert [a["category_id"] for a in coco.loadAnns(coco.getAnnIds(iscrowd=False))] == [2, 2]
    crowds = coco.loadAnns(coco.getAnnIds(iscrowd=True))
    assert [a["category_id"] for a in crowds] == [1, 2]
    first = coco.loadAnns(coco.getAnnIds(imgIds=[5]))[0]
    assert first["bbox"] == [0, 1, 6, 11]
    np.testing.assert_array_equal(coco.annToMask(first), cells == 7)
