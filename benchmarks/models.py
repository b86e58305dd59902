"""Score a model at several scales and minimum scores, with the seconds that each scale takes.

    python benchmarks/models.py nuclei-he configs/cell/mask-rcnn_lite0_small-anchor_nuclei-he.py
    python benchmarks/models.py models/nuclei-cc0 data/dsb2018/val --scales 1.6 --quick
    python benchmarks/models.py nuclei-he data/dsb2018/val --sizes    # the estimate of cell sizes
    python benchmarks/models.py nuclei-he data/dsb2018/val --scales 1.6 --scores 0.5 \
        --pictures docs/images/nuclei_he_dsb2018.jpg    # best, median, worst and densest image

The data is a config, whose validation images are taken, or a folder in this project's layout. Cells
are scored whatever their class; figures are means over the images. Writes docs/model_scores.md and
the JSON file beside it, where each model and data set has a row of its own.
"""

import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from frame import (
    find_page,
    make_parser,
    read_raw,
    stamp,
    write_page,
    write_raw,
    write_table,
)
from mmengine.config import DictAction

from cellseg.engine.data_source import open_data
from cellseg.engine.process_group import set_thread_counts
from cellseg.images import read_cell_image
from cellseg.images.image_source import ArraySource
from cellseg.inference import Predictor, TileOptions
from cellseg.inference.cell_size import estimate_cell_size
from cellseg.scoring.results import ImageResult
from cellseg.scoring.scores import score_results
from cellseg.structures.cells import Cells
from cellseg.visualization.cell_visualizer import write_image
from cellseg.visualization.overlays import draw_outlines
from cellseg.visualization.panels import CaptionEntry, join_panels, resize_for_display
from cellseg.visualization.sample_page import arrange_page

FIGURES = {"AJI": "AJI", "PQ": "PQ", "F1_50": "DQ", "Dice": "Dice"}  # DQ is F1 at IoU 0.5
TRUTH_COLOR, FOUND_COLOR = (40, 110, 255), (255, 245, 25)
NUM_SIZED, FACTORS = 5, (0.25, 0.5, 1, 2, 4)
HEAD = ("model", "data", "scale", "minimum score", *FIGURES, "cells / truth", "s per megapixel")


def main() -> None:
    """Score the model, and write the page with all rows measured so far."""
    parser = make_parser(__doc__, "the first image only")
    parser.add_argument("model", help="name, folder or checkpoint of a model")
    parser.add_argument("data", help="config, for its validation images, or data folder")
    parser.add_argument("--config", help="config of a checkpoint")
    parser.add_argument("--name", help="what to call the model; default its name")
    parser.add_argument("--data-name", help="what to call the data; default its file name")
    parser.add_argument("--scales", nargs="+", type=float, default=[1.0, 1.25, 1.6, 2.0])
    parser.add_argument("--scores", nargs="+", type=float, default=[0.3, 0.4, 0.5, 0.6])
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, help="override the data's")
    parser.add_argument(
        "--sizes", action="store_true", help="print how well cell sizes are estimated, no more"
    )
    parser.add_argument(
        "--pictures", type=Path, help="draw the best, median, worst and densest image, no more"
    )
    args = parser.parse_args()
    set_thread_counts()
    if args.pictures:
        draw_pictures(args)
        return
    if args.sizes:
        print_sizes(args)
        return
    page = find_page(args, "model_scores")
    raw = read_raw(page)
    for name, row in measure(args):
        raw[name] = row
        print(*row["figures"], flush=True)
        write_raw(page, raw)
    rows = [row["figures"] for row in raw.values()]
    write_page(
        page,
        "Scores of the models",
        "models.py",
        TEXT.format(table=write_table(HEAD, rows)),
        raw=raw,
    )
    print(f"Wrote {page}")


def measure(args: Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Predict and score all images; yields a row for each scale and minimum score."""
    images, truths = read_images(args)
    model = (args.config, args.model) if args.config else (args.model, None)
    names = args.name or Path(args.model).name, args.data_name or Path(args.data).stem
    for scale in args.scales:
        tiling = TileOptions(scale=scale, whole=True)
        predictor = Predictor(*model, device="cpu", score_thr=min(args.scores), tiling=tiling)
        found, seconds = predict_all(predictor, images)
        for score in args.scores:
            figures = score_all(found, truths, score)
            num_found = sum(int((cells.confidences >= score).sum()) for cells in found)
            row = [*names, f"{scale:g}", f"{score:g}", *(f"{figures[key]:.3f}" for key in FIGURES)]
            row += [f"{num_found:,} / {sum(map(len, truths)):,}", f"{seconds:.2f}"]
            yield " ".join(row[:4]), {**stamp(), "figures": row}


def read_images(args: Namespace) -> tuple[list[np.ndarray], list[Cells]]:
    """Read the images (B, G, R) and their ground truth."""
    dataset = open_data(args.data, "val", args.cfg_options)
    entries = [dataset.get_data_info(index) for index in range(len(dataset))]
    entries = entries[:1] if args.quick else entries
    images = [read_cell_image(entry["img_path"], entry.get("image_format")) for entry in entries]
    truths = [
        Cells.from_instances(entry["instances"], *image.shape[:2])
        for entry, image in zip(entries, images, strict=True)
    ]
    return images, truths


def print_sizes(args: Namespace) -> None:
    """Print how many estimates of the median diameter are within 25% of the labeled one.

    Five images are shown at 0.25 to 4 times their size; larger ones are cut to 500 px for 4 times.
    """
    predictor = Predictor(args.model, device="cpu")
    record = predictor.model_source.record
    images, truths = read_images(args)
    step = max(len(images) // NUM_SIZED, 1)
    ratios = []
    for image, truth in list(zip(images, truths, strict=True))[::step][:NUM_SIZED]:
        diameter = float(np.median(np.sqrt(truth.areas * 4 / np.pi)))
        for factor in FACTORS:
            part = image[250:750, 250:750] if factor == 4 and min(image.shape[:2]) > 750 else image
            how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
            shown = ArraySource(cv2.resize(part, None, fx=factor, fy=factor, interpolation=how))
            sizes = record.test_scale, record.median_diameter_px
            found = estimate_cell_size(shown, predictor.find_roughly, *sizes)
            ratios.append(found.diameter_px / (diameter * factor) if found else 0.0)
            print(
                f"{factor:g} times: {diameter * factor:.1f} px, ratio {ratios[-1]:.2f}", flush=True
            )
    good = sum(1 / 1.25 <= ratio <= 1.25 for ratio in ratios)
    print(f"{good} of {len(ratios)} estimates are within 25%")


def draw_pictures(args: Namespace) -> None:
    """Draw four images with the outlines of the truth and of the model's cells.

    The first of `--scales` and of `--scores` is taken.
    """
    images, truths = read_images(args)
    scale, score = args.scales[0], args.scores[0]
    tiling = TileOptions(scale=scale, whole=True)
    predictor = Predictor(args.model, device="cpu", score_thr=score, tiling=tiling)
    found, _ = predict_all(predictor, images)
    figures = [score_all([c], [t], score)["AJI"] for c, t in zip(found, truths, strict=True)]
    picked = pick_images(figures, [len(truth) for truth in truths])
    tiles = [
        draw_tile(images[index], truths[index], found[index], f"{name}: AJI {figures[index]:.2f}")
        for index, name in picked.items()
    ]
    write_image(args.pictures, arrange_page(tiles, columns=2))
    print(f"Wrote {args.pictures}")


def draw_tile(image: np.ndarray, truth: Cells, found: Cells, title: str) -> np.ndarray:
    """Draw an image (B, G, R), both outlines on it, under a caption; returns R, G, B."""
    shown, scale = resize_for_display(image[..., ::-1], min_side_px=640)
    entries = []
    for cells, side, color in ((truth, "labeled", TRUTH_COLOR), (found, "found", FOUND_COLOR)):
        shown = draw_outlines(shown, cells.crops(), np.zeros(len(cells), int), [color], scale=scale)
        entries.append(CaptionEntry(f"{len(cells)} {side}", color))
    return join_panels([(shown, title, entries)])


def pick_images(figures: list[float], num_cells: list[int]) -> dict[int, str]:
    """Pick the best, median, worst and densest image; one that is two of them has both names."""
    order = np.argsort(figures, kind="stable")[::-1]
    picked = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    picked["densest"] = np.argmax(num_cells)
    names: dict[int, list[str]] = {}
    for name, index in picked.items():
        names.setdefault(int(index), []).append(name)
    return {index: " and ".join(own) for index, own in names.items()}


def predict_all(predictor: Predictor, images: list[np.ndarray]) -> tuple[list[Cells], float]:
    """Predict every image; returns the cells, and the median of the seconds per megapixel."""
    predictor(images[0][:256, :256], channel_order="bgr")  # the first call allocates
    found, seconds = [], []
    for image in images:
        begin = time.perf_counter()
        found.append(predictor(image, channel_order="bgr"))
        seconds.append((time.perf_counter() - begin) / (image.shape[0] * image.shape[1] / 1e6))
    return found, float(np.median(seconds))


def score_all(found: list[Cells], truths: list[Cells], score: float) -> dict[str, float]:
    """Average the scores of all cells, whatever their class, over the images."""
    results = [
        ImageResult(number, truth.height, truth.width, cells, truth)
        for number, (cells, truth) in enumerate(zip(found, truths, strict=True))
    ]
    num_classes = max(1 + int(cells.labels.max(initial=0)) for cells in (*found, *truths))
    scores, _ = score_results(results, [str(label) for label in range(num_classes)], score)
    return {name: scores.any_class.values[f"{key}_image_mean"] for name, key in FIGURES.items()}


TEXT = """{table}

*Scale*: pixels of the network's input per pixel of the image. *Minimum score*: cells below it are
left out. AJI, PQ, F1 at IoU 0.5 and Dice are of all cells whatever their class, and means over the
images. *s per megapixel* of the image is the median over the images, of a whole prediction from the
array to the cells above the lowest minimum score, on the number of threads that the machine gives.
"""


if __name__ == "__main__":
    main()
