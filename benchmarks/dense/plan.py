"""What is measured, and what it is measured against."""

from dataclasses import dataclass, replace
from typing import Literal

CURVE_CELLS = (10, 30, 100, 400, 1000, 1500)
TABLE_CELLS = (100, 400, 1000)
CURVE_REPEATS = 3

Measure = Literal[
    "faster",  # MMDetection's time / ours, at least
    "memory share",  # our added memory / MMDetection's, at most
    "added MB",  # our added memory, at most
    "time share",  # our time / MMDetection's, at most
    "peak share",  # our peak memory / MMDetection's, at most
    "peak GB",  # our peak memory, at most
    "growth",  # our time / our time with 100 cells, at most
]


@dataclass(frozen=True)
class SpeedComparison:
    """One workload on one scene, for several sides, measured in turn."""

    workload: str
    cells: int
    size_px: int = 1024
    images: int = 1
    sides: tuple[str, ...] = ("stock", "ours")
    max_repeats: int = 100

    def key(self, side: str) -> str:
        """Name a side's case in the raw numbers."""
        return f"{self.workload}/{self.size_px}px/{self.cells}-cells/{side}"


@dataclass(frozen=True)
class Target:
    """A row of the table: what a comparison is to reach."""

    row: str
    comparison: SpeedComparison
    measure: Measure
    limit: float
    side: str = "ours"


def _along_cells(workload: str, size_px: int = 1024) -> list[SpeedComparison]:
    """Compare a workload over all numbers of cells; those without a target less often."""
    return [
        SpeedComparison(
            workload, cells, size_px, max_repeats=100 if cells in TABLE_CELLS else CURVE_REPEATS
        )
        for cells in CURVE_CELLS
    ]


GROUPS: dict[str, list[SpeedComparison]] = {
    "annotations": [
        SpeedComparison("annotations", 1000, images=4, sides=("stock", "ours", "ours-second"))
    ],
    "pipeline": _along_cells("pipeline"),
    "rpn-targets": _along_cells("rpn-targets"),
    "mask-targets": _along_cells("mask-targets"),
    "detections-to-rle": _along_cells("detections-to-rle", 2048),
    "average-precision": [SpeedComparison("average-precision", 400, 512, images=10)],
    "step-r18": [
        SpeedComparison("step-r18", 400, images=2, sides=("stock", "ours", "ours-amp")),
        SpeedComparison("step-r18", 400, images=2, sides=("ours-other-order",), max_repeats=2),
    ],
    "step-r101": [SpeedComparison("step-r101", 1000, images=2, max_repeats=2)],
}

CURVES = {
    "pipeline to PackDetInputs": GROUPS["pipeline"],
    "RPN targets": GROUPS["rpn-targets"],
    "mask targets, 128 RoIs": GROUPS["mask-targets"],
    "detections to RLE, 2048 x 2048": GROUPS["detections-to-rle"],
}


def _at(group: str, cells: int) -> SpeedComparison:
    """Find the comparison of a group with this number of cells."""
    return next(comparison for comparison in GROUPS[group] if comparison.cells == cells)


_START, _STEP, _BIG_STEP = (GROUPS[name][0] for name in ("annotations", "step-r18", "step-r101"))
TARGETS = [
    Target("label TIFF -> annotations, 1000 cells, per image", _START, "faster", 20),
    Target("the same, second start", _START, "faster", 100, side="ours-second"),
    Target("pipeline to PackDetInputs, 400 cells", _at("pipeline", 400), "faster", 25),
    Target("pipeline to PackDetInputs, 1000 cells", _at("pipeline", 1000), "faster", 60),
    Target("pipeline, 1000 cells against 100", _at("pipeline", 1000), "growth", 1.5),
    Target("pipeline, 1000 cells, added memory", _at("pipeline", 1000), "added MB", 150),
    Target("RPN targets, 400 cells", _at("rpn-targets", 400), "faster", 20),
    Target("RPN targets, 400 cells, added memory", _at("rpn-targets", 400), "memory share", 1 / 20),
    Target("RPN targets, 1000 cells, added memory", _at("rpn-targets", 1000), "added MB", 500),
    Target("mask targets, 128 RoIs, 400 cells", _at("mask-targets", 400), "faster", 10),
    Target("the same, added memory", _at("mask-targets", 400), "memory share", 1 / 20),
    Target("1000 detections to RLE on 2048 x 2048", _at("detections-to-rle", 1000), "faster", 30),
    Target("the same, added memory", _at("detections-to-rle", 1000), "memory share", 1 / 20),
    Target("train step, R18, batch 2, 400 cells, per image", _STEP, "time share", 0.40),
    Target("the same with --amp", _STEP, "time share", 0.25, side="ours-amp"),
    Target("the same, peak memory", _STEP, "peak share", 0.40),
    Target("train step, R101, batch 2, 1000 cells, peak memory", _BIG_STEP, "peak GB", 14),
    Target("AP of 24,000 masks", GROUPS["average-precision"][0], "faster", 20),
]


def shrink(comparison: SpeedComparison) -> SpeedComparison:
    """Make a comparison small enough to run in seconds."""
    return replace(
        comparison,
        cells=max(comparison.cells // 50, 4),
        size_px=max(comparison.size_px // 8, 128),
        images=min(comparison.images, 2),
    )
