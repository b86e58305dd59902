"""Nuclei of the 2018 Data Science Bowl's stained images, from random weights, on a CPU.

Also the example of how little a new data set takes: a folder, its channel order, its classes.

    python tools/train.py configs/cell/mask-rcnn_r18_small-anchor_dsb2018.py \
        --cfg-options train_dataloader.dataset.data_root=PATH/train val_dataloader.dataset.data_root=PATH/val
"""

_base_ = "./mask-rcnn_r18_small-anchor_demo.py"

_metainfo = dict(classes=("nucleus",))
_num_classes = 1

model = dict(
    roi_head=dict(
        bbox_head=dict(num_classes=_num_classes),
        mask_head=dict(num_classes=_num_classes),
    ),
)

train_dataloader = dict(
    dataset=dict(data_root="data/dsb2018/train", channel_order="rgb", metainfo=_metainfo),
)
val_dataloader = dict(
    dataset=dict(data_root="data/dsb2018/val", channel_order="rgb", metainfo=_metainfo),
)
test_dataloader = val_dataloader
