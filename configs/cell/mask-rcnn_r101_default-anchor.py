"""The main model with MMDetection's own anchors (32 to 512 px, 3 ratios): the comparison's other side."""

_base_ = "./mask-rcnn_r101_small-anchor.py"

model = dict(
    rpn_head=dict(
        anchor_generator=dict(
            _delete_=True,
            type="AnchorGenerator",
            strides=[4, 8, 16, 32, 64],
            scales=[8],
            ratios=[0.5, 1.0, 2.0],
        ),
    ),
)
