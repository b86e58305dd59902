"""Masks are lists of RLEs from RoI head to data sample, detections or none."""

import pytest
import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from cellseg.models import Fp32SingleRoIExtractor

CLASSES = 2


def build_roi_head(name: str, num_stages: int = 2):
    """Build a small RoI head with cropped mask heads."""
    extractor = dict(
        type="Fp32SingleRoIExtractor",
        roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=0),
        out_channels=4,
        featmap_strides=[4],
    )
    box_head = dict(
        type="Fp32Shared2FCBBoxHead", in_channels=4, fc_out_channels=8, num_classes=CLASSES
    )
    mask_head = dict(
        type="CroppedMaskHead",
        num_convs=1,
        in_channels=4,
        conv_out_channels=4,
        num_classes=CLASSES,
    )
    test_cfg = ConfigDict(
        score_thr=0.0,
        nms=dict(type="nms", iou_threshold=0.9),
        max_per_img=5,
        mask_thr_binary=0.5,
    )
    config = dict(
        type=name,
        bbox_roi_extractor=extractor,
        bbox_head=box_head,
        mask_roi_extractor=extractor,
        mask_head=mask_head,
        test_cfg=test_cfg,
    )
    if "Cascade" in name:
        config["num_stages"], config["stage_loss_weights"] = num_stages, [1] * num_stages
        config["bbox_head"], config["mask_head"] = [box_head] * num_stages, [mask_head] * num_stages
    return MODELS.build(config).eval()


def predict(head, num_proposals: list[int], dtype=torch.float32, **meta):
    """Predict on drawn features and proposals."""
    meta = dict(img_shape=(64, 64), ori_shape=(32, 32), scale_factor=(2.0, 2.0), **meta)
    proposals = [
        InstanceData(bboxes=torch.tensor([[8.0, 8, 40, 44]]).repeat(number, 1))
        for number in num_proposals
    ]
    samples = [DetDataSample(metainfo=meta) for _ in num_proposals]
    feats = (torch.randn(len(num_proposals), 4, 16, 16).to(dtype),)
    with torch.no_grad():
        results = head.predict(feats, proposals, samples, rescale=True)
    return BaseDetector.add_pred_to_datasample(None, samples, results)


@pytest.mark.parametrize("name", ["RleRoIHead", "RleCascadeRoIHead"])
@pytest.mark.parametrize("num_proposals", [[3], [0], [0, 0], [2, 3]])
def test_predict_when_there_are_detections_or_none_then_masks_are_rle_lists(name, num_proposals):
    torch.manual_seed(0)
    for number, sample in zip(
        num_proposals, predict(build_roi_head(name), num_proposals), strict=True
    ):
        instances = sample.pred_instances
        assert isinstance(instances.masks, list)
        assert len(instances.masks) == len(instances.bboxes)
        assert (len(instances.masks) > 0) == (number > 0)
        assert all(rle["size"] == [32, 32] for rle in instances.masks)
        assert len(sample.to_dict()["pred_instances"]["masks"]) == len(instances.masks)


def test_predict_when_one_image_of_two_has_no_proposal_then_its_masks_are_an_empty_list():
    samples = predict(build_roi_head("RleRoIHead"), [0, 2])
    assert samples[0].pred_instances.masks == []
    assert len(samples[1].pred_instances.masks) > 0


def test_predict_when_features_are_bfloat16_then_widens_them_once(monkeypatch):
    seen = []
    forward = Fp32SingleRoIExtractor.forward

    def watch(self, feats, *args):
        seen.append((feats[0].dtype, feats[0].data_ptr()))
        return forward(self, feats, *args)

    monkeypatch.setattr(Fp32SingleRoIExtractor, "forward", watch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predict(build_roi_head("RleRoIHead"), [3], dtype=torch.bfloat16)
    assert len(seen) == 2
    assert set(seen) == {(torch.float32, seen[0][1])}


def test_predict_when_results_move_between_devices_then_the_rles_stay():
    (sample,) = predict(build_roi_head("RleRoIHead"), [3])
    moved = sample.cpu().detach().clone()
    assert moved.pred_instances.masks == sample.pred_instances.masks


def test_predict_when_a_cascade_sees_a_flipped_image_then_masks_stay_in_its_frame():
    masks = []
    for flipped in (False, True):
        torch.manual_seed(0)
        head = build_roi_head("RleCascadeRoIHead")
        (sample,) = predict(head, [2], flip=flipped, flip_direction="horizontal")
        masks.append(sample.pred_instances.masks)
    assert masks[0] == masks[1]
