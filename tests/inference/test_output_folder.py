"""The folder of a job: what is finished, what belongs to it, and who may write."""

import json

import pytest

from cellseg.errors import CellsegError
from cellseg.inference.image_list import InputImage
from cellseg.inference.output_folder import OutputFolder, OutputOptions

FACTS = {"height": 4, "width": 5, "cells": 2}


@pytest.fixture
def image(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.tif").write_bytes(b"pixels")
    return InputImage(tmp_path / "in" / "a.tif", "a")


@pytest.fixture
def make_folder(tmp_path):
    def make(formats=("geojson",), settings=None, **options):
        options = OutputOptions(tmp_path / "out", formats, **options)
        return OutputFolder(options, ("x", "y"), settings or {"weights": "1"})

    return make


def write_outputs(folder, image, *suffixes):
    for suffix in suffixes:
        path = folder.stem_of(image)
        path.parent.mkdir(exist_ok=True)
        path.with_name(path.name + suffix).write_text("[]")


def test_image_when_its_record_is_written_then_finished_with_its_facts(make_folder, image):
    folder = make_folder()
    assert folder.read_finished(image) is None
    write_outputs(folder, image, ".geojson")
    assert folder.read_finished(image) is None
    folder.finish(image, FACTS)
    record = make_folder().read_finished(image)
    assert record is not None
    assert FACTS.items() <= record.items()
    assert record["files"] == ["a.geojson"]


def test_image_when_anything_that_decides_its_outputs_changes_then_not_finished(make_folder, image):
    folder = make_folder()
    write_outputs(folder, image, ".geojson")
    folder.finish(image, FACTS)
    assert make_folder(settings={"weights": "2"}).read_finished(image) is None
    assert make_folder(score_thr=0.6).read_finished(image) is None
    assert make_folder(("geojson", "csv")).read_finished(image) is None
    assert make_folder().read_finished(image) is not None
    image.path.write_bytes(b"other pixels")
    assert make_folder().read_finished(image) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cells": 1'])
def test_image_when_its_record_is_damaged_then_not_finished(make_folder, image, text):
    folder = make_folder()
    write_outputs(folder, image, ".geojson")
    folder.finish(image, FACTS)
    (record,) = (path for path in folder.options.folder.iterdir() if "done" in path.name)
    record.write_text(text)
    assert folder.read_finished(image) is None


def test_formats_when_added_later_then_the_record_lists_both(make_folder, image):
    first = make_folder()
    write_outputs(first, image, ".geojson", ".cells.csv")
    first.finish(image, FACTS)
    second = make_folder(("csv",))
    second.finish(image, FACTS)
    assert second.read_finished(image)["files"] == ["a.cells.csv", "a.geojson"]


def test_half_files_when_removed_then_only_those_of_the_jobs_images(make_folder, image):
    folder = make_folder()
    write_outputs(folder, image, ".geojson")
    out = folder.options.folder
    (out / ".a.geojson.x1y2.part").touch()
    (out / ".b.geojson.x1y2.part").touch()
    (out / "notes.part").touch()
    folder.remove_half_written([image])
    names = sorted(path.name for path in out.iterdir())
    assert names == [".b.geojson.x1y2.part", "a.geojson", "notes.part"]


def test_folder_when_taken_then_others_wait_until_it_is_released(make_folder):
    first, second = make_folder(), make_folder()
    first.take()
    with pytest.raises(CellsegError, match="Another run is predicting into"):
        second.take()
    first.release()
    second.take()
    second.release()
    second.release()
    assert list(first.options.folder.iterdir()) == []


def test_images_when_they_lie_where_outputs_go_then_refused(tmp_path):
    (tmp_path / "a.overlay.png").touch()
    images = [InputImage(tmp_path / "a.overlay.png", "a.overlay"), InputImage(tmp_path / "a", "a")]
    folder = OutputFolder(OutputOptions(tmp_path, ("overlay",)), ("x",), {})
    with pytest.raises(CellsegError, match=r"a\.overlay\.png would be replaced"):
        folder.refuse_replacing(images)
    folder.refuse_replacing(images[:1])


def test_coco_when_nothing_is_finished_then_nothing_is_joined(make_folder, image):
    folder = make_folder(("coco",))
    folder.join_coco([image])
    assert not (folder.options.folder / "coco_results.json").exists()
    write_outputs(folder, image, ".coco.json")
    folder.finish(image, FACTS)
    folder.join_coco([image])
    (row,) = json.loads((folder.options.folder / "coco_images.json").read_text())
    assert (row["name"], row["height"], row["width"]) == ("a", 4, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_thr": 7}, "score threshold must be at least 0 and at most 1, not 7"),
        ({"mpp": -1.0}, "pixel size to predict at must be more than 0, not -1"),
        ({"pixel_size_um": float("nan")}, "pixel size of the files must be more than 0, not nan"),
    ],
)
def test_output_options_that_make_no_sense_are_refused(tmp_path, options, message):
    with pytest.raises(CellsegError, match=message):
        OutputOptions(tmp_path, ("labels",), **options)


@pytest.mark.parametrize("inside", [".", "deep/er"])
def test_output_folder_that_is_a_file_is_refused(tmp_path, inside):
    (tmp_path / "out").touch()
    with pytest.raises(CellsegError, match="out is a file"):
        OutputOptions(tmp_path / "out" / inside, ("labels",))


@pytest.mark.parametrize(
    "change",
    [{"name": ["b"]}, {"name": None}, {"file_name": 5}, {"id": "1"}, {"id": True}, {"height": 4.0}],
)
def test_joined_images_when_a_row_is_damaged_then_it_is_left_out(make_folder, image, change):
    folder = make_folder(("coco",))
    write_outputs(folder, image, ".coco.json")
    folder.finish(image, FACTS)
    other = {"id": 1, "name": "b", "file_name": "b.tif", "height": 4, "width": 5}
    write_outputs(folder, InputImage(image.path, "b"), ".coco.json")
    (folder.options.folder / "coco_images.json").write_text(json.dumps([{**other, **change}]))
    folder.refuse_mixing([image])
    folder.join_coco([image])
    rows = json.loads((folder.options.folder / "coco_images.json").read_text())
    assert [row["name"] for row in rows] == ["a"]


def test_joined_images_when_one_has_gone_or_is_no_file_name_then_its_cells_stay(make_folder, image):
    folder = make_folder(("coco",))
    write_outputs(folder, image, ".coco.json")
    write_outputs(folder, InputImage(image.path, "b"), ".coco.json")
    folder.finish(image, FACTS)
    row = {"id": 1, "name": "b", "file_name": "b\0.tif", "height": 4, "width": 5}
    (folder.options.folder / "coco_images.json").write_text(json.dumps([row]))
    folder.refuse_mixing([image])
    folder.join_coco([image])
    rows = json.loads((folder.options.folder / "coco_images.json").read_text())
    assert [row["name"] for row in rows] == ["a", "b"]


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000])
def test_results_of_an_earlier_run_when_damaged_then_the_error_names_them(make_folder, image, text):
    folder = make_folder(("coco",))
    write_outputs(folder, image, ".coco.json")
    folder.finish(image, FACTS)
    (folder.options.folder / "a.coco.json").write_text(text)
    with pytest.raises(CellsegError, match=r"a\.coco\.json: cannot be read"):
        folder.join_coco([image])
