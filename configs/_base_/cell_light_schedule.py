"""Schedule of small batches of crops: AdamW, warm-up and cosine, and the average of the weights.

In place of cell_schedule.py and cell_runtime.py; a recipe sets its epochs.
"""

_base_ = "./cell_runtime.py"

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=150, val_interval=5)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

# Batch norm tolerates the learning rate, and the clip catches the first steps' gradients.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=5e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.02, by_epoch=False, begin=0, end=100),
    dict(type="CosineAnnealingLR", by_epoch=True, convert_to_iter_based=True, eta_min=5e-6),
]
# --auto-scale-lr scales lr by (processes x batch size) / base_batch_size.
auto_scale_lr = dict(enable=False, base_batch_size=2)

# The average over about the last tenth of the steps so far is what is validated, saved under
# state_dict and tested. Its window grows with the steps, so that it never holds the random weights.
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type="EMAHook",
        ema_type="MomentumAnnealingEMA",
        momentum=0.001,
        gamma=10,
        update_buffers=True,  # the batch norms' statistics too
    ),
]
