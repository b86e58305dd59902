"""Runtime: what the Runner prints, keeps, draws and logs."""

_base_ = "mmdet::_base_/default_runtime.py"

custom_imports = dict(imports=["cellseg"], allow_failed_imports=False)

default_hooks = dict(
    checkpoint=dict(
        type="AtomicCheckpointHook",
        interval=5,
        max_keep_ckpts=3,
        save_best="coco/segm_mAP_50",
        rule="greater",
    ),
    visualization=dict(type="CellVisualizationHook", draw=True),  # a few val images an evaluation
)
custom_hooks = [
    dict(type="ChannelsLastHook"),
    dict(type="KeepMemoryHook"),
    dict(type="FiniteLossHook"),
]

# For MLflow or W&B add dict(type="MLflowVisBackend") or dict(type="WandbVisBackend") to this list.
visualizer = dict(
    type="CellVisualizer",
    vis_backends=[dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")],
)
