import csv
from pathlib import Path

import pytest

from cellseg.cluster.cohort_table import make_row, write_cohort
from cellseg.inference.image_list import InputImage
from cellseg.inference.image_work import ImageOutcome
from cellseg.inference.output_folder import OutputOptions

NAMES = ("round", "odd")
IMAGES = [InputImage(Path(f"{name}.tif"), name) for name in "abc"]
OUTCOME = ImageOutcome(
    "a",
    30,
    seconds=12.345,
    height=2000,
    width=1000,
    pixel_size_um=0.5,
    cells_per_class={"round": 10, "odd": 20},
)


def read(folder: Path) -> list[dict[str, str]]:
    with (folder / "cohort.csv").open() as file:
        return list(csv.DictReader(file))


def test_row_when_the_pixel_size_is_known_then_area_and_density_are_given() -> None:
    row = make_row(IMAGES[0], OUTCOME, "n1/0", NAMES)
    assert row == {
        "image": "a",
        "file": "a.tif",
        "cells": 30,
        "cells_round": 10,
        "cells_odd": 20,
        "width_px": 1000,
        "height_px": 2000,
        "pixel_size_um": 0.5,
        "area_mm2": 0.5,
        "cells_per_mm2": 60.0,
        "seconds": 12.35,
        "worker": "n1/0",
        "error": None,
    }


def test_table_when_images_fail_or_are_not_done_then_each_has_its_reason(tmp_path) -> None:
    outcomes = {0: OUTCOME, 1: ImageOutcome("b", error="b.tif: is cut off")}
    options = OutputOptions(tmp_path, ("labels",))
    write_cohort(IMAGES, outcomes, {"a": "n1/0"}, NAMES, options)
    rows = read(tmp_path)
    assert [row["error"] for row in rows] == ["", "b.tif: is cut off", "not done"]
    assert [row["cells"] for row in rows] == ["30", "", ""]
    assert (tmp_path / "cohort.png").is_file()
    assert not (tmp_path / "cohort.parquet").exists()


def test_table_when_a_run_goes_on_then_earlier_seconds_and_workers_stay(tmp_path) -> None:
    options = OutputOptions(tmp_path, ("labels", "parquet"))
    write_cohort(IMAGES[:1], {0: OUTCOME}, {"a": "n1/0"}, NAMES, options)
    resumed = ImageOutcome("a", 30, resumed=True, height=2000, width=1000)
    write_cohort(IMAGES[:1], {0: resumed}, {}, NAMES, options)
    (row,) = read(tmp_path)
    assert (row["seconds"], row["worker"]) == ("12.35", "n1/0")
    assert (tmp_path / "cohort.parquet").is_file()


@pytest.mark.parametrize(
    "earlier", [b"\xff\xfe", b"image,seconds,worker\na," + b"1" * 200_000, b"image,seconds\na,many"]
)
def test_table_when_the_earlier_one_is_damaged_then_written_anew(tmp_path, earlier) -> None:
    (tmp_path / "cohort.csv").write_bytes(earlier)
    resumed = ImageOutcome("a", 30, resumed=True, height=2000, width=1000)
    write_cohort(IMAGES[:1], {0: resumed}, {}, NAMES, OutputOptions(tmp_path, ()))
    assert [(row["cells"], row["seconds"]) for row in read(tmp_path)] == [("30", "")]
