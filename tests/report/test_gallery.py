"""Which errors the report lists, and what it says of them."""

import numpy as np

from cellseg.report.gallery import draw_pictures, list_errors
from cellseg.report.inputs import ReportOptions
from cellseg.scoring.outcomes import classify_cells
from cellseg.scoring.scene import build_result_scene
from tests.report.test_page import make_input


def test_list_errors_when_cells_are_missed_and_false_positive_then_each_is_listed_once() -> None:
    given = make_input()
    outcomes = [classify_cells(build_result_scene(result, 3)) for result in given.results]
    missed, false_positives = list_errors(given.results, outcomes)
    assert missed == [(1, 1, 81.0), (1, 2, 100.0)]
    assert false_positives == [(1, 1, 0.7)]


def test_draw_pictures_when_each_image_is_read_then_few_reads_are_needed() -> None:
    given = make_input()
    reads: list[int] = []

    def read(place: int) -> np.ndarray:
        reads.append(place)
        return given.read_image(place)

    counted = type(given)(**{**vars(given), "read_image": read})
    outcomes = [classify_cells(build_result_scene(result, 3)) for result in given.results]
    drawn = draw_pictures(counted, outcomes, ReportOptions(max_images=1))
    assert [title for title, _ in drawn["groups"]] == ["Worst images", "Best images"]
    assert sorted(reads) == [0, 1, 1, 1]  # one each for the pairs, one for each gallery
    alts = [crop.picture.alt for crop in (*drawn["missed"], *drawn["false_positives"])]
    assert alts == [
        "Missed square in image second at x 45, y 45: 11 px across.",
        "Missed round in image second at x 24, y 8: 10 px across.",
        "False positive: round in image second at x 64, y 14: score 0.70, 10 px across.",
    ]
