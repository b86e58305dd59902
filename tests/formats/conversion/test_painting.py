import numpy as np
import pytest

from cellseg.errors import CellDataError
from cellseg.formats.conversion import Annotation, Crop, Drawing, UnusableAnnotationError
from cellseg.formats.conversion.names import IGNORED, LEFT_OUT, ClassTable
from cellseg.formats.conversion.painting import paint_annotations

TABLE = ClassTable(("a", "b"), {"a": 0, "b": 1, "junk": LEFT_OUT, "hole": IGNORED})


def box(label, x0, y0, width, height, class_name="a", changes=(), is_ignored=False):
    """Return a rectangular annotation."""
    drawing = Drawing(Crop(np.ones((height, width), bool), x0, y0), changes)
    return Annotation(label, class_name, lambda h, w: drawing, is_ignored)


def paint(*annotations):
    return paint_annotations(annotations, TABLE, (20, 30), "img")


@pytest.mark.parametrize("order", [1, -1])
def test_overlapping_cells_when_painted_then_the_smaller_stays_whole_and_the_loss_is_counted(order):
    large, small = box("large", 0, 0, 10, 10), box("small", 8, 8, 4, 4)
    painted = paint(*(large, small)[::order])
    sizes = sorted(np.bincount(painted.layers[0].ravel())[1:].tolist())
    assert sizes == [16, 96]
    (loss,) = painted.losses
    assert (loss.kind, loss.label, loss.pixels) == ("change", "large", 4)


def test_cell_twice_when_painted_then_the_second_is_left_out_and_said():
    painted = paint(box("one", 1, 1, 3, 3), box("two", 1, 1, 3, 3))
    assert painted.counts == {0: 1}
    (loss,) = painted.losses
    assert (loss.kind, loss.label, loss.pixels) == ("cell", "two", 9)


def test_cells_of_two_classes_when_overlapping_then_both_are_whole_and_ids_are_unique():
    painted = paint(box("b", 0, 0, 4, 4, "b"), box("a", 2, 2, 4, 4), box("a2", 10, 10, 1, 1))
    assert [np.unique(painted.layers[k]).tolist() for k in (0, 1)] == [[0, 1, 2], [0, 3]]
    assert not painted.losses
    assert painted.layers[0].dtype == np.uint16


def test_regions_to_ignore_when_painted_then_in_their_own_layer_and_sharing_is_no_loss():
    painted = paint(
        box("r1", 0, 0, 4, 4, "hole"),
        box("r2", 2, 2, 4, 4, "a", is_ignored=True),
        box("r3", 0, 0, 6, 6, "b", is_ignored=True),
        box("r4", 0, 0, 4, 4, "hole"),
    )
    assert list(painted.layers) == [IGNORED]
    assert np.count_nonzero(painted.layers[IGNORED]) == 36
    assert [(loss.kind, loss.label) for loss in painted.losses] == [("change", "r4")]


def test_annotations_left_out_or_changed_are_all_accounted_for():
    def fail(height, width):
        raise UnusableAnnotationError("no way")

    painted = paint(
        box("x", 0, 0, 2, 2, "junk"),
        box("y", 0, 0, 2, 2, "never heard of"),
        Annotation("z", "a", fail),
        box("w", 0, 0, 2, 2, changes=("trimmed",)),
    )
    assert [(loss.kind, loss.label) for loss in painted.losses] == [
        ("cell", "x"),
        ("cell", "y"),
        ("cell", "z"),
        ("change", "w"),
    ]
    assert painted.losses[2].reason == "no way"


def test_more_cells_than_uint16_holds_when_painted_then_uint32():
    crop = np.ones((1, 1), bool)
    many = (
        Annotation("c", "a", lambda h, w, i=i: Drawing(Crop(crop, i % 300, i // 300)))
        for i in range(70_000)
    )
    painted = paint_annotations(many, TABLE, (240, 300), "img")
    assert painted.layers[0].dtype == np.uint32
    assert len(np.unique(painted.layers[0])) == 70_001


def test_no_annotation_when_painted_then_no_layer():
    assert paint().layers == {}


def test_annotations_that_are_all_the_same_when_painted_then_kept_once_in_memory(monkeypatch):
    monkeypatch.setattr("cellseg.formats.conversion.painting._SMALL_PX", 30 * 600)
    painted = paint(*(box(str(number), 0, 0, 30, 20) for number in range(30)))
    assert painted.counts == {0: 1}
    assert [loss.pixels for loss in painted.losses] == [600] * 29


def test_annotations_that_cover_the_image_over_and_over_are_refused(monkeypatch):
    monkeypatch.setattr("cellseg.formats.conversion.painting._SMALL_PX", 0)
    with pytest.raises(CellDataError, match="img: its annotations cover the image more than 100"):
        paint(*(box(str(number), 0, 0, 30, 20) for number in range(101)))


def test_annotations_that_are_more_than_the_pixels_are_refused(monkeypatch):
    monkeypatch.setattr("cellseg.formats.conversion.painting._FEW", 50)
    boxes = [box(str(number), number % 30, number // 30, 1, 1) for number in range(600)]
    assert paint(*boxes).counts == {0: 600}  # one for each pixel
    with pytest.raises(CellDataError, match="more annotations than pixels, 20 x 30"):
        paint(*boxes, box("more", 0, 0, 1, 1))
