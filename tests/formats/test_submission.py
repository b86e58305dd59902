import json
import zipfile

import numpy as np
import pytest

from cellseg.errors import CellsegError
from cellseg.formats.coco_results import cells_to_coco_results
from cellseg.formats.submission import (
    make_submission,
    read_image_index,
    renumber_results,
    write_submission,
)

from .test_coco_results import draw_cells


def check_schema(rows, index):
    """Check a submission as the assignment describes it, independently of the writer."""
    sizes = {row["id"]: (row["height"], row["width"]) for row in index.values()}
    for row in rows:
        assert set(row) == {"image_id", "bbox", "score", "category_id", "segmentation"}
        assert type(row["image_id"]) is int
        assert type(row["category_id"]) is int
        assert 1 <= row["category_id"] <= 4
        assert len(row["bbox"]) == 4
        assert all(type(side) is float for side in row["bbox"])
        assert 0 <= row["score"] <= 1
        assert set(row["segmentation"]) == {"size", "counts"}
        assert tuple(row["segmentation"]["size"]) == sizes[row["image_id"]]
        assert type(row["segmentation"]["counts"]) is str


def test_submission_of_all_real_sizes_fits_the_schema(tmp_path, real_data):
    index = read_image_index(real_data / "hw3" / "test_image_name_to_ids.json")
    assert len(index) == 101
    results = []
    for row in index.values():
        cells = draw_cells(row["height"], row["width"], seed=row["id"])
        results += cells_to_coco_results(cells, row["id"])
    path = write_submission(results, tmp_path / "submission.zip", index)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["test-results.json"]
        rows = json.loads(archive.read("test-results.json"))
    check_schema(rows, index)
    assert {row["image_id"] for row in rows} == set(range(1, 102))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(image_id=9), "image_id 9"),
        (dict(category_id=0), "category_id 0"),
        (dict(category_id=5), "category_id 5"),
        (dict(score=1.5), "score 1.5"),
        (dict(bbox=[1, 2, 3]), "4 finite numbers"),
        (dict(bbox=[1, 2, 3, float("nan")]), "4 finite numbers"),
        (dict(segmentation={"size": [80, 60], "counts": "x"}), "mask size"),
        (dict(segmentation={"size": [60, 80], "counts": b"x"}), "not text"),
    ],
)
def test_submission_that_the_grader_would_refuse_is_refused(tmp_path, change, message):
    index = {"a.tif": {"file_name": "a.tif", "id": 1, "height": 60, "width": 80}}
    row = {**cells_to_coco_results(draw_cells(60, 80), 1)[0], **change}
    with pytest.raises(CellsegError, match=message):
        write_submission([row], tmp_path / "submission.zip", index)
    assert not (tmp_path / "submission.zip").exists()


@pytest.mark.parametrize(
    "text",
    ["{", "{}x", '[{"file_name": "a"}]', '["a"]', '[{"file_name":"a","id":1,"height":1,"width":1}'],
)
def test_index_that_is_none_is_reported(tmp_path, text):
    path = tmp_path / "index.json"
    path.write_text(text)
    with pytest.raises(CellsegError, match="index of test images"):
        read_image_index(path)


def test_index_that_names_a_file_twice_is_reported(tmp_path):
    row = {"file_name": "a.tif", "id": 1, "height": 1, "width": 1}
    path = tmp_path / "index.json"
    path.write_text(json.dumps([row, {**row, "id": 2}]))
    with pytest.raises(CellsegError, match="twice"):
        read_image_index(path)


def test_index_that_gives_one_id_to_two_files_is_reported(tmp_path):
    row = {"file_name": "a.tif", "id": 7, "height": 1, "width": 1}
    path = tmp_path / "index.json"
    path.write_text(json.dumps([row, {**row, "file_name": "b.tif"}]))
    with pytest.raises(CellsegError, match="several files the id 7"):
        read_image_index(path)


def index_of(**ids):
    """An index of images of 60 x 80 pixels."""
    return {
        f"{name}.tif": {"file_name": f"{name}.tif", "id": number, "height": 60, "width": 80}
        for name, number in ids.items()
    }


def predicted(*names, height=60):
    """Rows of coco_images.json and of coco_results.json, numbered from 1."""
    images = [
        {"id": number, "file_name": f"folder/{name}.tif", "height": height, "width": 80}
        for number, name in enumerate(names, 1)
    ]
    results = [
        row
        for image in images
        for row in cells_to_coco_results(draw_cells(height, 80, seed=image["id"]), image["id"])
    ]
    return results, images


def test_renumber_results_when_the_index_has_other_ids_then_only_these_change():
    results, images = predicted("a", "b")
    renumbered = renumber_results(results, images, index_of(b=7, gone=8, a=1))
    assert [row["image_id"] for row in renumbered] == [1] * 5 + [7] * 5
    assert [{**row, "image_id": 0} for row in renumbered] == [
        {**row, "image_id": 0} for row in results
    ]


def test_renumber_results_when_corners_are_wanted_then_boxes_are_those_of_the_cells():
    results, images = predicted("a")
    renumbered = renumber_results(results, images, index_of(a=1), "xyxy")
    np.testing.assert_allclose([row["bbox"] for row in renumbered], draw_cells(60, 80, 1).boxes)


@pytest.mark.parametrize(
    ("names", "height", "message"),
    [
        (["a", "c"], 60, "folder/c.tif is not in the index"),
        (["a"], 10, "folder/a.tif is 10 x 80 pixels, but the index says 60 x 80"),
        (["a", "a"], 60, "Two predicted images are named a.tif"),
    ],
)
def test_renumber_results_when_images_do_not_fit_the_index_then_says_which(names, height, message):
    results, images = predicted(*names, height=height)
    with pytest.raises(CellsegError, match=message):
        renumber_results(results, images, index_of(a=1, b=2))


def write_prediction(folder, names):
    """Write what `predict --format coco` and the homework provide."""
    results, images = predicted(*names)
    (folder / "coco_results.json").write_text(json.dumps(results))
    (folder / "coco_images.json").write_text(json.dumps(images))
    (folder / "index.json").write_text(json.dumps(list(index_of(a=5, b=6, gone=9).values())))
    return folder, folder / "index.json", folder / "submission.zip"


def test_make_submission_counts_images_without_prediction(tmp_path):
    arguments = write_prediction(tmp_path, ["a"])
    assert make_submission(*arguments) == 2
    with zipfile.ZipFile(tmp_path / "submission.zip") as archive:
        rows = json.loads(archive.read("test-results.json"))
    assert [row["image_id"] for row in rows] == [5] * 5
    before = (tmp_path / "submission.zip").read_bytes()
    make_submission(*arguments)
    assert (tmp_path / "submission.zip").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("coco_results.json", None, "coco_results.json cannot be read .*--format coco"),
        ("coco_results.json", "{", "coco_results.json cannot be read .*--format coco"),
        ("coco_results.json", "{}", "coco_results.json is not a list"),
        ("coco_results.json", '[{"image_id": 1}]', "holds damaged results"),
        ("coco_results.json", "[7]", "holds damaged results"),
        ("coco_images.json", "[]", "is not written, because .* holds no predicted image"),
        ("coco_images.json", "[{}]", "holds damaged results"),
    ],
)
def test_make_submission_when_files_are_damaged_then_keeps_the_old_one(
    tmp_path, name, content, message
):
    arguments = write_prediction(tmp_path, ["a"])
    (tmp_path / "submission.zip").write_text("old")
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(CellsegError, match=message):
        make_submission(*arguments)
    assert (tmp_path / "submission.zip").read_text() == "old"


def test_make_submission_when_a_result_is_of_no_listed_image_then_refuses(tmp_path):
    arguments = write_prediction(tmp_path, ["a"])
    rows = json.loads((tmp_path / "coco_results.json").read_text())
    rows[3]["image_id"] = 77
    (tmp_path / "coco_results.json").write_text(json.dumps(rows))
    with pytest.raises(CellsegError, match="Result 3 does not fit the submission: image_id"):
        make_submission(*arguments)
