"""What is taken away: the cells that are shown."""

import pytest

from cellseg.errors import CellsegError
from cellseg.web.edit_log import PageCell
from cellseg.web.page_images import PageImage
from cellseg.web.takeaway import CellFilter, collect_cells

from .stand_in import CLASS_NAMES

CELL = PageCell.make(1, 1, 0.6, [[2, 3, 10, 10, -10]])


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ({}, True),
        ({"score": "0.6", "least": "100", "most": "100", "classes": "0,1"}, True),
        ({"score": "0.61"}, False),
        ({"least": "101"}, False),
        ({"most": "99"}, False),
        ({"classes": "0"}, False),
        ({"classes": ""}, False),
    ],
)
def test_filter_then_it_keeps_what_the_page_shows(values: dict[str, str], kept: bool) -> None:
    assert CellFilter.read(values).keeps(CELL) is kept
    by_hand = PageCell.make(1, 1, None, CELL.rings)
    assert CellFilter.read({"score": "1"}).keeps(by_hand)


@pytest.mark.parametrize("values", [{"score": "a"}, {"least": "nan"}, {"classes": "a"}])
def test_filter_when_a_value_is_none_then_refused(values: dict[str, str]) -> None:
    with pytest.raises(CellsegError, match="numbers"):
        CellFilter.read(values)


def test_cells_when_collected_then_pixels_scores_and_classes_are_theirs(image: PageImage) -> None:
    assert image.opened is not None
    cells = collect_cells([CELL, *image.opened.log.cells.values()], image.opened, CLASS_NAMES)
    assert cells.areas.tolist() == [100, 100, 100]
    assert cells.confidences.tolist() == pytest.approx([0.6, 1, 1])
    assert cells.labels.tolist() == [1, 0, 1]
    assert len(collect_cells([], image.opened, CLASS_NAMES)) == 0
