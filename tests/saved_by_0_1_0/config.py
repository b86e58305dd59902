"""A user's config of version 0.1.0, and a network small enough to keep its checkpoint here."""

_base_ = ["../../configs/cell/mask-rcnn_r18_small-anchor_demo.py"]

_channels = 8
_classes = ("round", "long")

model = dict(
    backbone=dict(base_channels=4, stem_channels=4),
    neck=dict(in_channels=[4, 8, 16, 32], out_channels=_channels),
    rpn_head=dict(in_channels=_channels, feat_channels=_channels),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=_channels),
        mask_roi_extractor=dict(out_channels=_channels),
        bbox_head=dict(in_channels=_channels, fc_out_channels=16, num_classes=2),
        mask_head=dict(in_channels=_channels, conv_out_channels=8, num_classes=2),
    ),
)

_dataset = dict(metainfo=dict(classes=_classes))
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=_dataset)
test_dataloader = val_dataloader
