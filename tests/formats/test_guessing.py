"""The format of annotated images is guessed from the files."""

from pathlib import Path

import pytest

from cellseg.errors import CellsegError
from cellseg.formats.guessing import guess_format


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.mark.parametrize(
    ("image", "label", "expected"),
    [
        ("images/a.png", "labels/a.tif", "labels"),
        ("images/a.png", "labels/a.geojson", "geojson"),
        ("images/a.png", "labels/a.GEOJSON", "geojson"),
        ("images/a.svs", "labels/a.xml", "monusac"),
        ("images/images.npy", "labels/masks.npy", "pannuke"),
    ],
)
def test_format_when_labels_have_a_folder_then_follows_from_their_names(
    tmp_path, image, label, expected
) -> None:
    touch(tmp_path / image)
    touch(tmp_path / label)
    assert guess_format(tmp_path / "images", tmp_path / "labels") == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.png", "a_cp_masks.png"], "labels"),
        (["x/images/x.png", "x/masks/1.png"], "dsb2018"),
        (["a.png", "a.geojson"], "geojson"),
        (["a.tif", "a.xml"], "monusac"),
    ],
)
def test_format_when_labels_lie_beside_the_images_then_is_found(tmp_path, names, expected) -> None:
    for name in names:
        touch(tmp_path / name)
    assert guess_format(tmp_path) == expected


def test_format_when_the_labels_are_a_json_file_then_is_coco(tmp_path) -> None:
    assert guess_format(tmp_path, touch(tmp_path / "instances.json")) == "coco"


def test_format_when_there_are_images_only_then_one_sentence(tmp_path) -> None:
    touch(tmp_path / "a.png")
    with pytest.raises(CellsegError, match="--labels"):
        guess_format(tmp_path)
    with pytest.raises(CellsegError, match="no file or folder"):
        guess_format(tmp_path, tmp_path / "absent")


def test_format_when_the_folder_is_in_the_own_layout_then_names_the_flag(tmp_path) -> None:
    touch(tmp_path / "x" / "image.tif")
    touch(tmp_path / "x" / "class1.tif")
    with pytest.raises(CellsegError, match="give it by --data"):
        guess_format(tmp_path)
