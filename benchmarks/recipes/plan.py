"""The rows of the ablation: what each one changes in the dsb2018 config, and with which seeds."""

from dataclasses import dataclass, field
from typing import Any

CONFIG = "configs/cell/mask-rcnn_r18_small-anchor_dsb2018.py"
BASELINE = "small-anchor"

DEFAULT_ANCHORS: dict[str, Any] = {
    "model.rpn_head.anchor_generator": dict(
        _delete_=True,
        type="AnchorGenerator",
        strides=[4, 8, 16, 32, 64],
        scales=[8],
        ratios=[0.5, 1.0, 2.0],
    )
}


@dataclass(frozen=True)
class TrainRow:
    """A training.

    Attributes:
        name: Name of the row and of its folders.
        meaning: What the row shows, for the table.
        seeds: One run for each.
        options: Settings that differ from the config, by dotted key.
        without: Types of transforms to leave out of the training pipeline.
    """

    name: str
    meaning: str
    seeds: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class TestRow:
    """Another way to test the checkpoints of a training row.

    Attributes:
        name: Name of the row and of its folders.
        meaning: What the row shows, for the table.
        of: Name of the training row.
        options: Settings that differ at test time, by dotted key.
        flags: Further arguments for tools/test.py.
    """

    __test__ = False  # not a test class, despite its name

    name: str
    meaning: str
    of: str
    options: dict[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


TRAIN_ROWS = (
    TrainRow(BASELINE, "R18, anchors of 16 to 96 px in 8 ratios, stain jitter", (0, 1, 2)),
    TrainRow(
        "default-anchor",
        "anchors of 32 to 512 px in 3 ratios, as MMDetection has them",
        (0, 1, 2),
        DEFAULT_ANCHORS,
    ),
    TrainRow(
        "r50",
        "ResNet-50 in place of ResNet-18",
        (0, 1),
        {"model.backbone.depth": 50, "model.neck.in_channels": [256, 512, 1024, 2048]},
    ),
    TrainRow("no-stain-jitter", "without stain jitter", (0, 1), without=("StainJitter",)),
)
TEST_ROWS = (
    TestRow(
        "100-detections",
        "at most 100 detections per image instead of 1000, at test time only",
        BASELINE,
        {"model.test_cfg.rcnn.max_per_img": 100},
    ),
    TestRow(
        "flip-tta",
        "four flipped copies of each image, merged, at test time only",
        BASELINE,
        {"tta_model": dict(type="CellTTAModel", rotations=(0, 2), mirror=True)},
        ("--tta",),
    ),
)
ROW_NAMES = tuple(row.name for row in (*TRAIN_ROWS, *TEST_ROWS))
