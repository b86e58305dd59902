"""Regions to ignore are cut so that their boxes hold little else."""

import numpy as np
import pytest
from scipy import ndimage

from cellseg.datasets.ignored_boxes import cut_into_boxes


def measure(region: np.ndarray) -> tuple[int, int]:
    """Cut a mask; return how many pieces there are, and pixels of their boxes beside it."""
    pieces = cut_into_boxes(region.astype(np.int32) * 3)
    np.testing.assert_array_equal(pieces > 0, region)
    covered = np.zeros(region.shape, dtype=bool)
    for box in ndimage.find_objects(pieces):
        covered[box] = True
    return int(pieces.max()), int((covered & ~region).sum())


def test_cut_when_the_region_is_a_frame_then_four_boxes_leave_what_it_surrounds():
    frame = np.ones((200, 300), dtype=bool)
    frame[20:150, 40:250] = False
    assert measure(frame) == (4, 0)


def test_cut_when_the_hole_is_round_then_little_of_it_is_covered():
    y, x = np.mgrid[:200, :300]
    count, beside = measure((x - 150) ** 2 + (y - 100) ** 2 > 60**2)
    assert count < 80
    assert beside < 0.1 * np.pi * 60**2


@pytest.mark.parametrize("radius", [3, 20])
def test_cut_when_the_region_is_like_a_cell_then_it_stays_whole(radius):
    y, x = np.mgrid[:64, :64]
    assert measure((x - 30) ** 2 + (y - 30) ** 2 < radius**2)[0] == 1


def test_cut_when_the_region_is_full_of_holes_then_the_number_is_bounded():
    y, x = np.mgrid[:600, :600]
    assert measure(np.sin(x / 9) + np.sin(y / 7) > 0)[0] <= 256


def test_cut_when_there_are_no_or_several_regions_then_none_are_joined():
    assert not cut_into_boxes(np.zeros((4, 0), dtype=np.int32)).any()
    two = np.zeros((20, 200), dtype=np.int32)
    two[:, :100], two[:, 100:] = 2, 5
    assert len(np.unique(cut_into_boxes(two))) == 2
