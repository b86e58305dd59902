"""Cascade Mask R-CNN, Swin-S, from the COCO weights of Mask R-CNN with Swin-S.

MMDetection publishes no Cascade with Swin-S: backbone, neck and RPN come from its Mask R-CNN, the
three box heads and the mask heads learn from scratch. Not measured here: it wants a GPU.

Train: python tools/train.py configs/cell/cascade-mask-rcnn_swin-s_coco.py
Test:  python tools/test.py configs/cell/cascade-mask-rcnn_swin-s_coco.py CHECKPOINT --tta
"""

_base_ = [
    "../_base_/cascade-mask-rcnn_cell.py",
    "../_base_/cell_gpu.py",
]

model = dict(
    # Mean and std of ImageNet in R, G, B: the base's, and those of these weights. The sizes are
    # those of mmdet's mask-rcnn_swin-s-p4-w7_fpn_amp-ms-crop-3x_coco.py.
    backbone=dict(
        _delete_=True,
        type="SwinTransformer",
        embed_dims=96,
        depths=[2, 2, 18, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        mlp_ratio=4,
        qkv_bias=True,
        qk_scale=None,
        drop_rate=0.0,
        attn_drop_rate=0.0,
        drop_path_rate=0.2,
        patch_norm=True,
        out_indices=(0, 1, 2, 3),
        with_cp=False,  # True halves the memory for a fifth more time
        convert_weights=False,  # load_from is in mmdet's own names
        init_cfg=None,
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)

# No weight decay on position biases and norms, as Swin was trained.
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            "absolute_pos_embed": dict(decay_mult=0.0),
            "relative_position_bias_table": dict(decay_mult=0.0),
            "norm": dict(decay_mult=0.0),
        }
    ),
)

# COCO mask AP 43.2. A local file: load_from="path/to/file.pth".
load_from = (
    "https://download.openmmlab.com/mmdetection/v2.0/swin/"
    "mask_rcnn_swin-s-p4-w7_fpn_fp16_ms-crop-3x_coco/"
    "mask_rcnn_swin-s-p4-w7_fpn_fp16_ms-crop-3x_coco_20210903_104808-b92c91f1.pth"
)
