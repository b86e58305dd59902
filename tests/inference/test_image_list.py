import json
from pathlib import Path

import pytest

from cellseg.errors import CellsegError
from cellseg.inference import image_list
from cellseg.inference.image_list import find_input_images


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names_of(images):
    return [image.name for image in images]


def test_folder_in_the_data_layout_gives_images_named_by_folder(tmp_path):
    for name in ("p1", "p2"):
        touch(tmp_path, f"{name}/image.tif", f"{name}/class1.tif", f"{name}/ignore.tif")
    images = find_input_images([tmp_path])
    assert names_of(images) == ["p1", "p2"]
    assert [image.path for image in images] == [
        tmp_path / "p1/image.tif",
        tmp_path / "p2/image.tif",
    ]


def test_folder_is_searched_deep_but_not_hidden_files_or_the_output(tmp_path):
    touch(tmp_path, "a.svs", "deep/er/b.PNG", "notes.txt", ".hidden.tif", ".git/c.tif", "out/d.tif")
    assert names_of(find_input_images([tmp_path], out=tmp_path / "out")) == ["a", "b"]


def test_class_file_without_an_image_beside_it_is_an_image(tmp_path):
    touch(tmp_path, "class1.tif")
    assert names_of(find_input_images([tmp_path])) == ["class1"]


def test_globs_files_and_folders_together_name_each_image_once(tmp_path):
    touch(tmp_path, "a1.tif", "a2.tif", "b.tif", "sub/c.tif")
    inputs = [tmp_path / "a2.tif", tmp_path / "a*.tif", tmp_path / "s*"]
    assert names_of(find_input_images(inputs)) == ["a2", "a1", "c"]


@pytest.mark.parametrize("inputs", [".", "*.png", "a.png", "a*.png"])
def test_outputs_of_an_earlier_run_in_the_input_folder_are_left_out(tmp_path, inputs):
    touch(tmp_path, "a.png", "a.overlay.png", "a.labels.tif", "broken.done.json", "list.done.json")
    record = {"files": ["a.overlay.png", "a.labels.tif"]}
    (tmp_path / "a.done.json").write_text(json.dumps(record))
    (tmp_path / "list.done.json").write_text("[]")
    assert names_of(find_input_images([tmp_path / inputs], out=tmp_path)) == ["a"]
    with pytest.raises(CellsegError, match="are outputs in"):
        find_input_images([tmp_path / "a.overlay.png"], out=tmp_path)


def test_images_of_one_name_are_told_apart_by_their_folders(tmp_path):
    touch(tmp_path, "x/s/a.tif", "y/s/a.tif", "y/b.tif")
    assert names_of(find_input_images([tmp_path])) == ["x_s_a", "b", "y_s_a"]


def test_images_that_differ_in_their_ending_are_told_apart_by_it(tmp_path):
    touch(tmp_path, "a.tif", "a.png", "p/image.tif", "p/image.png")
    assert names_of(find_input_images([tmp_path])) == ["a_png", "a_tif", "p_png", "p_tif"]


@pytest.mark.parametrize("folds_case", [True, False])
def test_images_that_differ_in_capitals_are_told_apart_where_their_outputs_are_not(
    tmp_path, monkeypatch, folds_case
):
    monkeypatch.setattr(image_list, "_FOLDS_CASE", folds_case)
    touch(tmp_path, "x/a.tif", "y/A.tif", "b.tif")
    expected = ["b", "x_a", "y_A"] if folds_case else ["b", "a", "A"]
    assert names_of(find_input_images([tmp_path])) == expected


def test_images_that_cannot_be_told_apart_are_refused(tmp_path):
    touch(tmp_path, *(f"{top}/x/y/z/a.tif" for top in "pq"))
    with pytest.raises(CellsegError, match="rename one"):
        find_input_images([tmp_path])


def test_file_that_is_missing_is_kept_to_be_reported_in_its_turn(tmp_path):
    assert find_input_images([tmp_path / "gone.tif"])[0].path == Path(tmp_path / "gone.tif")


@pytest.mark.parametrize("item", ["nothing*.tif", "empty"])
def test_input_that_matches_nothing_is_reported(tmp_path, item):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CellsegError, match=r"nothing\*\.tif|holds no image"):
        find_input_images([tmp_path / item])


def test_files_of_a_folder_that_are_no_images_are_counted_by_kind(tmp_path, listen):
    told = listen("cellseg.inference.image_list")
    touch(tmp_path, "a.tif", "b.txt", "sub/c.txt", "d.czi", "none", ".hidden.txt", "p/image.tif")
    touch(tmp_path, "p/class1.tif", "a.geojson", "a.done.json", "out/x.csv")
    (tmp_path / "a.done.json").write_text(json.dumps({"files": ["a.geojson"]}))
    find_input_images([tmp_path], out=tmp_path / "out")
    assert told[0].startswith("5 files in the folders are not images by their names")
    assert "1 .geojson" in told[0]
    told.clear()
    find_input_images([tmp_path], out=tmp_path)
    assert told[0].startswith("5 files in the folders are not images by their names")
    assert "1 .csv" in told[0]
    assert ".geojson" not in told[0]
    assert "left out: 2 .txt" in told[0]
    assert "1 .czi" in told[0]
    assert "1 no suffix" in told[0]


def test_folder_of_images_only_says_nothing(tmp_path, listen):
    told = listen("cellseg.inference.image_list")
    touch(tmp_path, "a.tif", "b.png", "sub/image.tif", "sub/class1.tif", "sub/ignore.tif")
    find_input_images([tmp_path])
    assert not told


def test_folder_that_is_linked_is_searched_once_and_system_files_are_not(tmp_path):
    touch(tmp_path, "real/a.png", "data/b.png", "data/@eaDir/b.png", "data/__MACOSX/._b.png")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "data")
    assert names_of(find_input_images([tmp_path / "data"])) == ["b", "a"]
    assert names_of(find_input_images([tmp_path / "data" / "**" / "*.png"])) == ["b", "a"]
