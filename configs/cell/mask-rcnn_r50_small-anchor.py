"""The main model with a ResNet-50: how much of the result is the backbone's depth?"""

_base_ = "./mask-rcnn_r101_small-anchor.py"

model = dict(
    backbone=dict(
        depth=50,
        init_cfg=dict(checkpoint="https://download.pytorch.org/models/resnet50-0676ba61.pth"),
    ),
)
