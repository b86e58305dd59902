"""The visualizer takes what the pipeline and the mask head give it."""

import uuid

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import VISUALIZERS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData

from cellseg.structures.label_map_masks import LabelMapMasks
from cellseg.structures.rle import encode_label_map
from cellseg.visualization.cell_visualizer import (
    CellVisualizer,
    find_ground_truth,
    find_predictions,
    write_image,
)


def make_sample(kind: str = "instances", with_ignored: bool = False) -> DetDataSample:
    """Make a 64 x 48 sample of two cells; its predictions are the same cells."""
    label_map = np.zeros((48, 64), dtype=np.int32)
    label_map[4:14, 6:20], label_map[20:40, 30:50] = 3, 9
    ids, boxes, areas, rles = encode_label_map(label_map)
    sample = DetDataSample(metainfo={"ori_shape": (48, 64)})
    if kind == "instances":
        instances = [
            {"bbox": box.tolist(), "bbox_label": k, "ignore_flag": 0, "mask": rle}
            for k, (box, rle) in enumerate(zip(boxes, rles, strict=True))
        ]
        if with_ignored:
            instances[1] |= {"bbox_label": -1, "ignore_flag": 1}
        sample.set_metainfo({"instances": instances})
        sample.gt_instances = InstanceData()
    else:
        masks = LabelMapMasks(label_map[None], np.zeros(2, dtype=int), ids)
        counted = InstanceData(
            bboxes=HorizontalBoxes(torch.tensor(boxes, dtype=torch.float32)),
            labels=torch.tensor([0, 1]),
            masks=masks,
        )
        sample.gt_instances = counted[:1] if with_ignored else counted
        sample.ignored_instances = counted[1:] if with_ignored else counted[:0]
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32),
        scores=torch.tensor([0.2, 0.9]),
        labels=torch.tensor([0, 1]),
        masks=rles,
    )
    return sample


def make_visualizer(**options) -> CellVisualizer:
    name = f"visualizer-{uuid.uuid4()}"  # instances are global by name
    visualizer = VISUALIZERS.build({"type": "CellVisualizer", "name": name, **options})
    palette = [(255, 0, 0), (0, 255, 0)]
    visualizer.dataset_meta = {"classes": ("nucleus", "blob"), "palette": palette}
    return visualizer


@pytest.mark.parametrize("with_ignored", [False, True])
def test_draw_comparison_when_truth_is_rle_or_label_map_then_draws_the_same(with_ignored) -> None:
    image = np.full((48, 64, 3), 200, dtype=np.uint8)
    visualizer = make_visualizer()
    as_rle = visualizer.draw_comparison(image, make_sample("instances", with_ignored))
    as_map = visualizer.draw_comparison(image, make_sample("label map", with_ignored))
    np.testing.assert_array_equal(as_rle, as_map)
    assert as_rle.shape[1] > 2 * 64 * 4  # enlarged at most 4 times, two panels


def test_draw_comparison_when_score_is_low_then_leaves_the_cell_out() -> None:
    image = np.full((48, 64, 3), 200, dtype=np.uint8)
    visualizer = make_visualizer(min_side_px=0)
    sample = make_sample()
    red = []
    for thr in (0.1, 0.5):
        drawn = visualizer.draw_comparison(image, sample, draw_gt=False, pred_score_thr=thr)
        red.append((drawn[-48:] == (255, 0, 0)).all(axis=2).sum())
    assert red[0] > red[1] == 0


def test_find_predictions_when_masks_are_tensors_then_picks_by_score() -> None:
    cells = InstanceData(
        bboxes=torch.zeros(3, 4),
        scores=torch.tensor([0.5, 0.1, 0.8]),
        labels=torch.tensor([0, 1, 2]),
        masks=torch.eye(3, dtype=torch.bool).reshape(3, 1, 3),
    )
    picked = find_predictions(cells, (1, 3), 0.3)
    assert picked.labels.tolist() == [2, 0]
    assert picked.measure()[0][:, 0].tolist() == [2, 0]


@pytest.mark.parametrize("masks", [[], torch.zeros(0, 48, 64, dtype=torch.bool)])
def test_draw_comparison_when_nothing_is_predicted_then_draws_both_panels(masks) -> None:
    sample = make_sample()
    sample.pred_instances = InstanceData(
        bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0).long(), masks=masks
    )
    drawn = make_visualizer().draw_comparison(np.zeros((48, 64, 3), dtype=np.uint8), sample)
    assert drawn.shape[1] > 2 * 64 * 4


def test_draw_comparison_when_there_are_no_masks_then_draws_boxes() -> None:
    sample = make_sample()
    del sample.pred_instances.masks
    image = np.full((48, 64, 3), 200, dtype=np.uint8)
    drawn = make_visualizer(min_side_px=0).draw_comparison(image, sample, draw_gt=False)
    assert (drawn[-48:][20, 30:50] == (0, 255, 0)).all()


def test_find_ground_truth_when_masks_have_another_size_then_takes_instances() -> None:
    sample = make_sample("label map")
    assert find_ground_truth(sample, (96, 128)) is None
    sample.set_metainfo({"instances": []})
    truth = find_ground_truth(sample, (96, 128))
    assert truth is not None
    assert len(truth.labels) == 0


def test_add_datasample_when_out_file_is_given_then_writes_what_it_drew(tmp_path) -> None:
    image = np.zeros((48, 64, 3), dtype=np.uint8)
    image[..., 0] = 200  # red in RGB
    visualizer = make_visualizer(min_side_px=0)
    visualizer.add_datasample("a", image, make_sample(), out_file=tmp_path / "new" / "a.png")
    written = cv2.imread(str(tmp_path / "new" / "a.png"))
    assert written[-1, 0].tolist() == [0, 0, 200]
    np.testing.assert_array_equal(visualizer.get_image()[..., ::-1], written)


def test_add_datasample_when_it_goes_to_backends_then_they_get_it(tmp_path) -> None:
    backends = [{"type": "LocalVisBackend"}, {"type": "TensorboardVisBackend"}]
    visualizer = make_visualizer(vis_backends=backends, save_dir=str(tmp_path))
    visualizer.add_datasample("a", np.zeros((48, 64, 3), dtype=np.uint8), make_sample(), step=3)
    visualizer.close()
    assert list(tmp_path.rglob("a_3.png"))
    assert list(tmp_path.rglob("events.out.tfevents*"))


def test_write_image_when_the_suffix_is_unknown_then_is_png(tmp_path) -> None:
    path = write_image(tmp_path / "slide.1", np.zeros((4, 4, 3), dtype=np.uint8))
    assert path.read_bytes().startswith(b"\x89PNG")
