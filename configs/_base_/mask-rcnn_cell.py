"""Mask R-CNN: what dense images of cells change in MMDetection's model."""

_base_ = "mmdet::_base_/models/mask-rcnn_r50_fpn.py"

_num_classes = 4  # of cell_dataset.py; `cell_classes` in a config sets both
# ignore.tif regions: a prior that lies in one by more than half is neither cell nor background.
_ignore_iof_thr = 0.5
# A slide with 1000 cells needs more proposals than the 1000 that MMDetection keeps (benchmarks/proposal_recall.py).
_proposals = dict(nms_pre=4000, max_per_img=4000)

model = dict(
    data_preprocessor=dict(
        # Every training batch has one shape: 1024 x 1024, padded with the mean color.
        batch_augments=[dict(type="BatchFixedSizePad", size=(1024, 1024), pad_mask=True)],
    ),
    # The Fp32 parts keep boxes in float32 under mixed precision: in bf16 x = 1017.2 becomes 1016.
    rpn_head=dict(
        type="Fp32RPNHead",
        anchor_generator=dict(
            _delete_=True,
            type="AnchorGenerator",
            strides=[4, 8, 16, 32, 64],
            # px of the 1024 px input: one size a level, cells are 16 to 96 px
            base_sizes=[16, 32, 48, 64, 96],
            scales=[1.0],
            ratios=[0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0],
        ),
    ),
    roi_head=dict(
        type="RleRoIHead",
        bbox_roi_extractor=dict(type="Fp32SingleRoIExtractor"),
        mask_roi_extractor=dict(type="Fp32SingleRoIExtractor"),
        bbox_head=dict(type="Fp32Shared2FCBBoxHead", num_classes=_num_classes),
        mask_head=dict(type="CroppedMaskHead", num_classes=_num_classes),
    ),
    train_cfg=dict(
        rpn=dict(assigner=dict(type="SparseMaxIoUAssigner", ignore_iof_thr=_ignore_iof_thr)),
        rpn_proposal=_proposals,
        rcnn=dict(assigner=dict(type="SparseMaxIoUAssigner", ignore_iof_thr=_ignore_iof_thr)),
    ),
    test_cfg=dict(
        rpn=_proposals,
        rcnn=dict(max_per_img=1000),  # images hold up to about 770 cells; MMDetection keeps 100
    ),
)
