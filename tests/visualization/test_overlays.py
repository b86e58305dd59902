"""Outlines lie on the borders of cells, whatever the masks are made of."""

import itertools

import numpy as np
import pytest
from skimage.color import rgb2lab

from cellseg.datasets.cell_dataset import CellDataset
from cellseg.palette import DEFAULT_PALETTE, IGNORED_COLOR, choose_palette
from cellseg.structures.cells import Cells
from cellseg.visualization.overlays import (
    choose_line_width,
    draw_boxes,
    draw_outlines,
    find_outlines,
)

RED, BLUE = (255, 0, 0), (0, 0, 255)


def draw_label_map(seed: int, num_cells: int = 6, size: int = 40) -> np.ndarray:
    """Draw rectangles, later ones over earlier ones."""
    rng = np.random.default_rng(seed)
    label_map = np.zeros((size, size), dtype=np.int32)
    for value in range(1, num_cells + 1):
        y, x = rng.integers(0, size - 3, 2)
        h, w = rng.integers(1, 12, 2)
        label_map[y : y + h, x : x + w] = 7 * value
    return label_map


def crops_of(label_map: np.ndarray) -> list:
    """Cut the cells out of a label map."""
    return Cells.from_label_map(label_map).crops()


def test_draw_outlines_when_a_cell_is_square_then_only_its_border_is_colored() -> None:
    label_map = np.zeros((20, 20), dtype=np.int32)
    label_map[5:15, 4:12] = 3
    border = label_map > 0
    border[6:14, 5:11] = False
    image = np.full((20, 20, 3), 90, dtype=np.uint8)
    drawn = draw_outlines(image, crops_of(label_map), [0], (RED,))
    np.testing.assert_array_equal((drawn == RED).all(axis=2), border)
    assert (drawn[~border] == 90).all()
    assert (image == 90).all()


@pytest.mark.parametrize("scale", [1, 3])
def test_draw_outlines_when_a_cell_is_one_pixel_then_it_is_seen(scale: int) -> None:
    label_map = np.zeros((9, 9), dtype=np.int32)
    label_map[4, 6] = 1
    image = np.zeros((9 * scale, 9 * scale, 3), dtype=np.uint8)
    drawn = draw_outlines(image, crops_of(label_map), [0], (RED,), scale=scale)
    assert drawn[4 * scale + scale // 2, 6 * scale + scale // 2, 0] > 200


def test_draw_outlines_when_enlarged_then_outlines_follow() -> None:
    label_map = np.zeros((20, 20), dtype=np.int32)
    label_map[5:15, 5:15] = 1
    drawn = draw_outlines(
        np.zeros((60, 60, 3), dtype=np.uint8),
        crops_of(label_map),
        [0],
        (RED,),
        scale=3,
        line_width=1,
    )
    ys, xs = np.nonzero(drawn[..., 0] > 128)
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (16, 43, 16, 43)


def test_draw_outlines_when_there_is_no_cell_then_copies_the_image() -> None:
    image = np.full((8, 8, 3), 7, dtype=np.uint8)
    drawn = draw_outlines(image, [], [])
    assert drawn is not image
    np.testing.assert_array_equal(drawn, image)


def test_draw_outlines_when_a_region_is_ignored_then_is_grey() -> None:
    label_map = np.ones((8, 8), dtype=np.int32)
    drawn = draw_outlines(np.zeros((8, 8, 3), dtype=np.uint8), crops_of(label_map), [-1])
    assert tuple(drawn[0, 0]) == IGNORED_COLOR


def test_draw_outlines_when_scores_are_given_then_writes_them() -> None:
    label_map = np.zeros((60, 60), dtype=np.int32)
    label_map[30:40, 10:20] = 1
    crops = crops_of(label_map)
    image = np.full((60, 60, 3), 128, dtype=np.uint8)
    without = draw_outlines(image, crops, [0])
    with_scores = draw_outlines(image, crops, [0], scores=[0.87])
    assert (without[:28] == 128).all()
    assert (with_scores[20:28] != 128).any()


def test_find_outlines_when_mask_has_a_hole_then_outlines_both() -> None:
    ring = np.ones((9, 9), dtype=bool)
    ring[3:6, 3:6] = False
    outlines = find_outlines(ring, 100, 50)
    assert len(outlines) == 2
    assert min(outline[:, 0].min() for outline in outlines) == 100
    assert find_outlines(np.zeros((0, 0), dtype=bool), 0, 0) == []


def test_draw_boxes_when_given_then_draws_their_edges() -> None:
    drawn = draw_boxes(
        np.zeros((20, 20, 3), dtype=np.uint8), np.array([[2, 3, 10, 9]]), [0], (RED,)
    )
    ys, xs = np.nonzero(drawn[..., 0])
    assert (xs.min(), ys.min(), xs.max(), ys.max()) == (2, 3, 9, 8)


@pytest.mark.parametrize(("size", "width"), [(30, 1), (1024, 1), (1500, 2), (9000, 3)])
def test_choose_line_width_when_images_grow_then_lines_do(size: int, width: int) -> None:
    assert choose_line_width(size, size) == width


# Machado, Oliveira and Fernandes 2009: how colors look without the red, green or blue cones.
COLOR_BLIND = {
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


@pytest.mark.parametrize(("num_classes", "least"), [(4, 35), (8, 22)])
@pytest.mark.parametrize("kind", COLOR_BLIND)
def test_palette_when_seen_by_the_color_blind_then_classes_differ(
    kind: str, num_classes: int, least: float
) -> None:
    assert tuple(CellDataset.METAINFO["palette"]) == DEFAULT_PALETTE
    palette = choose_palette(num_classes)
    rgb = np.array(palette) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = (linear @ np.array(COLOR_BLIND[kind]).T).clip(0, 1)
    shown = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = rgb2lab(shown[None])[0]
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(lab, 2)]
    assert min(distances) > least  # about 2 is the least that is noticed


def test_line_width_when_cells_are_small_then_is_thin() -> None:
    assert choose_line_width(2100, 2100) == 3
    assert choose_line_width(2100, 2100, diameter_px=12) == 1
    assert choose_line_width(2100, 2100, diameter_px=24) == 2
    assert choose_line_width(2100, 2100, diameter_px=200) == 3
