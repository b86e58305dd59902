import cv2
import numpy as np

from cellseg.formats.overlay import draw_overlay, write_overlay
from cellseg.images import ArraySource
from cellseg.palette import DEFAULT_PALETTE
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_label_map


def one_cell(height=300, width=400):
    label_map = np.zeros((height, width), dtype=int)
    label_map[100:200, 150:250] = 1
    _, boxes, _, rles = encode_label_map(label_map)
    return Cells(boxes, [0.9], [1], rles, height, width, ("a", "b"))


def test_overlay_read_back_shows_the_outline_in_its_class_color(tmp_path):
    image = np.full((300, 400, 3), 200, np.uint8)
    write_overlay(one_cell(), tmp_path / "overlay.png", ArraySource(image))
    drawn = cv2.imread(str(tmp_path / "overlay.png"))[..., ::-1]
    assert drawn.shape[0] > image.shape[0]  # the legend below
    assert drawn.shape[1:] == image.shape[1:]
    np.testing.assert_allclose(drawn[150, 150], DEFAULT_PALETTE[1], atol=40)
    assert (drawn[150, 200] == 200).all()
    assert (drawn[20, 20] == 200).all()


def test_overlay_of_a_large_image_is_reduced_with_its_cells():
    image = np.full((300, 400, 3), 200, np.uint8)
    drawn = draw_overlay(one_cell(), ArraySource(image), largest_side=100)
    assert drawn.shape == (75, 100, 3)
    changed = np.argwhere((drawn != 200).any(axis=2))
    np.testing.assert_allclose(changed.min(axis=0), [25, 37], atol=2)
    np.testing.assert_allclose(changed.max(axis=0), [50, 62], atol=2)


def test_overlay_when_a_palette_is_given_then_is_drawn_in_it():
    image = np.full((300, 400, 3), 200, np.uint8)
    drawn = draw_overlay(one_cell(), ArraySource(image), [(1, 2, 3), (250, 0, 0)])
    np.testing.assert_allclose(drawn[150, 150], (250, 0, 0), atol=40)
