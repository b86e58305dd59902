"""The CoNSeP recipe with ResNet-18 from random weights: what ImageNet weights and a light net gain.

python tools/train.py configs/cell/mask-rcnn_r18_small-anchor_consep.py
"""

_base_ = "./mask-rcnn_lite0_small-anchor_consep.py"

_channels = 128
_norm = dict(type="BN", momentum=0.03, requires_grad=True)

model = dict(
    backbone=dict(
        _delete_=True,
        type="ResNet",
        depth=18,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        norm_cfg=_norm,
        norm_eval=False,
        zero_init_residual=False,  # every block takes part from the first step
        style="pytorch",
    ),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=_channels),
    rpn_head=dict(in_channels=_channels, feat_channels=_channels),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=_channels),
        mask_roi_extractor=dict(out_channels=_channels),
        bbox_head=dict(in_channels=_channels, fc_out_channels=512),
        mask_head=dict(in_channels=_channels, conv_out_channels=64),
    ),
)
