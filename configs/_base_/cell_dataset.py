"""Data: where the images lie and how they reach the network. The one file that names data paths.

Expected layout (data/README.md): <data_root>/<id>/image.tif with class1.tif .. class4.tif beside it.
"""

# Names for this file: changing one in a config that inherits this one changes nothing; override the leaves below.
_data_root = "data/train"
_input_size = (1024, 1024)
meta_keys = (
    "img_id",
    "img_name",
    "img_path",
    "image_format",
    "ori_shape",
    "img_shape",
    "scale_factor",
    "flip",
    "flip_direction",
)

_train_pipeline = [
    dict(type="LoadCellImage"),
    dict(type="LoadLabelMaps"),
    dict(type="Resize", scale=_input_size, keep_ratio=True),
    # Cells have no up or down: every mirror image is as likely as the original.
    dict(type="RandomFlip", prob=0.75, direction=["horizontal", "vertical", "diagonal"]),
    dict(type="PackDetInputs", meta_keys=meta_keys),
]
_test_pipeline = [
    dict(type="LoadCellImage"),
    dict(type="Resize", scale=_input_size, keep_ratio=True),
    # The exact ground truth (RLE, areas, ignore flags) travels to CellMetric as meta information.
    dict(type="PackDetInputs", meta_keys=(*meta_keys, "instances")),
]

_dataset = dict(
    type="CellDataset",
    data_root=_data_root,
    channel_order="bgr",  # file order of hw3's TIFFs; "rgb" for almost everything else
    num_folds=5,  # one stratified split of data_root into train and val; 0 uses the whole folder
    fold=0,
    # Another config sets cell_classes = (...), which reaches every data set and the model.
    metainfo=dict(classes=("epithelial", "lymphocyte", "neutrophil", "macrophage")),
)

train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    batch_sampler=dict(type="AspectRatioBatchSampler"),
    dataset=dict(**_dataset, split="train", pipeline=_train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(**_dataset, split="val", pipeline=_test_pipeline, test_mode=True),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="CellMetric", metric=["segm", "bbox"])
test_evaluator = val_evaluator
