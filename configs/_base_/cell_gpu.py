"""What the recipes for a GPU share: crops of 1024 px, augmentation, schedule, weight average.

Inherit it beside a model, in place of cell_dataset.py, cell_schedule.py and cell_runtime.py.
"""

_base_ = ["./cell_dataset.py", "./cell_runtime.py"]

# Small images grow to 1024 px but 2.5 times at most, large ones keep their own resolution: sides
# are 33 to 2500 px, and peers gained 0.10 AP50 by input size (1024 px) with small anchors.
_input_size = (1024, 1024)
_crop_size = (1024, 1024)

train_pipeline = [
    dict(type="LoadCellImage"),
    dict(type="LoadLabelMaps"),
    dict(type="LimitedResize", scale=_input_size, ratio_range=(0.75, 1.33)),
    dict(type="RandomCrop", crop_size=_crop_size, allow_negative_crop=True, recompute_bbox=True),
    # Slivers that a crop leaves at its border are no shape to learn.
    dict(type="FilterAnnotations", min_gt_bbox_wh=(4, 4), keep_empty=False),
    dict(type="RandomTranspose", prob=0.5),
    dict(type="RandomFlip", prob=0.75, direction=["horizontal", "vertical", "diagonal"]),
    dict(type="StainJitter"),
    dict(type="PackDetInputs", meta_keys=_base_.meta_keys),
]
test_pipeline = [
    dict(type="LoadCellImage"),
    dict(type="LimitedResize", scale=_input_size),
    dict(type="PackDetInputs", meta_keys=(*_base_.meta_keys, "instances")),
]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

# About 9,000 steps of two images, as the best cheap peer took: 107 epochs of 84 steps (4 of 5 folds
# of 209 images).
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=107, val_interval=10)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
# Mixed precision; AmpOptimWrapper needs a GPU. On a CPU, tools/train.py --amp takes bf16 instead, and
# --cfg-options optim_wrapper.type=OptimWrapper float32.
# AdamW at mmdet's fine-tuning rate of its Swin recipes, which also bears a batch of 2.
optim_wrapper = dict(
    type="AmpOptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=500),
    dict(type="CosineAnnealingLR", by_epoch=True, convert_to_iter_based=True, eta_min=1e-6),
]
auto_scale_lr = dict(enable=False, base_batch_size=2)

# The weight average over about the last tenth of the steps is validated, saved and tested.
custom_hooks = [
    *_base_.custom_hooks,
    dict(type="EMAHook", ema_type="MomentumAnnealingEMA", momentum=0.0005, gamma=10),
]
# tools/test.py --tta: flipped copies, worth 0.04 AP50 in other projects. Tiles: tools/predict.py.
tta_model = dict(type="CellTTAModel", rotations=(0, 2), mirror=True)
