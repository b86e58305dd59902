"""The rows: what each one trains or tests, on what, for how long, and which images judge it."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mmengine.config import Config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
LITE0, R18 = (f"mask-rcnn_{name}_small-anchor_consep" for name in ("lite0", "r18"))
MONUSEG = "mask-rcnn_lite0_small-anchor_nuclei-he"


@dataclass(frozen=True)
class TrainRow:
    """A training.

    Attributes:
        name: Name of the row and of its folders.
        meaning: What the row shows, for the table.
        config: The config in configs/cell that it trains.
        steps: Training steps.
        judged: The images that judge its last checkpoint: 'test' for the config's test images,
            while all others train; 'fold' for a fold of the training images, which does not train;
            'config' for what the config tests, which trains as it says.
        seeds: One run for each seed and fold.
        folds: The folds that are held out.
        num_folds: Into how many parts the training images are split.
        groups: File in configs/_base_ of the images that share a fold.
        options: Settings that differ from the config, by dotted key.
        without: Types of transforms and hooks to leave out of the training.
        start: Name of the model that the training goes on from.
        num_images: Take only so many of the 27 training images, drawn anew for each seed.
    """

    name: str
    meaning: str
    config: str
    steps: int
    judged: Literal["test", "fold", "config"] = "fold"
    seeds: tuple[int, ...] = (0, 1)
    folds: tuple[int, ...] = (0,)
    num_folds: int = 5
    groups: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    start: str = ""
    num_images: int = 0


@dataclass(frozen=True)
class TestRow:
    """Another way to test the checkpoints of a training row.

    Attributes:
        name: Name of the row and of its folders.
        meaning: What the row shows, for the table.
        of: The training row.
        options: Settings that differ at test time, by dotted key.
        flags: Further arguments for tools/test.py.
    """

    __test__ = False  # not a test class, despite its name

    name: str
    meaning: str
    of: TrainRow
    options: dict[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


Row = TrainRow | TestRow


@dataclass(frozen=True)
class Group:
    """Rows that are compared.

    Attributes:
        name: For `--only`.
        title: Heading of the table.
        baseline: The row that the others are compared with.
        rows: The rows, the baseline first.
        page: Page in docs, without its ending.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    page: str = "results"

    @property
    def baseline(self) -> Row:
        """The row that the others are compared with."""
        return self.rows[0]


def source_of(row: Row) -> TrainRow:
    """Return the row that trains: the row itself, or the one that it tests."""
    return row if isinstance(row, TrainRow) else row.of


def make_cascade() -> dict[str, Any]:
    """Make the options that give EfficientNet-Lite0's network Cascade's three box heads."""
    lite = Config.fromfile(CONFIGS / "cell" / f"{LITE0}.py").model
    cascade = Config.fromfile(CONFIGS / "_base_" / "cascade-mask-rcnn_cell.py").model
    for head in cascade.roi_head.bbox_head:
        head.update(in_channels=96, fc_out_channels=384)
    for stage in cascade.train_cfg.rcnn:
        stage.sampler.num = lite.train_cfg.rcnn.sampler.num
    own = {key: lite.roi_head[key] for key in ("bbox_roi_extractor", "mask_roi_extractor")}
    roi_head = {**cascade.roi_head, **own, "mask_head": lite.roi_head.mask_head}
    return {
        "model.type": cascade.type,
        "model.roi_head": {"_delete_": True, **roi_head},
        "model.train_cfg.rcnn": list(cascade.train_cfg.rcnn),
    }


def use_depth(depth: int) -> dict[str, Any]:
    """Return the options of a deeper ResNet, whose blocks are wider."""
    return {"model.backbone.depth": depth, "model.neck.in_channels": [256, 512, 1024, 2048]}


DEFAULT_ANCHORS: dict[str, Any] = {
    "model.rpn_head.anchor_generator": dict(
        _delete_=True,
        type="AnchorGenerator",
        strides=[4, 8, 16, 32, 64],
        scales=[8],
        ratios=[0.5, 1.0, 2.0],
    )
}
DEFAULT_ANCHORS_MEANING = "anchors of 32 to 512 px in 3 ratios, as MMDetection has them"
FLIPS: dict[str, Any] = {"tta_model": dict(type="CellTTAModel", rotations=(0, 2), mirror=True)}
FLIPS_MEANING = "four flipped copies of each image, merged, at test time only"
_PIPELINE = "train_dataloader.dataset.dataset.pipeline"
NO_ENLARGING = {  # the network's input is as large as before, and shows more of the image
    f"{_PIPELINE}.2.crop_size": (512, 512),
    "val_dataloader.dataset.pipeline.1.scale_factor": 1.0,
}

RECIPE = TrainRow(LITE0, "EfficientNet-Lite0 from ImageNet weights", LITE0, 1620, "test")
ON_FOLD = TrainRow("lite0", "EfficientNet-Lite0 from ImageNet weights", LITE0, 1000)
R18_ON_FOLD = TrainRow("r18", "R18 from random weights, anchors of 16 to 96 px", R18, 1000)
DSB2018 = TrainRow(
    "small-anchor",
    "R18, anchors of 16 to 96 px in 8 ratios, stain jitter",
    "mask-rcnn_r18_small-anchor_dsb2018",
    400,
    "config",
    (0, 1, 2),
)
BY_IMAGE = TrainRow(
    "monuseg_by-image", "five folds of the images", MONUSEG, 1000, folds=(0, 1, 2, 3, 4)
)


def _vary(row: TrainRow, name: str, meaning: str, **changes: Any) -> TrainRow:
    """Make a row that differs from another one."""
    return replace(row, name=name, meaning=meaning, **changes)


GROUPS = (
    Group(
        "recipe",
        "The recipes, on CoNSeP's test images",
        (
            RECIPE,
            _vary(RECIPE, f"{LITE0}_nuclei-he", "the same from nuclei-he", start="nuclei-he"),
            _vary(RECIPE, R18, "ResNet-18 from random weights", config=R18),
        ),
    ),
    Group(
        "anchors",
        "Small or default anchors",
        (
            R18_ON_FOLD,
            _vary(
                R18_ON_FOLD,
                "r18_default-anchor",
                DEFAULT_ANCHORS_MEANING,
                options=DEFAULT_ANCHORS,
            ),
        ),
    ),
    Group(
        "weights",
        "ImageNet or random weights",
        (
            ON_FOLD,
            _vary(
                ON_FOLD,
                "lite0_random",
                "the same from random weights",
                options={"model.backbone.init_cfg": None},
            ),
        ),
    ),
    Group(
        "depth",
        "Deeper backbones, all from random weights",
        (
            _vary(R18_ON_FOLD, "depth-18", "ResNet-18, small anchors", steps=400),
            _vary(R18_ON_FOLD, "depth-50", "ResNet-50", steps=400, options=use_depth(50)),
            _vary(R18_ON_FOLD, "depth-101", "ResNet-101", steps=400, options=use_depth(101)),
        ),
    ),
    Group(
        "parts",
        "The recipe's parts, one left out each",
        (
            ON_FOLD,
            _vary(ON_FOLD, "lite0_no-jitter", "without stain jitter", without=("StainJitter",)),
            _vary(
                ON_FOLD,
                "lite0_no-average",
                "the last weights in place of their average (EMA)",
                without=("EMAHook",),
            ),
            _vary(
                ON_FOLD, "lite0_no-transpose", "without transposes", without=("RandomTranspose",)
            ),
            _vary(
                ON_FOLD, "lite0_1x", "images at their size, not 1.6 times it", options=NO_ENLARGING
            ),
        ),
    ),
    Group(
        "test-time",
        "Limits and flips at test time",
        (
            ON_FOLD,
            *(
                TestRow(
                    f"lite0_{limit}-detections",
                    f"at most {limit} detections per image instead of 3000",
                    ON_FOLD,
                    {"model.test_cfg.rcnn.max_per_img": limit},
                )
                for limit in (100, 300, 1000)
            ),
            TestRow("lite0_flips", FLIPS_MEANING, ON_FOLD, FLIPS, ("--tta",)),
        ),
    ),
    Group(
        "images",
        "Fewer training images, on CoNSeP's test images",
        (
            RECIPE,
            *(
                _vary(
                    RECIPE,
                    f"lite0_{number}-images",
                    f"{number} of the 27 images",
                    num_images=number,
                )
                for number in (12, 6, 3)
            ),
        ),
    ),
    Group(
        "cascade",
        "Cascade",
        (
            ON_FOLD,
            _vary(ON_FOLD, "lite0_cascade", "Cascade's three box heads", options=make_cascade()),
        ),
    ),
    Group(
        "monuseg",
        "MoNuSeg, one class, by cross-validation",
        (
            BY_IMAGE,
            _vary(
                BY_IMAGE,
                "monuseg_by-organ",
                "each organ left out once",
                num_folds=7,
                folds=tuple(range(7)),
                groups="monuseg_organs.csv",
            ),
        ),
    ),
    Group(
        "dsb2018",
        "Rows",
        (
            DSB2018,
            _vary(DSB2018, "default-anchor", DEFAULT_ANCHORS_MEANING, options=DEFAULT_ANCHORS),
            _vary(
                DSB2018,
                "r50",
                "ResNet-50 in place of ResNet-18",
                seeds=(0, 1),
                options=use_depth(50),
            ),
            _vary(
                DSB2018,
                "no-stain-jitter",
                "without stain jitter",
                seeds=(0, 1),
                without=("StainJitter",),
            ),
            TestRow(
                "100-detections",
                "at most 100 detections per image instead of 1000, at test time only",
                DSB2018,
                {"model.test_cfg.rcnn.max_per_img": 100},
            ),
            TestRow("flip-tta", FLIPS_MEANING, DSB2018, FLIPS, ("--tta",)),
        ),
        "ablation",
    ),
)
ROWS = {row.name: row for group in GROUPS for row in group.rows}
