"""Time the judgement of dense images against plain ways of doing it.

    python benchmarks/judging.py
    python benchmarks/judging.py --repeats 7 --labels PATH/class2.tif
    python benchmarks/judging.py --quick    # small images once, written elsewhere

Writes docs/judging.md. The loop over pairs compares bitmaps of cells whose boxes overlap, as a
careful loop would; its time is estimated from that of the first 60 cells. Data are drawn, or read
from a real label map.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from dense.report import describe_machine

from cellseg.fileio import write_atomically
from cellseg.images import read_label_map
from cellseg.scoring.average_precision import compute_average_precision
from cellseg.scoring.counts import count_scene
from cellseg.scoring.matching import match_cells, overlap_label_maps
from cellseg.scoring.results import ImageResult
from cellseg.scoring.scene import build_result_scene, build_scene
from cellseg.scoring.scores import compute_scores
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_label_map

ROOT = Path(__file__).resolve().parents[1]
LOOP_CELLS = 60
LEAST_SPEED_UP, MOST_TIMES_AP = 20, 5
CLASSES = ["a", "b", "c", "d"]


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


def median_time(work: Callable[[], object], repeats: int) -> tuple[float, float, float]:
    """Return the median, least and longest time of some work in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times)), min(times), max(times)


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


def judge_all(results: list[ImageResult]) -> None:
    """Compute AP and all other figures."""
    compute_average_precision(results, CLASSES)
    compute_scores([count_scene(build_result_scene(r, len(CLASSES))) for r in results], CLASSES)


def pq_of_maps(gt: np.ndarray, pred: np.ndarray) -> float:
    """Match two label maps and compute PQ by way of the joint histogram."""
    overlaps, gt_ids, pred_ids = overlap_label_maps(gt, pred)
    matches = match_cells(overlaps)
    return float(matches.ious.sum() / (0.5 * (len(gt_ids) + len(pred_ids))))


@dataclass(frozen=True)
class Scenes:
    """What is judged.

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


def make_scenes(labels: str | None, is_quick: bool) -> Scenes:
    """Draw or read what is judged; small with is_quick."""
    results = make_results(2, 20, 256) if is_quick else make_results(60, 400, 1024)
    if labels:
        gt = read_label_map(labels)
        return Scenes(Path(labels).parent.name, gt, np.roll(gt, 2, axis=(0, 1)), results)
    side, count = (360, 80) if is_quick else (1500, 1300)
    return Scenes("drawn", draw_cells(side, count, 1, 2), draw_cells(side, count, 2, 4), results)


def measure(scenes: Scenes, repeats: int) -> dict[str, tuple[float, float, float]]:
    """Return median, least and longest time of each way, in seconds."""
    gt, pred, results = scenes.gt, scenes.pred, scenes.results
    timed = min(LOOP_CELLS, scenes.num_cells)
    loop = median_time(lambda: match_by_loop(gt, pred, timed), repeats)
    middle, least, most = (seconds * scenes.num_cells / timed for seconds in loop)
    rles = [encode_label_map(label_map)[3] for label_map in (gt, pred)]

    def judge_rles() -> None:
        sides = [Cells.from_rles(masks, *gt.shape) for masks in rles]
        compute_scores([count_scene(build_scene(*sides, 1))], ["cell"])

    return {
        "loop": (middle, least, most),
        "label maps": median_time(lambda: pq_of_maps(gt, pred), repeats),
        "RLE": median_time(judge_rles, repeats),
        "AP": median_time(lambda: compute_average_precision(results, CLASSES), repeats),
        "all": median_time(lambda: judge_all(results), repeats),
    }


def write_table(times: dict[str, tuple[float, float, float]], scenes: Scenes) -> str:
    """Write medians, ranges and aims as a Markdown table."""
    maps = f"{scenes.name}, {scenes.num_cells:,} cells"
    count = sum(len(result.ground_truth.labels) for result in scenes.results)
    images = f"{len(scenes.results)} images, {count:,} cells"
    faster = f"at least {LEAST_SPEED_UP}x faster than the loop"
    lines = ["| | median [range] | beside | aim | met |", "|---|---|---|---|---|"]
    for key, what, base, aim in (
        ("loop", f"{maps}: loop over pairs that may meet, estimated", "", ""),
        ("label maps", f"{maps}: matching and PQ, from label maps", "loop", faster),
        ("RLE", f"{maps}: all figures, from RLE", "loop", faster),
        ("AP", f"{images}: AP alone", "", ""),
        ("all", f"{images}: AP and all figures", "AP", f"under {MOST_TIMES_AP}x the time of AP"),
    ):
        middle, least, most = times[key]
        beside, is_met = "-", "-"
        if base:
            ratio = middle / times[base][0]
            beside = f"{ratio:.2f}x" if base == "AP" else f"{1 / ratio:.1f}x faster"
            met = ratio < MOST_TIMES_AP if base == "AP" else 1 / ratio >= LEAST_SPEED_UP
            is_met = "yes" if met else "**no**"
        lines.append(
            f"| {what} | {middle:.3f} [{least:.3f} - {most:.3f}] s | {beside} | {aim or '-'} "
            f"| {is_met} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="the median is shown (default: 5)")
    parser.add_argument("--labels", help="label TIFF to match with itself moved by 2 px")
    parser.add_argument("--quick", action="store_true", help="small images once, written elsewhere")
    parser.add_argument("--out", type=Path, help="the report; default docs/judging.md")
    args = parser.parse_args()
    repeats = 1 if args.quick else args.repeats
    scenes = make_scenes(args.labels, args.quick)
    table = write_table(measure(scenes, repeats), scenes)
    folder = ROOT / ("work_dirs/benchmarks_quick" if args.quick else "docs")
    text = TEXT.format(
        table=table,
        timed=min(LOOP_CELLS, scenes.num_cells),
        repeats=repeats,
        date=date.today().isoformat(),
        machine=describe_machine(),
    )
    path = write_atomically(args.out or folder / "judging.md", text)
    print(f"{table}\n\nThe loop is estimated from its first {LOOP_CELLS} cells. Wrote {path}")


TEXT = """# Judging cells

Written by `python benchmarks/judging.py`, {date}. {machine}.

{table}

Medians of {repeats} runs. The loop compares the bitmaps of cells whose boxes overlap, one pair
after another; it is not run to its end: its time is estimated from that of the first {timed} cells.
All figures are PQ, F1, precision, recall, AJI and Dice of each class and of all.
"""


if __name__ == "__main__":
    main()
