"""Dumps keep RLE lists, and load where MMDetection's tools load them."""

import pickle

import numpy as np
import torch
from mmdet.registry import METRICS

from cellseg.scoring.dump_results import DumpCellResults
from cellseg.structures.rle import encode_crop


def dump(samples: list[dict], path) -> list[dict]:
    """Dump samples, one a batch, and read the file back."""
    metric = METRICS.build({"type": "DumpCellResults", "out_file_path": str(path)})
    for one in samples:
        metric.process({}, [one])
    assert metric.evaluate(len(samples)) == {}
    with path.open("rb") as file:
        return pickle.load(file)


def make_sample(img_id: int, masks) -> dict:
    return {
        "img_id": img_id,
        "ori_shape": (16, 16),
        "gt_instances": {"bboxes": torch.zeros(3, 4)},
        "ignored_instances": {},
        "instances": [],
        "pred_instances": {"scores": torch.rand(len(masks)), "masks": masks},
    }


def test_dump_cell_results_when_masks_are_rles_or_tensors_then_both_come_back_as_rles(
    tmp_path,
) -> None:
    rle = encode_crop(np.ones((3, 4), dtype=bool), 2, 1, 16, 16)
    bitmap = torch.zeros(1, 16, 16, dtype=torch.bool)
    bitmap[0, 1:4, 2:6] = True
    loaded = dump(
        [make_sample(1, [rle]), make_sample(2, bitmap), make_sample(3, [])], tmp_path / "out.pkl"
    )
    assert [one["pred_instances"]["masks"] for one in loaded] == [[rle], [rle], []]
    assert all("gt_instances" not in one and "instances" in one for one in loaded)


def test_dump_cell_results_when_processing_then_leaves_the_samples_alone(tmp_path) -> None:
    one = make_sample(1, torch.zeros(2, 16, 16, dtype=torch.bool))
    DumpCellResults(str(tmp_path / "out.pkl")).process({}, [one])
    assert one["pred_instances"]["masks"].shape == (2, 16, 16)
    assert "gt_instances" in one
