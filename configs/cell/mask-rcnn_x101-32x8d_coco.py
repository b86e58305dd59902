"""Mask R-CNN, ResNeXt-101-32x8d, from COCO weights: the cheapest strong single model of peers.

A peer with this backbone, anchors of 8 to 128 px and 1000 detections reached AP50 0.574 on the
public leaderboard after about 9,000 steps. Not measured here: it wants a GPU.

Train: python tools/train.py configs/cell/mask-rcnn_x101-32x8d_coco.py
Test:  python tools/test.py configs/cell/mask-rcnn_x101-32x8d_coco.py CHECKPOINT --tta
"""

_base_ = [
    "../_base_/mask-rcnn_cell_coco.py",
    "../_base_/cell_gpu.py",
]

model = dict(
    # These weights were trained by Caffe2 at Facebook: B, G, R with a mean and std of their own
    # (mmdet's mask-rcnn_x101-32x8d_fpn_ms-poly-3x_coco.py).
    data_preprocessor=dict(
        mean=[103.530, 116.280, 123.675],
        std=[57.375, 57.120, 58.395],
        bgr_to_rgb=False,
    ),
    backbone=dict(
        type="ResNeXt",
        depth=101,
        groups=32,
        base_width=8,
        norm_cfg=dict(type="BN", requires_grad=False),
    ),
)

# COCO box AP 44.3. A local file: load_from="path/to/file.pth".
load_from = (
    "https://download.openmmlab.com/mmdetection/v2.0/mask_rcnn/"
    "mask_rcnn_x101_32x8d_fpn_mstrain-poly_3x_coco/"
    "mask_rcnn_x101_32x8d_fpn_mstrain-poly_3x_coco_20210607_161042-8bd2c639.pth"
)
