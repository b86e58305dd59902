"""Images are opened when they are looked at, and few at a time."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cellseg.errors import CellDataError
from cellseg.web import page_images as module
from cellseg.web.edit_log import EditStep
from cellseg.web.page_images import LOG_NAME, OpenImages, PageImage, list_given, make_stem

from .stand_in import CLASS_NAMES


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("slide 1.png", "slide_1"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\etc\\passwd.png", "passwd"),
        ("a.b.tif", "a.b"),
        ('"><script>.png', "script"),
        ("....png", "image"),
        ("größe.tif", "größe"),
        ("x" * 300 + ".png", "x" * 80),
    ],
)
def test_stem_then_it_is_fit_for_a_file_name(name: str, stem: str) -> None:
    assert make_stem(name) == stem


def test_images_when_many_are_opened_then_those_that_rest_are_closed(
    draw: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_OPEN", 2)
    images = [
        PageImage(str(i), f"{i}.png", draw(i, f"{i}.png"), tmp_path / f"{i}") for i in range(4)
    ]
    opened = OpenImages({}, CLASS_NAMES)
    opened.busy.add(images[0])
    for image in images:
        opened.open(image)
    assert [image.opened is not None for image in images] == [True, False, True, True]
    assert opened.open(images[1]).pyramid.width == 96
    opened.close_all()
    assert not any(image.opened for image in images)


def test_image_when_closed_while_it_is_held_then_no_step_is_lost(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    image = PageImage("k", "a.png", draw(1, "a.png"), tmp_path / "folder")
    images = OpenImages({}, CLASS_NAMES)
    images.open(image)
    closing = threading.Thread(target=image.close)
    with images.hold(image) as opened:
        closing.start()  # waits until the step is done
        cells = opened.log.new_cells([[[1, 1, 2, 2, -2]]], [0], [None])
        opened.log.apply(EditStep("draw", added=cells))
        assert image.opened is opened
    closing.join(60)
    assert image.opened is None
    with images.hold(image) as again:
        assert len(again.log.cells) == 1


def test_given_images_then_each_keeps_its_corrections_apart(tmp_path: Path) -> None:
    paths = {"a": tmp_path / "x" / "a.png", "b": tmp_path / "y" / "a.png"}
    one, two = list_given(paths, tmp_path / "keep")
    assert (one.key, two.key) == ("g0", "g1")
    assert one.folder != two.folder
    again = list_given({"b": paths["b"]}, tmp_path / "keep")[0]
    assert again.folder == two.folder


def test_image_when_it_cannot_be_opened_then_words_do_not_tell_where_it_lies(
    tmp_path: Path,
) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(b"notes")
    image = PageImage("k", "notes.png", path, tmp_path / "folder")
    with pytest.raises(CellDataError) as caught:
        image.open({}, CLASS_NAMES)
    assert "notes.png" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_image_when_removed_then_it_stays_closed(draw: Callable[..., Path], tmp_path: Path) -> None:
    image = PageImage("k", "a.png", draw(1, "a.png"), tmp_path / "folder")
    image.open({}, CLASS_NAMES)
    assert (image.folder / LOG_NAME).exists()
    image.remove()
    assert not image.folder.exists()
    with pytest.raises(CellDataError, match="removed"):
        image.open({}, CLASS_NAMES)
