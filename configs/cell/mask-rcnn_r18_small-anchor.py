"""The main model with a ResNet-18: the cheapest backbone of the comparison."""

_base_ = "./mask-rcnn_r101_small-anchor.py"

model = dict(
    backbone=dict(
        depth=18,
        init_cfg=dict(checkpoint="https://download.pytorch.org/models/resnet18-f37072fd.pth"),
    ),
    # Basic blocks: a quarter of the bottleneck's channels.
    neck=dict(in_channels=[64, 128, 256, 512]),
)
