"""The main model: Mask R-CNN, ResNet-101 FPN, anchors that fit cells (16 to 96 px, 8 ratios), Adam.

Train: python tools/train.py configs/cell/mask-rcnn_r101_small-anchor.py
Test:  python tools/test.py configs/cell/mask-rcnn_r101_small-anchor.py work_dirs/mask-rcnn_r101_small-anchor/best_*.pth
"""

_base_ = [
    "../_base_/mask-rcnn_cell.py",
    "../_base_/cell_dataset.py",
    "../_base_/cell_schedule.py",
    "../_base_/cell_runtime.py",
]

model = dict(
    backbone=dict(
        depth=101,
        # ImageNet weights. A local file: checkpoint="path/to/resnet101.pth"; none: init_cfg=None.
        init_cfg=dict(
            type="Pretrained",
            checkpoint="https://download.pytorch.org/models/resnet101-63fe2227.pth",
        ),
    ),
)
