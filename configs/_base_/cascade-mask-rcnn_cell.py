"""Cascade Mask R-CNN: what dense cells and COCO weights change in MMDetection's model."""

_base_ = "mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py"

_num_classes = 4  # of cell_dataset.py; `cell_classes` in a config sets both
_proposals = dict(nms_pre=4000, max_per_img=4000)  # see mask-rcnn_cell.py
_ignore_iof_thr = 0.5  # a prior that lies in an ignore region by more than half counts as nothing


def _stage(target_stds):
    """One of three box heads, which differ only in how finely they correct a box."""
    return dict(
        type="Fp32Shared2FCBBoxHead",
        in_channels=256,
        fc_out_channels=1024,
        roi_feat_size=7,
        num_classes=_num_classes,
        bbox_coder=dict(
            type="DeltaXYWHBBoxCoder", target_means=[0.0, 0.0, 0.0, 0.0], target_stds=target_stds
        ),
        reg_class_agnostic=True,
        loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
        loss_bbox=dict(type="SmoothL1Loss", beta=1.0, loss_weight=1.0),
    )


def _stage_targets(iou_thr):
    """How one stage picks its RoIs: each asks for a better overlap than the one before."""
    return dict(
        assigner=dict(
            type="SparseMaxIoUAssigner",
            pos_iou_thr=iou_thr,
            neg_iou_thr=iou_thr,
            min_pos_iou=iou_thr,
            match_low_quality=False,
            ignore_iof_thr=_ignore_iof_thr,
        ),
        sampler=dict(
            type="RandomSampler",
            num=512,
            pos_fraction=0.25,
            neg_pos_ub=-1,
            add_gt_as_proposals=True,
        ),
        mask_size=28,
        pos_weight=-1,
        debug=False,
    )


model = dict(
    data_preprocessor=dict(
        batch_augments=[dict(type="BatchFixedSizePad", size=(1024, 1024), pad_mask=True)],
    ),
    rpn_head=dict(
        type="Fp32RPNHead",
        # 8 to 128 px in 3 ratios: as many anchors a point as in COCO, so that its RPN still fits.
        anchor_generator=dict(scales=[2]),
    ),
    roi_head=dict(
        type="RleCascadeRoIHead",
        bbox_roi_extractor=dict(type="Fp32SingleRoIExtractor"),
        mask_roi_extractor=dict(type="Fp32SingleRoIExtractor"),
        bbox_head=[
            _stage([0.1, 0.1, 0.2, 0.2]),
            _stage([0.05, 0.05, 0.1, 0.1]),
            _stage([0.033, 0.033, 0.067, 0.067]),
        ],
        mask_head=dict(type="CroppedMaskHead", num_classes=_num_classes),
    ),
    train_cfg=dict(
        rpn=dict(assigner=dict(type="SparseMaxIoUAssigner", ignore_iof_thr=_ignore_iof_thr)),
        rpn_proposal=_proposals,
        rcnn=[_stage_targets(0.5), _stage_targets(0.6), _stage_targets(0.7)],
    ),
    test_cfg=dict(rpn=_proposals, rcnn=dict(max_per_img=1000)),
)
del _stage, _stage_targets
