"""Train a model further on your own images: what `cellseg new` and `cellseg train --from` inherit from.

A config that inherits from it says where to start (`start_from`), how much images are enlarged
(`cell_scale`) and where the data lies. Network, classes and pipelines follow from these.
"""

_base_ = ["./cell_dataset.py", "./cell_light_schedule.py"]

cell_classes = "data"  # those of the data folder's dataset.json

_dataset = dict(
    _delete_=True, type="CellDataset", num_folds=0, fold=0, pipeline=[]
)  # cell_scale makes the pipelines

train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    batch_sampler=None,  # all crops have one size, whatever the shape of the image
    drop_last=True,  # the statistics of a last batch of one image are too poor
    dataset=dict(
        _delete_=True,
        type="RepeatDataset",
        times=1,
        dataset=dict(type="CellDataset", num_folds=0, fold=0, split="train", pipeline=[]),
    ),
)
val_dataloader = dict(num_workers=1, dataset=dict(**_dataset, split="val", test_mode=True))
test_dataloader = val_dataloader

val_evaluator = dict(max_dets=3000)
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=10, val_interval=2)

# The learning rate is that of cell_light_schedule.py: classes that the model does not know start alike,
# and at a fifth of it they are hardly told apart after 200 steps (docs/models.md).
param_scheduler = [
    dict(type="LinearLR", start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", by_epoch=True, convert_to_iter_based=True, eta_min=1e-6),
]
auto_scale_lr = dict(enable=False, base_batch_size=4)

default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=1))
