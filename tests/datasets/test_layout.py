"""Which files make up an image, and which are refused."""

import json
import os

import numpy as np
import pytest

from cellseg.datasets.layout import (
    FileNames,
    find_images,
    name_label_files,
    read_name_list,
    read_test_index,
)
from cellseg.errors import CellDataError

NAMES = FileNames("image.tif", (("class1.tif",), ("class2.tif",)), "ignore.tif")
ONE = np.ones((12, 16), np.uint8)


def test_find_images_when_labels_are_missing_then_only_existing_ones_listed(tmp_path, draw_image):
    draw_image(tmp_path, "b", {"class2.tif": ONE, "ignore.tif": ONE})
    draw_image(tmp_path, "a")
    (tmp_path / ".cellseg_cache").mkdir()
    (tmp_path / "notes").mkdir()
    images, problems = find_images([tmp_path], NAMES)
    assert problems == []
    assert [(i.name, i.img_id) for i in images] == [("a", 1), ("b", 2)]
    assert images[0].layer_classes == ()
    assert images[1].layer_classes == (1, -1)
    assert [p.name for p in images[1].label_paths] == ["class2.tif", "ignore.tif"]


def test_find_images_when_included_then_ids_stay_those_of_the_whole_folder(tmp_path, draw_image):
    for name in ("a", "b", "site/c"):
        draw_image(tmp_path, name)
    images, _ = find_images([tmp_path], NAMES, ["b", "site/c"])
    assert [(i.name, i.img_id) for i in images] == [("b", 2), ("site/c", 3)]
    with pytest.raises(CellDataError, match="absent"):
        find_images([tmp_path], NAMES, ["b", "absent"])
    with pytest.raises(CellDataError, match="not there"):
        find_images([tmp_path / "site"], NAMES, ["../a"])


def test_find_images_when_several_roots_then_names_stay_unique(tmp_path, draw_image):
    draw_image(tmp_path / "one", "a")
    draw_image(tmp_path / "two", "a")
    images, _ = find_images([tmp_path / "one", tmp_path / "two"], NAMES)
    assert [i.name for i in images] == ["one/a", "two/a"]
    assert images[1].root == tmp_path / "two"


@pytest.mark.parametrize("unknown", ["class3.tif", "Class1.TIF", "class1.tiff"])
def test_find_images_when_unknown_label_file_then_reported_unless_allowed(
    tmp_path, draw_image, unknown
):
    folder = draw_image(tmp_path, "a", {"class1.tif": ONE})
    (folder / unknown).write_bytes(b"")
    (folder / "notes.txt").write_text("fine")
    images, problems = find_images([tmp_path], NAMES)
    assert images == []
    assert unknown in problems[0]
    assert "class1.tif, class2.tif" in problems[0]
    lenient = FileNames(NAMES.image, NAMES.labels, NAMES.ignore, allow_unknown=True)
    assert len(find_images([tmp_path], lenient)[0]) == 1


def test_find_images_when_image_is_missing_beside_labels_then_reported(tmp_path, draw_image):
    draw_image(tmp_path, "a")
    (draw_image(tmp_path, "b", {"class1.tif": ONE}) / "image.tif").unlink()
    images, problems = find_images([tmp_path], NAMES)
    assert [i.name for i in images] == ["a"]
    assert "b/image.tif: no such file" in problems[0]


def test_find_images_when_nothing_there_then_error_says_what_to_do(tmp_path, draw_image):
    with pytest.raises(CellDataError, match="no such data folder"):
        find_images([tmp_path / "absent"], NAMES)
    with pytest.raises(CellDataError, match="no image found"):
        find_images([tmp_path], NAMES)
    folder = draw_image(tmp_path, "a")
    with pytest.raises(CellDataError, match="parent"):
        find_images([folder], NAMES)
    (folder / "image.tif").rename(folder / "flat.tif")
    with pytest.raises(CellDataError, match="test_index"):
        find_images([folder], NAMES)


def test_name_label_files_when_named_then_in_class_order():
    assert name_label_files(("x", "y"), None) == (("class1.tif",), ("class2.tif",))
    named = {"y": "y.tif", "x": ["x1.tif", "x2.tif"]}
    assert name_label_files(("x", "y"), named) == (("x1.tif", "x2.tif"), ("y.tif",))


@pytest.mark.parametrize("names", [{"x": "a.tif"}, {"x": "a.tif", "y": "a.tif"}])
def test_name_label_files_when_classes_do_not_match_then_error(names):
    with pytest.raises(ValueError, match="label_names"):
        name_label_files(("x", "y"), names)


def test_read_test_index_when_flat_or_in_folders_then_both_found(tmp_path, draw_image):
    folder = draw_image(tmp_path, "flat")
    (folder / "image.tif").rename(tmp_path / "flat.tif")
    draw_image(tmp_path, "boxed", {"class1.tif": ONE})
    rows = [
        {"file_name": "flat.tif", "id": 9, "height": 12, "width": 16},
        {"file_name": "boxed.tif", "id": 4, "height": 12, "width": 16},
        {"file_name": "gone.tif", "id": 5, "height": 12, "width": 16},
    ]
    index = tmp_path / "index.json"
    index.write_text(json.dumps(rows))
    images = read_test_index(tmp_path, index, NAMES)
    assert [(i.name, i.img_id) for i in images] == [("flat", 9), ("boxed", 4), ("gone", 5)]
    assert images[0].image == tmp_path / "flat.tif"
    assert images[1].labels == (tmp_path / "boxed" / "class1.tif",)
    assert images[2].image == tmp_path / "gone.tif"


@pytest.mark.parametrize(
    "rows",
    [
        "{",
        "[1]",
        '[{"file_name": "a.tif"}]',
        '[{"file_name": "a.tif", "id": 1}, {"file_name": "b.tif", "id": 1}]',
        '[{"file_name": "../a.tif", "id": 1}]',
        '[{"file_name": "/a.tif", "id": 1}]',
    ],
)
def test_read_test_index_when_malformed_then_error_names_file(tmp_path, rows):
    index = tmp_path / "index.json"
    index.write_text(rows)
    with pytest.raises(CellDataError, match=r"index.json: "):
        read_test_index(tmp_path, index, NAMES)


def test_read_name_list_when_list_or_file_then_names(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("# fold 1\na/\n\nb  # blurred\n")
    assert read_name_list(path) == read_name_list(str(path)) == read_name_list(["a", "b"])
    path.write_text("# nothing\n")
    with pytest.raises(CellDataError, match="lists no image"):
        read_name_list(path)
    with pytest.raises(CellDataError, match=r"absent.txt"):
        read_name_list(tmp_path / "absent.txt")


def test_read_name_list_when_names_are_windows_paths_then_as_elsewhere(monkeypatch):
    monkeypatch.setattr(os, "sep", "\\")
    assert read_name_list([" site\\a\\", "b/c"]) == ["site/a", "b/c"]


def test_find_images_when_systems_left_hidden_files_then_not_looked_at(tmp_path, draw_image):
    folder = draw_image(tmp_path, "a", {"class1.tif": ONE})
    for name in ("._image.tif", "._class1.tif", ".DS_Store", "Thumbs.db"):
        (folder / name).write_bytes(b"\0\5\26\7")
    (folder / "@eaDir").mkdir()
    draw_image(tmp_path, "@eaDir", {"class9.tif": ONE})
    draw_image(tmp_path, "__MACOSX", {"class9.tif": ONE})
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "._x.tif").touch()
    images, problems = find_images([tmp_path], NAMES)
    assert ([files.name for files in images], problems) == (["a"], [])


def test_find_images_when_a_folder_is_a_link_then_followed(tmp_path, draw_image):
    draw_image(tmp_path / "elsewhere", "a", {"class1.tif": ONE})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "b").symlink_to(tmp_path / "elsewhere" / "a")
    images, _ = find_images([tmp_path / "data"], NAMES)
    assert [(files.name, len(files.labels)) for files in images] == [("b", 1)]
