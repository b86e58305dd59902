"""Annotations that are probably not one cell each."""

import numpy as np
import pytest

from cellseg.formats.conversion.annotations import Annotation
from cellseg.formats.conversion.checks import ENCLOSES, cut_pieces, warn_of_enclosing
from cellseg.structures.runs import Crop


def test_cut_when_pieces_are_apart_then_one_crop_each_and_every_pixel_once() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((30, 40)) < 0.35
    pieces = cut_pieces(Crop(mask, 7, 9))
    canvas = np.zeros((50, 60), int)
    for piece in pieces:
        height, width = piece.mask.shape
        canvas[piece.y0 : piece.y0 + height, piece.x0 : piece.x0 + width] += piece.mask
    np.testing.assert_array_equal(canvas[9:39, 7:47], mask)
    assert canvas.sum() == mask.sum()
    assert len(pieces) > 5
    assert all(len(cut_pieces(piece)) == 1 for piece in pieces)


def test_cut_when_pixels_touch_at_a_corner_then_they_are_one() -> None:
    crop = Crop(np.eye(3, dtype=bool), 0, 0)
    assert cut_pieces(crop) == [crop]


@pytest.mark.parametrize(
    ("inner", "is_told"),
    [
        ([(2, 2, 5), (20, 20, 5)], True),  # a region around two cells
        ([(2, 2, 20)], False),  # a nucleus in its cell
        ([(2, 2, 4)], True),  # one cell in something much larger
        ([], False),
        ([(38, 38, 5), (40, 2, 5)], False),  # beside it
    ],
)
def test_enclosing_when_drawn_then_only_regions_are_told(
    inner: list[tuple[int, int, int]], is_told: bool
) -> None:
    def draw(label: str, x: int, y: int, side: int) -> tuple[Annotation, Crop]:
        crop = Crop(np.ones((side, side), bool), x, y)
        return Annotation(label, "region", lambda height, width: None), crop

    drawn = {0: [draw("outer", 0, 0, 36)], 1: [draw("inner", *box) for box in inner]}
    warnings = warn_of_enclosing(drawn, (50, 50), "image")
    assert [(loss.label, loss.reason) for loss in warnings] == [("outer", ENCLOSES)] * is_told
