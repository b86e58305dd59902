"""Nuclei of the 2018 Data Science Bowl's stained images, from random weights, on a CPU.

Also the example of how little a new data set takes: a folder, its channel order, its classes, and
an input size at which its cells are 16 to 96 px. The rest is what helps a network learn from random
weights on 65 images within an hour.

python tools/train.py configs/cell/mask-rcnn_r18_small-anchor_dsb2018.py
"""

_base_ = ["../_base_/cell_from_scratch.py", "../_base_/cell_light_schedule.py"]

_metainfo = dict(classes=("nucleus",))
_num_classes = len(_metainfo["classes"])
_input_size = (512, 512)  # 320 x 256 px images enlarged 1.6 times: the median nucleus is 26 px wide
_crop_size = (288, 288)  # a third of such an image: four images per step, for the batch norms
# Random weights need norms in neck and mask head too (He et al., https://arxiv.org/abs/1811.08883).
# Batch norm, whose statistics are constants once trained: group norm takes them from the input as a
# whole, so that a tile and the image around it come out differently. The small momentum averages
# over some 30 steps, as four images are few.
_norm = dict(type="BN", momentum=0.03, requires_grad=True)

model = dict(
    data_preprocessor=dict(
        batch_augments=[dict(type="BatchFixedSizePad", size=_crop_size, pad_mask=True)],
    ),
    # Every block takes part from the first step: few steps are left to wake a block that adds zero.
    backbone=dict(norm_cfg=_norm, zero_init_residual=False),
    neck=dict(norm_cfg=_norm),
    roi_head=dict(
        bbox_head=dict(num_classes=_num_classes),
        mask_head=dict(num_classes=_num_classes, norm_cfg=_norm),
    ),
)

_train_pipeline = [
    dict(type="LoadCellImage"),
    dict(type="LoadLabelMaps"),
    dict(type="RandomResize", scale=_input_size, ratio_range=(0.8, 1.25), keep_ratio=True),
    dict(type="RandomCrop", crop_size=_crop_size, allow_negative_crop=True, recompute_bbox=True),
    # A crop leaves slivers of nuclei at its border; thinner than 4 px they are no shape to learn.
    dict(type="FilterAnnotations", min_gt_bbox_wh=(4, 4), keep_empty=False),
    dict(type="RandomTranspose", prob=0.5),
    dict(type="RandomFlip", prob=0.75, direction=["horizontal", "vertical", "diagonal"]),
    dict(type="StainJitter"),
    dict(type="PackDetInputs", meta_keys=_base_.meta_keys),
]
_test_pipeline = [
    dict(type="LoadCellImage"),
    dict(type="Resize", scale=_input_size, keep_ratio=True),
    dict(type="PackDetInputs", meta_keys=(*_base_.meta_keys, "instances")),
]
train_dataloader = dict(
    batch_size=4,
    batch_sampler=None,  # all crops have one size, whatever the shape of the image
    drop_last=True,  # the statistics of a last batch of one image are too poor
    dataset=dict(
        data_root="data/dsb2018/train",
        channel_order="rgb",
        metainfo=_metainfo,
        pipeline=_train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        data_root="data/dsb2018/val",
        channel_order="rgb",
        metainfo=_metainfo,
        pipeline=_test_pipeline,
    ),
)
test_dataloader = val_dataloader

# 1,120 steps of four crops: 30 minutes on one AVX2 core, the other one busy too.
train_cfg = dict(max_epochs=70, val_interval=10)
default_hooks = dict(
    logger=dict(interval=8),  # twice an epoch of 16 steps
    checkpoint=dict(interval=5),
)
