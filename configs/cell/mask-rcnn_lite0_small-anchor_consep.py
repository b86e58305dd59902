"""Four classes of nuclei in H&E: EfficientNet-Lite0 with ImageNet weights, on CoNSeP.

27 training images of 1000 x 1000 px at 40x, converted with `cellseg convert`. A fifth of them validates, so
that settings are chosen on folds (`cellseg cross-validate`); the test set is for `cellseg test` once
the recipe is settled. To train on all 27 images:

python tools/train.py configs/cell/mask-rcnn_lite0_small-anchor_consep.py \
    --cfg-options train_dataloader.dataset.dataset.num_folds=0
"""

_base_ = "../_base_/cell_lite.py"

_metainfo = dict(classes=("epithelial", "inflammatory", "spindle-shaped", "other"))
_num_classes = len(_metainfo["classes"])
_consep = dict(
    type="CellDataset",
    data_root="data/consep/train",
    channel_order="rgb",
    metainfo=_metainfo,
    pixel_size_um=0.25,  # 40x
    num_folds=5,
    fold=0,
    split="train",
    pipeline=_base_.train_pipeline,
)

model = dict(
    roi_head=dict(
        bbox_head=dict(num_classes=_num_classes), mask_head=dict(num_classes=_num_classes)
    ),
)

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="RepeatDataset",  # eight crops of each image an epoch
        times=8,
        dataset=_consep,
    ),
)
val_dataloader = dict(
    dataset=dict(data_root="data/consep/train", metainfo=_metainfo),
)
test_dataloader = dict(
    dataset=dict(data_root="data/consep/test", metainfo=_metainfo, num_folds=0),
)

train_cfg = dict(max_epochs=30, val_interval=10)  # 42 to 44 steps of four crops per epoch
default_hooks = dict(logger=dict(interval=16), checkpoint=dict(interval=1))
