"""Mask R-CNN for dense cells with the anchors that an RPN with COCO weights still fits."""

_base_ = "./mask-rcnn_cell.py"

model = dict(
    backbone=dict(init_cfg=None),  # load_from brings the backbone too
    rpn_head=dict(
        # 8 to 128 px in 3 ratios: as many anchors a point as in COCO (peers: AP50 0.10 without a
        # pretrained RPN, 0.52 with one).
        anchor_generator=dict(
            _delete_=True,
            type="AnchorGenerator",
            strides=[4, 8, 16, 32, 64],
            scales=[2],
            ratios=[0.5, 1.0, 2.0],
        ),
    ),
)
