"""What the formats share by default."""

import numpy as np
import pytest

from cellseg.errors import CellsegError
from cellseg.formats.conversion.annotations import (
    Annotation,
    Drawing,
    Loss,
    Source,
    UnusableAnnotationError,
)
from cellseg.structures.runs import Crop


def test_annotation_when_only_drawn_then_it_is_a_cell() -> None:
    drawing = Drawing(Crop(np.ones((2, 3), bool), 4, 5))
    annotation = Annotation("object 1", "x", lambda height, width: drawing)
    assert (annotation.is_ignored, annotation.left_out) == (False, "")
    assert annotation.draw(9, 9) is drawing
    assert drawing.changes == ()


def test_unusable_annotation_when_raised_then_users_see_its_sentence() -> None:
    with pytest.raises(CellsegError, match="^has no outline$"):
        raise UnusableAnnotationError("has no outline")


def test_sources_when_two_are_made_then_their_losses_are_apart() -> None:
    first, second = Source([], ["a"]), Source([], ["a"])
    first.losses.append(Loss("image", "x", "", "", "is missing"))
    first.unreadable.append(Loss("image", "x", "", "", "is damaged"))
    assert (second.losses, second.unreadable) == ([], [])
