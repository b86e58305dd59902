"""The rows: what each one trains or tests, for how long, and on which images."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from frame import BASES, CONFIGS
from mmengine.config import Config

LITE0, R18 = (f"mask-rcnn_{name}_small-anchor_consep" for name in ("lite0", "r18"))
MONUSEG = "mask-rcnn_lite0_small-anchor_nuclei-he"
DSB2018 = "mask-rcnn_r18_small-anchor_dsb2018"
ROUGH = "14 test images, ours are folds of the 30 training images: only roughly comparable"


@dataclass(frozen=True)
class TrainRow:
    """A training.

    Attributes:
        name: Name of the row and of its folders.
        meaning: What the row shows, for the table.
        config: The config in configs/cell that it trains.
        steps: Training steps.
        evaluated: What its last checkpoint is evaluated on: 'test' for the config's test images,
            while all others train; 'fold' for a fold of the training images, which does not train;
            'config' for what the config tests, which trains as it says.
        seeds: One run for each seed and fold.
        folds: The folds that are held out.
        num_folds: Into how many parts the training images are split.
        groups: File in configs/_base_ of the images that share a fold.
        options: Settings that differ from the config, by dotted key.
        without: Types of transforms and hooks to leave out of the training.
        start: Name of the model that the training goes on from.
        num_images: Take only so many of the 27 training images, drawn again for each seed.
    """

    name: str
    meaning: str
    config: str
    steps: int
    evaluated: Literal["test", "fold", "config"] = "fold"
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


class Group:
    """Rows that are compared.

    Args:
        name: For `--only`.
        title: Heading of the table.
        rows: The rows; the others are compared with the first one.
        published: Figures beside theirs: method, source and comparability, AJI, PQ, F1 at IoU 0.5.
        page: Page in docs, without its ending.
    """

    def __init__(
        self,
        name: str,
        title: str,
        *rows: Row,
        published: tuple[tuple[str, ...], ...] = (),
        page: str = "results",
    ) -> None:
        """Keep the arguments."""
        self.name, self.title, self.rows = name, title, rows
        self.published, self.page = published, page


def source_of(row: Row) -> TrainRow:
    """Return the row that trains: the row itself, or the one that it tests."""
    return row if isinstance(row, TrainRow) else row.of


def make_cascade() -> dict[str, Any]:
    """Make the options that give EfficientNet-Lite0's network Cascade's three box heads."""
    lite = Config.fromfile(CONFIGS / f"{LITE0}.py").model
    cascade = Config.fromfile(BASES / "cascade-mask-rcnn_cell.py").model
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


def limit_detections(limit: int) -> dict[str, Any]:
    """Return the options of a limit on the detections of an image."""
    return {"model.test_cfg.rcnn.max_per_img": limit}


def _vary(row: TrainRow, name: str, meaning: str, **changes: Any) -> TrainRow:
    """Make a row that differs from another one."""
    return replace(row, name=name, meaning=meaning, **changes)


ANCHORS: dict[str, Any] = {
    "model.rpn_head.anchor_generator": dict(
        _delete_=True,
        type="AnchorGenerator",
        strides=[4, 8, 16, 32, 64],
        scales=[8],
        ratios=[0.5, 1.0, 2.0],
    )
}
ANCHORS_MEANING = "anchors of 32 to 512 px in 3 ratios, as MMDetection has them"
FLIPS: dict[str, Any] = {"tta_model": dict(type="CellTTAModel", rotations=(0, 2), mirror=True)}
FLIPS_MEANING = "four flipped copies of each image, merged, at test time only"
NO_ENLARGING = {  # the network's input is as large as before, and shows more of the image
    "train_dataloader.dataset.dataset.pipeline.2.crop_size": (512, 512),
    "val_dataloader.dataset.pipeline.1.scale_factor": 1.0,
}
RANDOM = {"model.backbone.init_cfg": None}

RECIPE = TrainRow(LITE0, "EfficientNet-Lite0 from ImageNet weights", LITE0, 1080, "test")
FROM_HE = _vary(RECIPE, f"{LITE0}_nuclei-he", "the same from nuclei-he", start="nuclei-he")
LITE = TrainRow("lite0", "EfficientNet-Lite0 from ImageNet weights", LITE0, 1000)
R18_SMALL = TrainRow("r18", "R18 from random weights, anchors of 16 to 96 px", R18, 1000)
DEPTH = _vary(R18_SMALL, "depth-18", "ResNet-18, small anchors", steps=400)
ORGANS = dict(num_folds=7, folds=tuple(range(7)), groups="monuseg_organs.csv")
FOLDS = TrainRow("by-image", "five folds of the images", MONUSEG, 1000, folds=tuple(range(5)))
SMALL = "R18, anchors of 16 to 96 px in 8 ratios, stain jitter"
DSB = TrainRow("small-anchor", SMALL, DSB2018, 400, "config", (0, 1, 2))

GROUPS = (
    Group(
        "recipe",
        "The recipes, on CoNSeP's test images",
        RECIPE,
        FROM_HE,
        _vary(RECIPE, R18, "ResNet-18 from random weights", config=R18),
        published=(
            ("HoVer-Net", "its paper; the same images", "0.571", "0.547"),
            ("Mask R-CNN", "HoVer-Net's paper; the same images", "0.474", "0.460"),
        ),
    ),
    Group(
        "anchors",
        "Small or default anchors",
        R18_SMALL,
        _vary(R18_SMALL, "r18_default-anchor", ANCHORS_MEANING, options=ANCHORS),
    ),
    Group(
        "weights",
        "Weights to start from",
        LITE,
        _vary(LITE, "lite0_random", "the same from random weights", options=RANDOM),
        _vary(LITE, "lite0_nuclei-he", "the same from nuclei-he", start="nuclei-he"),
    ),
    Group(
        "depth",
        "Deeper backbones, all from random weights",
        DEPTH,
        _vary(DEPTH, "depth-50", "ResNet-50", options=use_depth(50)),
        _vary(DEPTH, "depth-101", "ResNet-101", options=use_depth(101)),
    ),
    Group(
        "parts",
        "The recipe's parts, one left out each",
        LITE,
        _vary(LITE, "lite0_no-jitter", "without stain jitter", without=("StainJitter",)),
        _vary(LITE, "lite0_no-average", "the last weights, no average", without=("EMAHook",)),
        _vary(LITE, "lite0_no-transpose", "without transposes", without=("RandomTranspose",)),
        _vary(LITE, "lite0_1x", "images at their size, not 1.6 times it", options=NO_ENLARGING),
    ),
    Group(
        "test-time",
        "Limits and flips at test time",
        LITE,
        TestRow("lite0_100", "at most 100 detections, not 3000", LITE, limit_detections(100)),
        TestRow("lite0_300", "at most 300 detections", LITE, limit_detections(300)),
        TestRow("lite0_1000", "at most 1000 detections", LITE, limit_detections(1000)),
        TestRow("lite0_flips", FLIPS_MEANING, LITE, FLIPS, ("--tta",)),
    ),
    Group(
        "images",
        "Fewer training images, on CoNSeP's test images",
        RECIPE,
        _vary(RECIPE, "lite0_12-images", "12 of the 27 images", num_images=12),
        _vary(RECIPE, "lite0_6-images", "6 of them", num_images=6),
        _vary(RECIPE, "lite0_3-images", "3 of them", num_images=3),
    ),
    Group(
        "cascade",
        "Cascade",
        LITE,
        _vary(LITE, "lite0_cascade", "Cascade's three box heads", options=make_cascade()),
    ),
    Group(
        "monuseg",
        "MoNuSeg, one class, by cross-validation",
        FOLDS,
        _vary(FOLDS, "by-organ", "each of seven organs left out once", **ORGANS),
        published=(
            ("Mask R-CNN", f"Sci. Rep. 2021, s41598-021-87496-1; {ROUGH}", "0.528", "", "0.665"),
            ("the winner", f"MoNuSeg 2018; {ROUGH}", "0.691"),
        ),
    ),
    Group(
        "dsb2018",
        "Rows",
        DSB,
        _vary(DSB, "default-anchor", ANCHORS_MEANING, options=ANCHORS),
        _vary(DSB, "r50", "ResNet-50 in place of R18", seeds=(0, 1), options=use_depth(50)),
        _vary(
            DSB, "no-stain-jitter", "without stain jitter", seeds=(0, 1), without=("StainJitter",)
        ),
        TestRow("100-detections", "at most 100 detections, not 1000", DSB, limit_detections(100)),
        TestRow("flip-tta", FLIPS_MEANING, DSB, FLIPS, ("--tta",)),
        page="ablation",
    ),
)
ROWS = {row.name: row for group in GROUPS for row in group.rows}
