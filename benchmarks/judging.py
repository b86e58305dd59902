"""Time the judgement of dense images against plain ways of doing it; prints one table.

    python benchmarks/judging.py
    python benchmarks/judging.py --repeats 7 --labels PATH/class2.tif

The per-pair loop compares bitmaps of cells whose boxes overlap, as a careful loop would; the loop
over all pairs is estimated from a part of it. Data are drawn, or read from a real label map.
"""

import argparse
import platform
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np

from cellseg.datasets.tiff_io import read_label_map
from cellseg.evaluation.average_precision import compute_average_precision
from cellseg.evaluation.coco_results import GroundTruth, ImageResult, Predictions
from cellseg.evaluation.image_counts import CellSet, count_image, count_result
from cellseg.evaluation.judgement import judge
from cellseg.evaluation.matching import match_cells, overlap_label_maps
from cellseg.structures.rle import encode_label_map

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
        _, boxes, areas, rles = encode_label_map(draw_cells(side, num_cells, 3 * number, 2))
        labels = rng.integers(0, len(CLASSES), len(rles))
        wrong = rng.random(len(rles)) < 0.1
        found = encode_label_map(draw_cells(side, num_cells, 3 * number + 1, 4))
        extra = encode_label_map(draw_cells(side, num_cells // 8, 3 * number + 2, 6))
        own = np.where(wrong, 0, np.resize(labels, len(found[0])))
        both = [np.concatenate((a, b)) for a, b in zip(found[1:3], extra[1:3], strict=True)]
        pred_labels = np.concatenate((own, np.resize(labels, len(extra[0]))))
        scores = rng.uniform(0.3, 1, len(pred_labels))
        predictions = Predictions(
            both[0].astype(float), scores, pred_labels, found[3] + extra[3], both[1]
        )
        truth = GroundTruth(boxes.astype(float), labels, np.zeros(len(labels), bool), areas, rles)
        results.append(ImageResult(number, side, side, predictions, truth))
    return results


def judge_all(results: list[ImageResult]) -> None:
    """Compute AP and all other figures."""
    compute_average_precision(results, CLASSES)
    judge([count_result(result, len(CLASSES)) for result in results], CLASSES)


def pq_of_maps(gt: np.ndarray, pred: np.ndarray) -> float:
    """Match two label maps and compute PQ by way of the joint histogram."""
    overlaps, gt_ids, pred_ids = overlap_label_maps(gt, pred)
    matches = match_cells(overlaps)
    return float(matches.ious.sum() / (0.5 * (len(gt_ids) + len(pred_ids))))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="the median is shown (default: 5)")
    parser.add_argument("--labels", help="label TIFF to match with itself moved by 2 px")
    args = parser.parse_args()
    gt = read_label_map(args.labels) if args.labels else draw_cells(1500, 1300, 1, 2)
    pred = np.roll(gt, 2, axis=(0, 1)) if args.labels else draw_cells(1500, 1300, 2, 4)
    part = 60
    share = part / (len(np.unique(gt)) - 1)
    loop = [t / share for t in median_time(lambda: match_by_loop(gt, pred, part), args.repeats)]
    maps = median_time(lambda: pq_of_maps(gt, pred), args.repeats)
    sets = [
        CellSet(rles, np.zeros(len(rles), int))
        for rles in (encode_label_map(m)[3] for m in (gt, pred))
    ]
    rle = median_time(lambda: judge([count_image(*sets, 1)], ["cell"]), args.repeats)
    results = make_results(60, 400, 1024)
    precision = median_time(lambda: compute_average_precision(results, CLASSES), args.repeats)
    full = median_time(lambda: judge_all(results), args.repeats)
    name = Path(args.labels).parent.name if args.labels else "drawn"
    cells = len(np.unique(gt)) - 1
    print(f"{date.today()}, {platform.machine()}, {args.repeats} repeats")
    print(f"{'':<58}{'median':>9}{'least':>9}{'most':>9}{'ratio':>9}")
    for what, times, base in (
        (f"{name}, {cells} cells: loop over pairs that may meet (est.)", loop, None),
        (f"{name}, {cells} cells: matching and PQ, label maps", maps, loop),
        (f"{name}, {cells} cells: all figures, RLE", rle, loop),
        ("60 images, 24,000 cells: AP alone", precision, None),
        ("60 images, 24,000 cells: AP and all figures", full, precision),
    ):
        ratio = (
            ""
            if base is None
            else f"{times[0] / base[0]:.2f}x"
            if base is precision
            else f"1/{base[0] / times[0]:.0f}"
        )
        print(f"{what:<58}" + "".join(f"{t:>8.3f}s" for t in times) + f"{ratio:>9}")


if __name__ == "__main__":
    main()
