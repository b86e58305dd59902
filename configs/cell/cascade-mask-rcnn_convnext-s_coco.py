"""Cascade Mask R-CNN, ConvNeXt-S, from COCO weights: the best COCO weights among the GPU recipes.

COCO mask AP 44.8. The backbone comes from another package: pip install 'cellseg-mmdet[mmpretrain]'.
Not trained here: it wants a GPU.

Train: python tools/train.py configs/cell/cascade-mask-rcnn_convnext-s_coco.py
Test:  python tools/test.py configs/cell/cascade-mask-rcnn_convnext-s_coco.py CHECKPOINT --tta
"""

_base_ = [
    "../_base_/cascade-mask-rcnn_cell.py",
    "../_base_/cell_gpu.py",
]

# Box heads as in mmdet's cascade-mask-rcnn_convnext-s-p4-w7_fpn_4conv1fc-giou_amp-ms-crop-3x_coco.py,
# so that their convolutions take its weights, too.
_box_heads = _base_.model.roi_head.bbox_head
for _head in _box_heads:
    _head.update(
        type="Fp32Shared4Conv1FCBBoxHead",
        conv_out_channels=256,
        reg_decoded_bbox=True,
        norm_cfg=dict(type="BN", requires_grad=True),  # SyncBN's names; a step has 1,024 RoIs
    )
    _head.loss_bbox = dict(type="GIoULoss", loss_weight=10.0)

model = dict(
    # Mean and std of PyTorch's ImageNet models, R, G, B: the base's, and those of these weights.
    backbone=dict(
        _delete_=True,
        type="ConvNeXt",
        arch="small",
        out_indices=[0, 1, 2, 3],
        drop_path_rate=0.6,
        layer_scale_init_value=1.0,
        gap_before_final_norm=False,
        init_cfg=None,  # load_from brings the backbone too
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
    roi_head=dict(bbox_head=_box_heads),
)

# Deeper layers learn faster, as these weights were trained.
optim_wrapper = dict(
    constructor="LearningRateDecayOptimizerConstructor",
    paramwise_cfg=dict(decay_rate=0.7, decay_type="layer_wise", num_layers=12),
)

# A local file: load_from="path/to/file.pth".
load_from = (
    "https://download.openmmlab.com/mmdetection/v2.0/convnext/"
    "cascade_mask_rcnn_convnext-s_p4_w7_fpn_giou_4conv1f_fp16_ms-crop_3x_coco/"
    "cascade_mask_rcnn_convnext-s_p4_w7_fpn_giou_4conv1f_fp16_ms-crop_3x_coco_20220510_201004-3d24f5a4.pth"
)
