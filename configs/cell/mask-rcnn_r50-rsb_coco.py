"""Mask R-CNN, ResNet-50 with "strikes back" weights, from COCO weights: the smallest GPU recipe.

ResNet strikes back (RSB, https://arxiv.org/abs/2110.00476) trained the backbone longer on ImageNet:
COCO mask AP 38.2, against 34.7 with the usual weights. Not trained here: it wants a GPU.

Train: python tools/train.py configs/cell/mask-rcnn_r50-rsb_coco.py
Test:  python tools/test.py configs/cell/mask-rcnn_r50-rsb_coco.py CHECKPOINT --tta
"""

_base_ = [
    "../_base_/mask-rcnn_cell_coco.py",
    "../_base_/cell_gpu.py",
]

# Norms are not decayed, as these weights were trained on COCO (mmdet's mask-rcnn_r50-rsb-pre_fpn_1x_coco.py).
optim_wrapper = dict(paramwise_cfg=dict(norm_decay_mult=0.0, bypass_duplicate=True))

# A local file: load_from="path/to/file.pth".
load_from = (
    "https://download.openmmlab.com/mmdetection/v2.0/resnet_strikes_back/"
    "mask_rcnn_r50_fpn_rsb-pretrain_1x_coco/"
    "mask_rcnn_r50_fpn_rsb-pretrain_1x_coco_20220113_174054-06ce8ba0.pth"
)
