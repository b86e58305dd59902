"""Schedule: Adam at a constant rate after a short warm-up, 150 epochs."""

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=150, val_interval=5)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=5e-5))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=500),
]
# --auto-scale-lr scales lr by (processes x batch size) / base_batch_size.
auto_scale_lr = dict(enable=False, base_batch_size=2)
