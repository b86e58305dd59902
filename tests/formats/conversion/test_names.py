from pathlib import Path

import pytest

from cellseg.errors import CellsegError
from cellseg.formats.conversion import Source
from cellseg.formats.conversion.names import (
    IGNORED,
    LEFT_OUT,
    find_inside,
    name_folder,
    parse_class_map,
    settle_classes,
)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a.png", "a"),
        ("site/a 1.png", "site_a_1"),
        ("train/0001/image.tif", "train_0001"),
        ("image.tif", "image"),
        ("a.b.tif", "a.b"),
        (".hidden/x.tif", "hidden_x"),
        ("Zellkern_ä.png", "Zellkern_ä"),
        ("a\\b.png", "a_b"),
        ("....png", "image"),
        ("x" * 300 + ".png", "x" * 150),
    ],
)
def test_folder_name_is_safe_and_readable(file, name):
    assert name_folder(file) == name


@pytest.mark.parametrize(
    "name",
    [
        "../x.png",
        "a/../../x.png",
        "/etc/x.png",
        "C:\\x.png",
        "..\\x.png",
        "",
        ".",
        "a\0.png",
        "x" * 5000,
    ]
    + ["x" * 256, "y/" * 600 + "x", "\ud800.png"],
)
def test_file_that_leads_outside_is_refused(name):
    with pytest.raises(CellsegError, match=r"coco\.json: the image name"):
        find_inside(Path("images"), name, Path("coco.json"))


def test_file_inside_is_found():
    assert find_inside(Path("images"), "a/b.png", Path("c.json")) == Path("images/a/b.png")


def test_class_map_is_parsed_and_bad_pairs_are_refused():
    assert parse_class_map(["Tumor=tumour", "a=b=c", "x y= ignore"]) == {
        "Tumor": "tumour",
        "a=b": "c",
        "x y": "ignore",
    }
    for pairs in (["Tumor"], ["=x"], ["x="], ["a=b", "a=c"]):
        with pytest.raises(CellsegError, match="--class-map"):
            parse_class_map(pairs)


def test_classes_when_not_given_then_from_the_data_after_mapping():
    source = Source([], ["T", "B", "junk", "Ignore*", "t"], None, frozenset({"Ignore*"}))
    table = settle_classes(source, class_map={"t": "T", "junk": "drop"})
    assert table.classes == ("T", "B")
    found = [table.find(name) for name in ("T", "B", "t", "junk", "Ignore*", "other")]
    assert found == [0, 1, 0, LEFT_OUT, IGNORED, LEFT_OUT]


def test_classes_when_unknown_then_all_are_listed_with_the_mend_or_skipped():
    source = Source([], ["a", "b", "c"])
    with pytest.raises(CellsegError, match=r"not among a: b, c\. Add .*--skip-unknown"):
        settle_classes(source, ["a"])
    assert settle_classes(source, ["a"], skip_unknown=True).find("b") == LEFT_OUT
    assert settle_classes(source, ["x"], {"a": "x", "b": "x", "c": "ignore"}).find("c") == IGNORED


@pytest.mark.parametrize("classes", [None, [], ["a", "a"]])
def test_classes_when_none_or_twice_then_error(classes):
    with pytest.raises(CellsegError, match="--classes"):
        settle_classes(Source([], []), classes)


@pytest.mark.parametrize("name", ["\ud800", "a\x1b[2J", "a\n"])
def test_class_when_its_name_cannot_be_shown_then_error_that_shows_it_escaped(name):
    with pytest.raises(CellsegError, match=r"The class 'a?\\\\?.*cannot be shown") as refused:
        settle_classes(Source([], [name]))
    assert str(refused.value).isprintable()
    assert settle_classes(Source([], [name]), class_map={name: "b"}).classes == ("b",)
