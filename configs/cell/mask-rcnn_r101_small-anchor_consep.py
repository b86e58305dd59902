"""The main model's network on CoNSeP's four classes, from random weights; for a GPU.

ResNet-101, necks and heads of 256 channels, the main model's anchors, and crops of 1024 x 1024 px
at 1.6 times the images' size. Without ImageNet weights every stage learns, and neck and mask head
have norms.

python tools/train.py configs/cell/mask-rcnn_r101_small-anchor_consep.py --amp
"""

_base_ = "./mask-rcnn_r18_small-anchor_consep.py"

_channels = 256
_raw_crop_size = (640, 640)  # px of the image
_crop_size = (1024, 1024)  # px of the network's input

model = dict(
    data_preprocessor=dict(
        batch_augments=[dict(type="BatchFixedSizePad", size=_crop_size, pad_mask=True)],
    ),
    backbone=dict(depth=101),
    neck=dict(in_channels=[256, 512, 1024, 2048], out_channels=_channels),
    rpn_head=dict(in_channels=_channels, feat_channels=_channels),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=_channels),
        mask_roi_extractor=dict(out_channels=_channels),
        bbox_head=dict(in_channels=_channels, fc_out_channels=1024),
        mask_head=dict(in_channels=_channels, conv_out_channels=_channels, num_convs=4),
    ),
    # A crop holds ten times the cells of a light recipe's crop.
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=4000, max_per_img=4000), rcnn=dict(sampler=dict(num=512))
    ),
)

_train_pipeline = _base_.train_pipeline
_train_pipeline[2].crop_size = _raw_crop_size
_train_pipeline[3].scale = (1024, 1024)
_train_pipeline[4].crop_size = _crop_size
train_dataloader = dict(
    batch_size=2, num_workers=4, dataset=dict(dataset=dict(pipeline=_train_pipeline))
)
