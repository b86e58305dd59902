"""Every way of finding the boxes to keep on a CPU gives the same, whichever is chosen."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cellseg.ops import nms_sweep
from tests.ops.reference import plain_nms
from tests.ops.test_nms import THRESHOLDS, draw_cells, rectangles, to_boxes


@pytest.fixture(params=["few", "sweep", "crowd", "too many pairs"])
def way(request, monkeypatch) -> str:
    """Let each way be taken by however few boxes."""
    settings = {
        "few": {"_FEW": 1000},
        "sweep": {"_FEW": 1, "_CROWD": 1e9, "_CHUNK": 50},
        "crowd": {"_FEW": 1, "_CROWD": 0},
        "too many pairs": {"_FEW": 1, "_CROWD": 1e9, "_PAIRS_PER_BOX": 0},
    }[request.param]
    for name, value in settings.items():
        assert hasattr(nms_sweep, name)
        monkeypatch.setattr(nms_sweep, name, value)
    return request.param


def compare(boxes: np.ndarray, threshold: float, offset: int) -> None:
    kept = nms_sweep.find_kept(boxes, threshold, offset)
    scores = -np.arange(len(boxes))
    assert kept.nonzero()[0].tolist() == plain_nms(boxes, scores, threshold, offset)


@pytest.mark.usefixtures("way")
def test_find_kept_when_boxes_lie_anywhere_then_equals_plain() -> None:
    @settings(max_examples=80, deadline=None)
    @example([(0.0, 0.0, 2.0**-126, 10.0), (0.0, 0.0, 2.0**-126, 9.0)], 0.5, 0)  # areas underflow
    @example([(5.0, 5.0, 10.0, 10.0)] * 3, 1.0, 0)  # no IoU is above 1
    @given(rectangles, st.sampled_from(THRESHOLDS), st.sampled_from([0, 1]))
    def check(drawn, threshold, offset) -> None:
        compare(to_boxes(drawn).numpy(), threshold, offset)

    check()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_find_kept_when_cells_are_dense_then_equals_plain(threshold) -> None:
    compare(draw_cells(250)[0].numpy(), threshold, 0)


@pytest.mark.usefixtures("way")
def test_find_kept_when_some_boxes_have_no_area_then_equals_plain() -> None:
    boxes = draw_cells(200)[0].numpy()
    boxes[::9, 2] = boxes[::9, 0]
    boxes[5] = [30, 30, 20, 20]
    boxes[6] = np.nan
    compare(boxes, 0.3, 0)


def test_find_kept_when_half_of_the_boxes_lie_at_one_place_then_lists_no_flood_of_pairs(
    monkeypatch,
) -> None:
    boxes = draw_cells(1000, size_px=5000)[0].numpy()
    boxes[::2] = [50, 50, 70, 70]
    numbers = []
    real = nms_sweep._Sweep.find_overlaps

    def note(sweep, *args):
        numbers.append(sweep.num_pairs)
        return real(sweep, *args)

    monkeypatch.setattr(nms_sweep._Sweep, "find_overlaps", note)
    monkeypatch.setattr(nms_sweep, "_PAIRS_PER_BOX", 20)
    compare(boxes, 0.5, 0)
    assert len(numbers) == 1
    assert numbers[0] < 20_000
