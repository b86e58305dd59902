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

model = dict(
    roi_head=dict(
        bbox_head=dict(num_classes=_num_classes), mask_head=dict(num_classes=_num_classes)
    ),
)

_monuseg = dict(
    type="CellDataset",
    data_root="data/monuseg/train",
    channel_order="rgb",
    metainfo=_metainfo,
    pixel_size_um=0.25,  # 40x
    num_folds=5,
    fold=0,
    split="train",
    pipeline=_base_.train_pipeline,
)
_dsb2018 = dict(_monuseg, data_root="data/dsb2018/train", pixel_size_um=None, num_folds=0)

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="ConcatDataset",
        # An image of MoNuSeg holds twelve of DSB's: three crops of MoNuSeg to one of DSB.
        datasets=[dict(type="RepeatDataset", times=8, dataset=_monuseg), _dsb2018],
    ),
)
val_dataloader = dict(dataset=dict(data_root="data/monuseg/train", metainfo=_metainfo))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=30, val_interval=10)  # 64 steps of four crops per epoch
default_hooks = dict(logger=dict(interval=16), checkpoint=dict(interval=1))
