"""The Cascade with ResNeXt-101-64x4d, with cells of rare classes pasted in from other images.

Neutrophils and macrophages are few. Every image has a second one read beside it. For another
recipe, copy this file and name it in `_base_`; the data set's own settings lie one level deeper than
elsewhere, at train_dataloader.dataset.dataset. Not measured here: it wants a GPU.

Train: python tools/train.py configs/cell/cascade-mask-rcnn_x101-64x4d_coco_copy-paste.py
Test:  python tools/test.py configs/cell/cascade-mask-rcnn_x101-64x4d_coco_copy-paste.py CHECKPOINT --tta
"""

_base_ = "./cascade-mask-rcnn_x101-64x4d_coco.py"

_rare_labels = (2, 3)  # neutrophil, macrophage: indices into metainfo.classes
_size = (1024, 1024)  # of a crop, and of every training batch

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="MultiImageMixDataset",
        dataset=dict(
            _base_.train_dataloader.dataset,
            pipeline=[
                *_base_.train_pipeline[:-1],
                # Only images of one size can be pasted into one another. Padded with the mean
                # color, as batches are, here as B, G, R.
                dict(type="Pad", size=_size, pad_val=dict(img=(104, 116, 124))),
            ],
        ),
        pipeline=[
            dict(type="CellCopyPaste", labels=_rare_labels),
            # What pasted cells leave of those below, by the rule for slivers at a border.
            dict(type="FilterAnnotations", min_gt_bbox_wh=(4, 4), keep_empty=False),
            _base_.train_pipeline[-1],
        ],
    ),
)
