"""Cascade Mask R-CNN, ResNeXt-101-64x4d, from COCO weights: built to pass the best public result.

The best public result found on the same data, AP50 0.616, is this model at 1024 px with copy-paste.
Not measured here: it wants a GPU. cascade-mask-rcnn_x101-64x4d_coco_copy-paste.py adds cells of rare
classes from other images.

Train: python tools/train.py configs/cell/cascade-mask-rcnn_x101-64x4d_coco.py
Test:  python tools/test.py configs/cell/cascade-mask-rcnn_x101-64x4d_coco.py CHECKPOINT --tta
"""

_base_ = [
    "../_base_/cascade-mask-rcnn_cell.py",
    "../_base_/cell_gpu.py",
]

model = dict(
    # Mean and std of PyTorch's ImageNet models, R, G, B: the base's, and those of these weights.
    backbone=dict(
        type="ResNeXt",
        depth=101,
        groups=64,
        base_width=4,
        init_cfg=None,  # load_from brings the backbone too
    ),
)

# COCO mask AP 40.3. A local file: load_from="path/to/file.pth".
load_from = (
    "https://download.openmmlab.com/mmdetection/v2.0/cascade_rcnn/"
    "cascade_mask_rcnn_x101_64x4d_fpn_mstrain_3x_coco/"
    "cascade_mask_rcnn_x101_64x4d_fpn_mstrain_3x_coco_20210719_210311-d3e64ba0.pth"
)
