"""The account of a conversion."""

import csv
import io

from cellseg.formats.conversion.annotations import Loss
from cellseg.formats.conversion.image_folder import ImageLog
from cellseg.formats.conversion.summary import ConversionReport


def make_log(cells: dict[str, int], regions: int = 0, *losses: Loss) -> ImageLog:
    """Make the log of an image."""
    return ImageLog("image.png", cells, regions, losses)


def test_report_when_images_are_added_then_cells_and_images_are_counted_by_class() -> None:
    report = ConversionReport(("a", "b"))
    report.add(make_log({"a": 3, "b": 1}, 2), "written")
    report.add(make_log({"a": 4}), "kept")
    report.add(make_log({}), "renewed")
    assert report.cells == {"a": 7, "b": 1}
    assert report.images == {"a": 2, "b": 1}
    assert report.ignored_regions == (2, 1)
    text = report.to_text()
    assert "3 images written, 1 of them earlier, 1 again because" in text
    assert text.endswith("Nothing was left out or changed.")


def test_report_when_things_are_lost_then_equal_reasons_are_one_line_most_frequent_first() -> None:
    report = ConversionReport(("a",))
    small = [Loss("cell", "x", f"object {n}", "a", "is too small", 2) for n in range(3)]
    report.add(make_log({}, 0, Loss("change", "x", "y", "a", "was closed"), *small), "written")
    lines = report.to_text().splitlines()
    place = lines.index("Left out:")
    assert lines[place + 1].split() == ["3", "cells", "is", "too", "small", "(6", "px)"]
    assert lines[lines.index("Changed:") + 1].split() == ["1", "cell", "was", "closed"]
    rows = list(csv.DictReader(io.StringIO(report.to_csv())))
    assert [row["annotation"] for row in rows] == ["y", "object 0", "object 1", "object 2"]
    assert rows[0] | {"annotation": ""} == {
        "image": "x",
        "annotation": "",
        "class": "a",
        "what": "cell",
        "outcome": "changed",
        "reason": "was closed",
        "pixels": "",
    }


def test_report_when_many_folders_are_orphans_then_the_first_are_named() -> None:
    report = ConversionReport(("a",), orphans=[f"old{n}" for n in range(9)])
    assert (
        "9 more there, of images that are not in this data: old0, old1, old2, old3, old4, ..."
        in (report.to_text())
    )


def test_csv_when_a_name_starts_like_a_formula_then_a_spreadsheet_shows_it_as_text() -> None:
    report = ConversionReport(("a",))
    report.losses.append(Loss("cell", "=HYPERLINK(1)", "@x", "-a", "why"))
    (row,) = csv.DictReader(io.StringIO(report.to_csv()))
    assert (row["image"], row["annotation"], row["class"]) == ("'=HYPERLINK(1)", "'@x", "'-a")
