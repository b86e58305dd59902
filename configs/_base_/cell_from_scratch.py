"""What the recipes that start from random weights share: a small Mask R-CNN that a CPU can train.

Inherit it beside a schedule and a runtime; pipelines and epochs depend on the data set's images.
"""

_base_ = [
    "./mask-rcnn_cell.py",
    "./cell_dataset.py",
]

_channels = 128  # half of the usual width, in neck and heads: a quarter of their work

model = dict(
    backbone=dict(
        depth=18,
        # No weights to start from: every stage learns, and so do the batch norms.
        init_cfg=None,
        frozen_stages=-1,
        norm_eval=False,
    ),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=_channels),
    rpn_head=dict(in_channels=_channels, feat_channels=_channels),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=_channels),
        mask_roi_extractor=dict(out_channels=_channels),
        bbox_head=dict(in_channels=_channels, fc_out_channels=512),
        mask_head=dict(in_channels=_channels, conv_out_channels=64, num_convs=2),
    ),
    train_cfg=dict(
        # A small input holds about 60 cells: fewer proposals and RoIs than a slide needs.
        rpn_proposal=dict(nms_pre=1000, max_per_img=500),
        rcnn=dict(sampler=dict(num=192)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=1000, max_per_img=1000)),
)

# One worker for each loader, and no folds: train and val images lie in folders of their own.
train_dataloader = dict(num_workers=1, dataset=dict(num_folds=0))
val_dataloader = dict(num_workers=1, dataset=dict(num_folds=0))
test_dataloader = val_dataloader
