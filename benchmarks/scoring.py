"""Time the scoring of dense images against simpler ways of doing it.

    python benchmarks/scoring.py
    python benchmarks/scoring.py --repeats 7 --labels PATH/class2.tif
    python benchmarks/scoring.py --quick    # small images once, written elsewhere

Writes docs/scoring.md. The loop over pairs compares bitmaps of cells whose boxes overlap; its time
is extrapolated from the first 60 cells. Images are drawn, or read from a real label map.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from frame import find_page, is_met, make_parser, spread, write_page, write_table
from timing import time_in_turns

from cellseg.images import read_label_map
from cellseg.scoring.average_precision import compute_average_precision
from cellseg.scoring.counts import count_scene
from cellseg.scoring.matching import match_cells, overlap_label_maps
from cellseg.scoring.results import ImageResult
from cellseg.scoring.scene import build_result_scene, build_scene
from cellseg.scoring.scores import compute_scores
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_label_map

LOOP_CELLS = 60
LEAST_SPEED_UP, MOST_TIMES_AP = 20, 5
CLASSES = ["a", "b", "c", "d"]


@dataclass(frozen=True)
class Images:
    """What is scored.

    Attributes:
        name: Where the two label maps come from.
        gt: (H, W) label map of the ground truth.
        pred: (H, W) label map of the predictions.
        results: Images with scores and classes.
    """

    name: str
    gt: np.ndarray
    pred: np.ndarray
    results: list[ImageResult]

    @property
    def num_cells(self) -> int:
        """Cells of the ground truth's label map."""
        return len(np.unique(self.gt)) - 1


def draw_cells(side: int, count: int, seed: int, jitter_px: int) -> np.ndarray:
    """Draw numbered ellipses in a grid, each moved at random by up to jitter_px."""
    places = np.random.default_rng(0).permutation((side // 36) ** 2)[:count]
    rng = np.random.default_rng(seed)
    label_map = np.zeros((side, side), dtype=np.int32)
    for number, place in enumerate(places.tolist(), start=1):
        cy, cx = (18 + 36 * k for k in divmod(place, side // 36))
        cy, cx = (c + int(rng.integers(-jitter_px, jitter_px + 1)) for c in (cy, cx))
        top, left = max(cy - 18, 0), max(cx - 15, 0)
        y, x = np.mgrid[top : min(cy + 19, side), left : min(cx + 16, side)]
        inside = ((x - cx) / 14) ** 2 + ((y - cy) / 17) ** 2 <= 1
        label_map[top : top + y.shape[0], left : left + y.shape[1]][inside] = number
    return label_map


def match_by_loop(gt: np.ndarray, pred: np.ndarray, max_cells: int) -> int:
    """Compare the bitmaps of the first cells with those of all whose boxes overlap."""
    gt_ids, gt_boxes, *_ = encode_label_map(gt)
    pred_ids, pred_boxes, *_ = encode_label_map(pred)
    pred_masks: dict[int, np.ndarray] = {}
    matched = 0
    for cell, box in list(zip(gt_ids, gt_boxes, strict=True))[:max_cells]:
        mask = gt == cell
        low, high = np.maximum(pred_boxes[:, :2], box[:2]), np.minimum(pred_boxes[:, 2:], box[2:])
        for index in np.flatnonzero((low < high).all(axis=1)).tolist():
            other = pred_masks.setdefault(index, pred == pred_ids[index])
            iou = (mask & other).sum() / (mask | other).sum()
            matched += int(iou > 0.5)
        if len(pred_masks) > 200:
            pred_masks.clear()
    return matched


def make_results(num_images: int, num_cells: int, side: int) -> list[ImageResult]:
    """Draw images with predictions that overlap, err and have scores."""
    results = []
    rng = np.random.default_rng(0)
    for number in range(num_images):
        _, boxes, _, rles = encode_label_map(draw_cells(side, num_cells, 3 * number, 2))
        labels = rng.integers(0, len(CLASSES), len(rles))
        wrong = rng.random(len(rles)) < 0.1
        found = encode_label_map(draw_cells(side, num_cells, 3 * number + 1, 4))
        extra = encode_label_map(draw_cells(side, num_cells // 8, 3 * number + 2, 6))
        own = np.where(wrong, 0, np.resize(labels, len(found[0])))
        both = np.concatenate((found[1], extra[1]))
        pred_labels = np.concatenate((own, np.resize(labels, len(extra[0]))))
        scores = rng.uniform(0.3, 1, len(pred_labels))
        predictions = Cells(both, scores, pred_labels, found[3] + extra[3], side, side)
        truth = Cells(boxes, None, labels, rles, side, side)
        results.append(ImageResult(number, side, side, predictions, truth))
    return results


def make_images(labels: str | None, is_quick: bool) -> Images:
    """Draw or read what is scored; small with is_quick."""
    results = make_results(2, 20, 256) if is_quick else make_results(60, 400, 1024)
    if labels:
        gt = read_label_map(labels)
        return Images(Path(labels).parent.name, gt, np.roll(gt, 2, axis=(0, 1)), results)
    side, count = (360, 80) if is_quick else (1500, 1300)
    return Images("drawn", draw_cells(side, count, 1, 2), draw_cells(side, count, 2, 4), results)


def score_all(results: list[ImageResult]) -> None:
    """Compute AP and all other scores."""
    compute_average_precision(results, CLASSES)
    compute_scores([count_scene(build_result_scene(r, len(CLASSES))) for r in results], CLASSES)


def score_rles(images: Images, rles: list[list]) -> None:
    """Compute all scores but AP from the RLEs of both label maps."""
    sides = [Cells.from_rles(masks, *images.gt.shape) for masks in rles]
    compute_scores([count_scene(build_scene(*sides, 1))], ["cell"])


def pq_of_maps(gt: np.ndarray, pred: np.ndarray) -> float:
    """Match two label maps and compute PQ from their joint histogram."""
    overlaps, gt_ids, pred_ids = overlap_label_maps(gt, pred)
    matches = match_cells(overlaps)
    return float(matches.ious.sum() / (0.5 * (len(gt_ids) + len(pred_ids))))


def measure(images: Images, repeats: int) -> dict[str, list[float]]:
    """Return the times of each way, in seconds."""
    gt, pred, results = images.gt, images.pred, images.results
    timed = min(LOOP_CELLS, images.num_cells)
    rles = [encode_label_map(label_map)[3] for label_map in (gt, pred)]
    workloads = {
        "loop": lambda: match_by_loop(gt, pred, timed),
        "label maps": lambda: pq_of_maps(gt, pred),
        "RLE": lambda: score_rles(images, rles),
        "AP": lambda: compute_average_precision(results, CLASSES),
        "all": lambda: score_all(results),
    }
    times = time_in_turns(workloads, repeats)
    return times | {"loop": [seconds * images.num_cells / timed for seconds in times["loop"]]}


def tabulate(times: dict[str, list[float]], images: Images) -> str:
    """Write medians, ranges and targets as a Markdown table."""
    maps = f"{images.name}, {images.num_cells:,} cells"
    count = sum(len(result.ground_truth.labels) for result in images.results)
    drawn = f"{len(images.results)} images, {count:,} cells"
    middle = {key: median(seconds) for key, seconds in times.items()}
    compared = {"loop": ["-"] * 3, "AP": ["-"] * 3}
    for key in ("label maps", "RLE"):
        faster = middle["loop"] / middle[key]
        target = f"at least {LEAST_SPEED_UP}x faster than the loop"
        compared[key] = [f"{faster:.1f}x faster", target, is_met(faster >= LEAST_SPEED_UP)]
    ratio = middle["all"] / middle["AP"]
    target = f"under {MOST_TIMES_AP}x the time of AP"
    compared["all"] = [f"{ratio:.2f}x", target, is_met(ratio < MOST_TIMES_AP)]
    titles = {
        "loop": f"{maps}: loop over pairs whose boxes overlap, extrapolated",
        "label maps": f"{maps}: matching and PQ, from label maps",
        "RLE": f"{maps}: all scores but AP, from RLE",
        "AP": f"{drawn}: AP alone",
        "all": f"{drawn}: AP and all other scores",
    }
    rows = [
        [title, f"{spread(times[key], '{:.3f}'.format)} s", *compared[key]]
        for key, title in titles.items()
    ]
    return write_table(["", "median [range]", "compared", "target", "met"], rows)


def main() -> None:
    """Measure, print and write."""
    parser = make_parser(__doc__, "small images once")
    parser.add_argument("--repeats", type=int, default=5, help="the median is shown (default: 5)")
    parser.add_argument("--labels", help="label TIFF to match with itself moved by 2 px")
    args = parser.parse_args()
    repeats = 1 if args.quick else args.repeats
    images = make_images(args.labels, args.quick)
    table = tabulate(measure(images, repeats), images)
    body = TEXT.format(table=table, timed=min(LOOP_CELLS, images.num_cells), repeats=repeats)
    print(write_page(find_page(args, "scoring"), "Scoring cells", "scoring.py", body))


TEXT = """{table}

Medians of {repeats} runs. The loop compares the bitmaps of cells whose boxes overlap, one pair
after another. It is not run to the end: its time is extrapolated from that of the first {timed}
cells. The scores are PQ, F1, precision, recall, AJI and Dice, per class and over all classes.
"""


if __name__ == "__main__":
    main()
