"""A small Mask R-CNN from random weights on drawn cells: the whole job on 2 CPU cores in minutes.

make demo
"""

_base_ = [
    "../_base_/mask-rcnn_cell.py",
    "../_base_/cell_dataset.py",
    "../_base_/cell_schedule.py",
    "../_base_/cell_runtime.py",
]

_input_size = (256, 256)
_channels = 128  # half of the usual width, in neck and heads: a quarter of their work

model = dict(
    data_preprocessor=dict(
        batch_augments=[dict(type="BatchFixedSizePad", size=_input_size, pad_mask=True)],
    ),
    backbone=dict(
        depth=18,
        # No weights to start from: every stage learns, and so do the batch norms.
        init_cfg=None,
        frozen_stages=-1,
        norm_eval=False,
    ),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=_channels),
    rpn_head=dict(in_channels=_channels, feat_channels=_channels),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=_channels),
        mask_roi_extractor=dict(out_channels=_channels),
        bbox_head=dict(in_channels=_channels, fc_out_channels=512),
        mask_head=dict(in_channels=_channels, conv_out_channels=64, num_convs=2),
    ),
    train_cfg=dict(
        # 256 px hold about 60 cells: fewer proposals and RoIs than a slide needs.
        rpn_proposal=dict(nms_pre=1000, max_per_img=500),
        rcnn=dict(sampler=dict(num=192)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=1000, max_per_img=1000)),
)

# The inherited pipelines, at this input size.
_train_pipeline = [
    dict(type="LoadCellImage"),
    dict(type="LoadLabelMaps"),
    dict(type="Resize", scale=_input_size, keep_ratio=True),
    dict(type="RandomFlip", prob=0.75, direction=["horizontal", "vertical", "diagonal"]),
    dict(type="PackDetInputs", meta_keys=_base_.meta_keys),
]
_test_pipeline = [
    dict(type="LoadCellImage"),
    dict(type="Resize", scale=_input_size, keep_ratio=True),
    dict(type="PackDetInputs", meta_keys=(*_base_.meta_keys, "instances")),
]

# Drawn train and val images lie in folders of their own: no folds.
train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    dataset=dict(data_root="data/sample/train", num_folds=0, pipeline=_train_pipeline),
)
val_dataloader = dict(
    num_workers=1,
    dataset=dict(data_root="data/sample/val", num_folds=0, pipeline=_test_pipeline),
)
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=16, val_interval=4)
# A higher rate than fine-tuning needs, let down at the end; clipped, since nothing is pretrained.
optim_wrapper = dict(optimizer=dict(lr=5e-4), clip_grad=dict(max_norm=10.0))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, by_epoch=False, begin=0, end=30),
    dict(type="CosineAnnealingLR", by_epoch=True, convert_to_iter_based=True, eta_min=5e-6),
]

default_hooks = dict(
    logger=dict(interval=4),
    checkpoint=dict(interval=4),
)
