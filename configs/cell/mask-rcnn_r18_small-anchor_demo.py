"""A small Mask R-CNN from random weights on drawn cells: the whole job on 2 CPU cores in minutes.

make demo
"""

_base_ = [
    "../_base_/cell_from_scratch.py",
    "../_base_/cell_schedule.py",
    "../_base_/cell_runtime.py",
]

_input_size = (256, 256)

model = dict(
    data_preprocessor=dict(
        batch_augments=[dict(type="BatchFixedSizePad", size=_input_size, pad_mask=True)],
    ),
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

train_dataloader = dict(dataset=dict(data_root="data/sample/train", pipeline=_train_pipeline))
val_dataloader = dict(dataset=dict(data_root="data/sample/val", pipeline=_test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=16, val_interval=4)
# A higher rate than fine-tuning needs, decayed at the end; clipped, since nothing is pretrained.
optim_wrapper = dict(optimizer=dict(lr=5e-4), clip_grad=dict(max_norm=10.0))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, by_epoch=False, begin=0, end=30),
    dict(type="CosineAnnealingLR", by_epoch=True, convert_to_iter_based=True, eta_min=5e-6),
]

default_hooks = dict(
    logger=dict(interval=4),
    checkpoint=dict(interval=4),
)
