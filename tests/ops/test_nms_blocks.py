"""NMS in plain torch, which runs on a GPU without torchvision, equals that of the CPU."""

import importlib

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cellseg.ops import backend, nms, nms_blocks, nms_sweep
from tests.ops.test_nms import THRESHOLDS, draw_cells, rectangles, to_boxes

front = importlib.import_module("cellseg.ops.nms")


def compare(boxes: torch.Tensor, threshold: float, offset: int, max_pairs: int = 1 << 16) -> None:
    kept = nms_blocks.find_kept(boxes, threshold, offset, max_pairs)
    assert kept.dtype == torch.bool
    assert torch.equal(
        kept, torch.from_numpy(nms_sweep.find_kept(boxes.numpy(), threshold, offset))
    )


@settings(max_examples=200, deadline=None)
@example([(0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 10.0, 5.0)], 0.5, 0)  # IoU at the threshold
@example([(0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 10.0, 3.0)], 0.3, 0)  # in float32 only
@example([], 0.5, 0)
@given(rectangles, st.sampled_from(THRESHOLDS), st.sampled_from([0, 1]))
def test_find_kept_when_boxes_lie_anywhere_then_equals_the_cpu(drawn, threshold, offset) -> None:
    compare(to_boxes(drawn), threshold, offset)


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("offset", [0, 1])
def test_find_kept_when_boxes_make_many_blocks_then_equals_the_cpu(threshold, offset) -> None:
    compare(draw_cells(400)[0], threshold, offset, max_pairs=1)


def test_find_kept_when_each_box_drops_the_next_then_every_other_one_stays() -> None:
    places = torch.arange(60.0)[:, None]
    boxes = torch.cat([places, torch.zeros(60, 1), places + 3, torch.ones(60, 1)], dim=1)
    kept = nms_blocks.find_kept(boxes, 0.4, 0, 1 << 16)
    assert kept.tolist() == [True, False] * 30


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_find_kept_when_a_box_is_not_finite_then_equals_the_cpu(bad) -> None:
    boxes = draw_cells(200)[0]
    boxes[3, 1], boxes[7, 2], boxes[9] = bad, bad, bad
    compare(boxes, 0.3, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_nms_when_there_is_no_torchvision_then_a_device_gives_what_the_cpu_gives(
    monkeypatch, dtype
) -> None:
    drawn, scores = draw_cells(300)
    scores = scores.div(40).floor().to(dtype)  # tied
    expected = nms(drawn.to(dtype), scores, 0.5)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    monkeypatch.setattr(backend, "uses_torchvision", lambda tensor: False)
    monkeypatch.setattr(front, "is_on_cpu", lambda tensor: False)  # its way, on whatever device
    monkeypatch.setattr(nms_sweep, "find_kept", lambda *args: pytest.fail("went to the host"))
    found = nms(drawn.to(device, dtype), scores.to(device), 0.5)
    assert found.cpu().tolist() == expected.tolist()


def test_settle_when_nothing_overlaps_then_all_stay() -> None:
    assert nms_blocks.settle(torch.zeros(4, 4, dtype=torch.bool)).all()
    assert len(nms_blocks.settle(torch.zeros(0, 0, dtype=torch.bool))) == 0
