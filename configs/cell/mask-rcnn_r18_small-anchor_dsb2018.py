"""Nuclei of the 2018 Data Science Bowl's stained images, from random weights, on a CPU.

Also the example of how little a new data set takes: a folder, its channel order, its classes, and
an input size at which its cells are 16 to 96 px.

python tools/train.py configs/cell/mask-rcnn_r18_small-anchor_dsb2018.py
"""

_base_ = "./mask-rcnn_r18_small-anchor_demo.py"

_metainfo = dict(classes=("nucleus",))
_num_classes = 1
_input_size = (512, 512)  # 320 x 256 px images enlarged 1.6 times: the median nucleus is 26 px wide

model = dict(
    data_preprocessor=dict(batch_augments=None),  # all images have one shape: nothing to pad
    roi_head=dict(
        bbox_head=dict(num_classes=_num_classes),
        mask_head=dict(num_classes=_num_classes),
    ),
)

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
train_dataloader = dict(
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

train_cfg = dict(max_epochs=24, val_interval=4)
