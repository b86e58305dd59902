"""The size of an image's cells, measured with a detector that only sees cells of a trained size."""

import numpy as np
import pytest

from cellseg.images import ArraySource
from cellseg.inference.cell_size import (
    drop_cut_cells,
    estimate_cell_size,
    find_busiest_place,
    measure_median_diameter,
    read_part,
)
from cellseg.structures.cells import Cells

TRAINED_PX = 30.0  # the detector's best diameter, in network pixels


def draw_disks(diameter: float, side: int) -> np.ndarray:
    """Draw dark disks on a regular grid: (side, side, 3) uint8."""
    rows, columns = np.mgrid[:side, :side] + 0.5
    step = diameter * 1.5
    offset = np.hypot(rows % step - step / 2, columns % step - step / 2)
    return np.where((offset < diameter / 2)[..., None], (120, 40, 90), (230, 220, 235)).astype(
        np.uint8
    )


def find_like_trained(image: np.ndarray, scale: float) -> Cells:
    """Find the disks, the better the nearer their size for the network is to the trained one."""
    from scipy import ndimage

    labels, _ = ndimage.label(image[..., 1] < 120)
    cells = Cells.from_label_map(labels, class_names=("nucleus",))
    shown = np.sqrt(cells.areas * 4 / np.pi) * scale / TRAINED_PX
    scores = np.exp(-((np.log(np.maximum(shown, 1e-6)) / 0.7) ** 2))
    cells.scores = scores.astype(np.float32)
    return cells[scores > 0.3]


@pytest.mark.parametrize("diameter", [6, 12, 19, 40, 75])
def test_cell_size_when_cells_are_of_any_size_then_is_within_a_quarter(diameter):
    source = ArraySource(draw_disks(diameter, 600))
    found = estimate_cell_size(source, find_like_trained, 1.6, TRAINED_PX)
    assert found is not None
    assert diameter / 1.25 < found.diameter_px < diameter * 1.25
    assert found.num_cells >= 3


def test_cell_size_when_nothing_is_found_then_is_none():
    blank = ArraySource(np.full((40, 50, 3), 240, np.uint8))
    assert estimate_cell_size(blank, find_like_trained, 1.6, TRAINED_PX) is None
    one_pixel = ArraySource(np.zeros((1, 1, 3), np.uint8))
    assert estimate_cell_size(one_pixel, find_like_trained, 1.6, TRAINED_PX) is None


def test_median_diameter_when_scores_differ_then_sure_cells_count_more():
    label_map = np.zeros((100, 100), np.int32)
    for number, side in enumerate((4, 4, 4, 20), start=1):
        label_map[5 : 5 + side, 25 * number - 20 : 25 * number - 20 + side] = number
    cells = Cells.from_label_map(label_map)
    cells.scores = np.array([0.1, 0.1, 0.1, 0.9], np.float32)
    assert measure_median_diameter(cells) == pytest.approx(20 * np.sqrt(4 / np.pi), rel=0.01)


def test_cut_cells_when_dropped_then_those_at_the_border_are_gone():
    label_map = np.zeros((20, 20), np.int32)
    label_map[0:4, 5:9], label_map[8:12, 8:12] = 1, 2
    assert len(drop_cut_cells(Cells.from_label_map(label_map))) == 1


def test_part_when_read_at_a_scale_then_fills_the_networks_input_or_the_image():
    source = ArraySource(np.zeros((300, 200, 3), np.uint8))
    assert read_part(source, (0.5, 0.5), 160, 1.6).image.shape == (100, 100, 3)
    assert read_part(source, (0.0, 1.0), 160, 0.1).image.shape == (300, 200, 3)


def test_busiest_place_when_cells_lie_in_a_corner_then_is_there():
    image = np.full((400, 400, 3), 240, np.uint8)
    image[300:, 300:] = draw_disks(12, 100)
    assert find_busiest_place(ArraySource(image)) == (0.875, 0.875)
