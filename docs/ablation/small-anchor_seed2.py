_channels = 128
_crop_size = (
    288,
    288,
)
_data_root = 'data/train'
_dataset = dict(
    channel_order='bgr',
    data_root='data/train',
    fold=0,
    metainfo=dict(
        classes=(
            'epithelial',
            'lymphocyte',
            'neutrophil',
            'macrophage',
        )),
    num_folds=5,
    type='CellDataset')
_ignore_iof_thr = 0.5
_input_size = (
    512,
    512,
)
_metainfo = dict(classes=('nucleus', ))
_norm = dict(momentum=0.03, requires_grad=True, type='BN')
_num_classes = 1
_proposals = dict(max_per_img=4000, nms_pre=4000)
_test_pipeline = [
    dict(type='LoadCellImage'),
    dict(keep_ratio=True, scale=(
        512,
        512,
    ), type='Resize'),
    dict(
        meta_keys=(
            'img_id',
            'img_name',
            'img_path',
            'image_format',
            'ori_shape',
            'img_shape',
            'scale_factor',
            'flip',
            'flip_direction',
            'instances',
        ),
        type='PackDetInputs'),
]
_train_pipeline = [
    dict(type='LoadCellImage'),
    dict(type='LoadLabelMaps'),
    dict(
        keep_ratio=True,
        ratio_range=(
            0.8,
            1.25,
        ),
        scale=(
            512,
            512,
        ),
        type='RandomResize'),
    dict(
        allow_negative_crop=True,
        crop_size=(
            288,
            288,
        ),
        recompute_bbox=True,
        type='RandomCrop'),
    dict(keep_empty=False, min_gt_bbox_wh=(
        4,
        4,
    ), type='FilterAnnotations'),
    dict(prob=0.5, type='RandomTranspose'),
    dict(
        direction=[
            'horizontal',
            'vertical',
            'diagonal',
        ],
        prob=0.75,
        type='RandomFlip'),
    dict(type='StainJitter'),
    dict(
        meta_keys=(
            'img_id',
            'img_name',
            'img_path',
            'image_format',
            'ori_shape',
            'img_shape',
            'scale_factor',
            'flip',
            'flip_direction',
        ),
        type='PackDetInputs'),
]
auto_scale_lr = dict(base_batch_size=2, enable=False)
custom_hooks = [
    dict(type='ChannelsLastHook'),
    dict(type='KeepMemoryHook'),
    dict(type='FiniteLossHook'),
    dict(
        ema_type='MomentumAnnealingEMA',
        gamma=10,
        momentum=0.001,
        type='EMAHook',
        update_buffers=True),
]
custom_imports = dict(
    allow_failed_imports=False, imports=[
        'cellseg',
    ])
default_hooks = dict(
    checkpoint=dict(
        _scope_='mmdet',
        by_epoch=False,
        interval=100,
        max_keep_ckpts=1,
        rule='greater',
        save_best=None,
        type='AtomicCheckpointHook'),
    logger=dict(_scope_='mmdet', interval=8, type='LoggerHook'),
    param_scheduler=dict(_scope_='mmdet', type='ParamSchedulerHook'),
    sampler_seed=dict(_scope_='mmdet', type='DistSamplerSeedHook'),
    timer=dict(_scope_='mmdet', type='IterTimerHook'),
    visualization=dict(
        _scope_='mmdet', draw=False, type='CellVisualizationHook'))
default_scope = 'mmdet'
env_cfg = dict(
    cudnn_benchmark=False,
    dist_cfg=dict(backend='nccl'),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
load_from = None
log_level = 'INFO'
log_processor = dict(
    _scope_='mmdet', by_epoch=False, type='LogProcessor', window_size=50)
meta_keys = (
    'img_id',
    'img_name',
    'img_path',
    'image_format',
    'ori_shape',
    'img_shape',
    'scale_factor',
    'flip',
    'flip_direction',
)
model = dict(
    _scope_='mmdet',
    backbone=dict(
        depth=18,
        frozen_stages=-1,
        init_cfg=None,
        norm_cfg=dict(momentum=0.03, requires_grad=True, type='BN'),
        norm_eval=False,
        num_stages=4,
        out_indices=(
            0,
            1,
            2,
            3,
        ),
        style='pytorch',
        type='ResNet',
        zero_init_residual=False),
    data_preprocessor=dict(
        batch_augments=[
            dict(pad_mask=True, size=(
                288,
                288,
            ), type='BatchFixedSizePad'),
        ],
        bgr_to_rgb=True,
        mean=[
            123.675,
            116.28,
            103.53,
        ],
        pad_mask=True,
        pad_size_divisor=32,
        std=[
            58.395,
            57.12,
            57.375,
        ],
        type='DetDataPreprocessor'),
    neck=dict(
        in_channels=[
            64,
            128,
            256,
            512,
        ],
        norm_cfg=dict(momentum=0.03, requires_grad=True, type='BN'),
        num_outs=5,
        out_channels=128,
        type='FPN'),
    roi_head=dict(
        bbox_head=dict(
            bbox_coder=dict(
                target_means=[
                    0.0,
                    0.0,
                    0.0,
                    0.0,
                ],
                target_stds=[
                    0.1,
                    0.1,
                    0.2,
                    0.2,
                ],
                type='DeltaXYWHBBoxCoder'),
            fc_out_channels=512,
            in_channels=128,
            loss_bbox=dict(loss_weight=1.0, type='L1Loss'),
            loss_cls=dict(
                loss_weight=1.0, type='CrossEntropyLoss', use_sigmoid=False),
            num_classes=1,
            reg_class_agnostic=False,
            roi_feat_size=7,
            type='Fp32Shared2FCBBoxHead'),
        bbox_roi_extractor=dict(
            featmap_strides=[
                4,
                8,
                16,
                32,
            ],
            out_channels=128,
            roi_layer=dict(output_size=7, sampling_ratio=0, type='RoIAlign'),
            type='Fp32SingleRoIExtractor'),
        mask_head=dict(
            conv_out_channels=64,
            in_channels=128,
            loss_mask=dict(
                loss_weight=1.0, type='CrossEntropyLoss', use_mask=True),
            norm_cfg=dict(momentum=0.03, requires_grad=True, type='BN'),
            num_classes=1,
            num_convs=2,
            type='CroppedMaskHead'),
        mask_roi_extractor=dict(
            featmap_strides=[
                4,
                8,
                16,
                32,
            ],
            out_channels=128,
            roi_layer=dict(output_size=14, sampling_ratio=0, type='RoIAlign'),
            type='Fp32SingleRoIExtractor'),
        type='RleRoIHead'),
    rpn_head=dict(
        anchor_generator=dict(
            base_sizes=[
                16,
                32,
                48,
                64,
                96,
            ],
            ratios=[
                0.25,
                0.5,
                0.75,
                1.0,
                1.5,
                2.0,
                3.0,
                4.0,
            ],
            scales=[
                1.0,
            ],
            strides=[
                4,
                8,
                16,
                32,
                64,
            ],
            type='AnchorGenerator'),
        bbox_coder=dict(
            target_means=[
                0.0,
                0.0,
                0.0,
                0.0,
            ],
            target_stds=[
                1.0,
                1.0,
                1.0,
                1.0,
            ],
            type='DeltaXYWHBBoxCoder'),
        feat_channels=128,
        in_channels=128,
        loss_bbox=dict(loss_weight=1.0, type='L1Loss'),
        loss_cls=dict(
            loss_weight=1.0, type='CrossEntropyLoss', use_sigmoid=True),
        type='Fp32RPNHead'),
    test_cfg=dict(
        rcnn=dict(
            mask_thr_binary=0.5,
            max_per_img=1000,
            nms=dict(iou_threshold=0.5, type='nms'),
            score_thr=0.05),
        rpn=dict(
            max_per_img=1000,
            min_bbox_size=0,
            nms=dict(iou_threshold=0.7, type='nms'),
            nms_pre=1000)),
    train_cfg=dict(
        rcnn=dict(
            assigner=dict(
                ignore_iof_thr=0.5,
                match_low_quality=True,
                min_pos_iou=0.5,
                neg_iou_thr=0.5,
                pos_iou_thr=0.5,
                type='SparseMaxIoUAssigner'),
            debug=False,
            mask_size=28,
            pos_weight=-1,
            sampler=dict(
                add_gt_as_proposals=True,
                neg_pos_ub=-1,
                num=192,
                pos_fraction=0.25,
                type='RandomSampler')),
        rpn=dict(
            allowed_border=-1,
            assigner=dict(
                ignore_iof_thr=0.5,
                match_low_quality=True,
                min_pos_iou=0.3,
                neg_iou_thr=0.3,
                pos_iou_thr=0.7,
                type='SparseMaxIoUAssigner'),
            debug=False,
            pos_weight=-1,
            sampler=dict(
                add_gt_as_proposals=False,
                neg_pos_ub=-1,
                num=256,
                pos_fraction=0.5,
                type='RandomSampler')),
        rpn_proposal=dict(
            max_per_img=500,
            min_bbox_size=0,
            nms=dict(iou_threshold=0.7, type='nms'),
            nms_pre=1000)),
    type='MaskRCNN')
optim_wrapper = dict(
    clip_grad=dict(max_norm=5.0),
    optimizer=dict(lr=0.0005, type='AdamW', weight_decay=0.05),
    type='OptimWrapper')
param_scheduler = [
    dict(begin=0, by_epoch=False, end=100, start_factor=0.02, type='LinearLR'),
    dict(T_max=400, by_epoch=False, eta_min=5e-06, type='CosineAnnealingLR'),
]
resume = False
test_cfg = dict(type='TestLoop')
test_dataloader = dict(
    batch_size=1,
    dataset=dict(
        channel_order='rgb',
        data_root='data/dsb2018/val',
        fold=0,
        metainfo=dict(classes=('nucleus', )),
        num_folds=0,
        pipeline=[
            dict(type='LoadCellImage'),
            dict(keep_ratio=True, scale=(
                512,
                512,
            ), type='Resize'),
            dict(
                meta_keys=(
                    'img_id',
                    'img_name',
                    'img_path',
                    'image_format',
                    'ori_shape',
                    'img_shape',
                    'scale_factor',
                    'flip',
                    'flip_direction',
                    'instances',
                ),
                type='PackDetInputs'),
        ],
        split='val',
        test_mode=True,
        type='CellDataset'),
    drop_last=False,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(shuffle=False, type='DefaultSampler'))
test_evaluator = dict(
    metric=[
        'segm',
        'bbox',
    ], type='CellMetric')
train_cfg = dict(max_iters=400, type='IterBasedTrainLoop', val_interval=100)
train_dataloader = dict(
    batch_sampler=dict(drop_last=True, type='AspectRatioBatchSampler'),
    batch_size=4,
    dataset=dict(
        channel_order='rgb',
        data_root='data/dsb2018/train',
        fold=0,
        metainfo=dict(classes=('nucleus', )),
        num_folds=0,
        pipeline=[
            dict(type='LoadCellImage'),
            dict(type='LoadLabelMaps'),
            dict(
                keep_ratio=True,
                ratio_range=(
                    0.8,
                    1.25,
                ),
                scale=(
                    512,
                    512,
                ),
                type='RandomResize'),
            dict(
                allow_negative_crop=True,
                crop_size=(
                    288,
                    288,
                ),
                recompute_bbox=True,
                type='RandomCrop'),
            dict(
                keep_empty=False,
                min_gt_bbox_wh=(
                    4,
                    4,
                ),
                type='FilterAnnotations'),
            dict(prob=0.5, type='RandomTranspose'),
            dict(
                direction=[
                    'horizontal',
                    'vertical',
                    'diagonal',
                ],
                prob=0.75,
                type='RandomFlip'),
            dict(type='StainJitter'),
            dict(
                meta_keys=(
                    'img_id',
                    'img_name',
                    'img_path',
                    'image_format',
                    'ori_shape',
                    'img_shape',
                    'scale_factor',
                    'flip',
                    'flip_direction',
                ),
                type='PackDetInputs'),
        ],
        split='train',
        type='CellDataset'),
    num_workers=1,
    persistent_workers=True,
    sampler=dict(shuffle=True, type='DefaultSampler'))
val_cfg = dict(type='ValLoop')
val_dataloader = dict(
    batch_size=1,
    dataset=dict(
        channel_order='rgb',
        data_root='data/dsb2018/val',
        fold=0,
        metainfo=dict(classes=('nucleus', )),
        num_folds=0,
        pipeline=[
            dict(type='LoadCellImage'),
            dict(keep_ratio=True, scale=(
                512,
                512,
            ), type='Resize'),
            dict(
                meta_keys=(
                    'img_id',
                    'img_name',
                    'img_path',
                    'image_format',
                    'ori_shape',
                    'img_shape',
                    'scale_factor',
                    'flip',
                    'flip_direction',
                    'instances',
                ),
                type='PackDetInputs'),
        ],
        split='val',
        test_mode=True,
        type='CellDataset'),
    drop_last=False,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(shuffle=False, type='DefaultSampler'))
val_evaluator = dict(
    metric=[
        'segm',
        'bbox',
    ], type='CellMetric')
vis_backends = [
    dict(_scope_='mmdet', type='LocalVisBackend'),
]
visualizer = dict(
    _scope_='mmdet',
    name='visualizer',
    type='CellVisualizer',
    vis_backends=[
        dict(type='LocalVisBackend'),
        dict(type='TensorboardVisBackend'),
    ])
