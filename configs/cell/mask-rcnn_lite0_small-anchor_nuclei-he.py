"""Nuclei in H&E of any organ: EfficientNet-Lite0 with ImageNet weights, on MoNuSeg and DSB 2018.

Four fifths of MoNuSeg's training images (1000 x 1000 px, 40x, seven organs) and the stained images
of the 2018 Data Science Bowl are trained on; the other fifth of MoNuSeg validates. Both are at
about 0.25 um a pixel.

python tools/train.py configs/cell/mask-rcnn_lite0_small-anchor_nuclei-he.py

To hold out an organ in place of a fifth of the images, give the MoNuSeg set (datasets.0.dataset of
train_dataloader.dataset) and val_dataloader.dataset num_folds=7 and
groups_file=configs/_base_/monuseg_organs.csv; fold=0 to 6 is the organ.
"""

_base_ = "../_base_/cell_lite.py"

_metainfo = dict(classes=("nucleus",))
_num_classes = len(_metainfo["classes"])
_scale = 1.6  # enlarged this much, the median nucleus is some 30 px wide
_raw_crop_size = (320, 320)  # px of the image
_crop_size = (320, 320)  # px of the network's input
_meta_keys = (*_base_.meta_keys, "instances")

model = dict(
    roi_head=dict(
        bbox_head=dict(num_classes=_num_classes), mask_head=dict(num_classes=_num_classes)
    ),
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
    dict(type="PackDetInputs", meta_keys=_meta_keys),
]
_monuseg = dict(
    type="CellDataset",
    data_root="data/monuseg/train",
    channel_order="rgb",
    metainfo=_metainfo,
    pixel_size_um=0.25,  # 40x
    num_folds=5,
    fold=0,
    split="train",
    pipeline=train_pipeline,
)
_dsb2018 = dict(_monuseg, data_root="data/dsb2018/train", pixel_size_um=None, num_folds=0)

train_dataloader = dict(
    _delete_=True,
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    batch_sampler=None,  # all crops have one size, whatever the shape of the image
    drop_last=True,  # the statistics of a last batch of one image are too poor
    dataset=dict(
        type="ConcatDataset",
        # An image of MoNuSeg holds twelve of DSB's: three crops of MoNuSeg to one of DSB.
        datasets=[dict(type="RepeatDataset", times=8, dataset=_monuseg), _dsb2018],
    ),
)
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        data_root="data/monuseg/train",
        channel_order="rgb",
        metainfo=_metainfo,
        pixel_size_um=0.25,
        num_folds=5,
        fold=0,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(max_dets=3000)
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=30, val_interval=10)  # 64 steps of four crops an epoch
default_hooks = dict(logger=dict(interval=16), checkpoint=dict(interval=1))
