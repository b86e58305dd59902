"""Nuclei in H&E, trained on CC0 images only: the stained ones of the 2018 Data Science Bowl.

As nuclei-he, without MoNuSeg, so that the model may be used for any purpose.

python tools/train.py configs/cell/mask-rcnn_lite0_small-anchor_nuclei-cc0.py
"""

_base_ = "../_base_/cell_lite.py"

_metainfo = dict(classes=("nucleus",))
_num_classes = len(_metainfo["classes"])

model = dict(
    roi_head=dict(
        bbox_head=dict(num_classes=_num_classes), mask_head=dict(num_classes=_num_classes)
    ),
)

_dsb2018 = dict(metainfo=_metainfo, pixel_size_um=None, num_folds=0)
train_dataloader = dict(dataset=dict(data_root="data/dsb2018/train", **_dsb2018))
val_dataloader = dict(dataset=dict(data_root="data/dsb2018/val", **_dsb2018))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=40, val_interval=20)  # 16 steps of four crops per epoch
default_hooks = dict(logger=dict(interval=8), checkpoint=dict(interval=5))
