"""Time the writers on 10,000 cells: medians of several runs, with their spread.

python benchmarks/writers.py
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cellseg.inference.cells import Cells
from cellseg.inference.sources import ArraySource
from cellseg.inference.writers.coco_json import write_coco_results
from cellseg.inference.writers.geojson import write_geojson
from cellseg.inference.writers.label_tiff import write_label_tiffs
from cellseg.inference.writers.measurements import measure_cells, write_csv
from cellseg.structures.rle import encode_crops, measure_rles

_TARGETS_S = {"GeoJSON": 3.0, "label TIFFs": 1.0, "measurements": 5.0}


def draw_cells(num_cells: int, side_px: int) -> Cells:
    """Scatter ellipses of 12 to 28 px over an image, overlapping as they fall."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:30, :30] - 14.5
    radii = rng.uniform(6, 14, (num_cells, 2))
    crops = [(rows / a) ** 2 + (columns / b) ** 2 < 1 for a, b in radii]
    xs, ys = rng.integers(0, side_px - 30, (2, num_cells))
    rles = encode_crops(crops, xs, ys, side_px, side_px)
    labels, scores = rng.integers(0, 4, num_cells), rng.uniform(0.5, 1, num_cells)
    return Cells(measure_rles(rles)[0], scores, labels, rles, side_px, side_px, tuple("abcd"))


def main() -> None:
    """Time every writer and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=3000, help="image side in pixels")
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    cells = draw_cells(args.cells, args.side)
    pixels = np.random.default_rng(0).integers(0, 256, (args.side, args.side, 3), dtype=np.uint8)
    image = ArraySource(pixels)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        works: dict[str, Callable[[], object]] = {
            "GeoJSON": lambda: write_geojson(cells, out / "cells.geojson"),
            "label TIFFs": lambda: write_label_tiffs(cells, out / "labels.tif"),
            "measurements": lambda: write_csv(measure_cells(cells, image), out / "cells.csv"),
            "COCO JSON": lambda: write_coco_results(cells, out / "cells.json"),
        }
        lines = [
            f"| {args.cells:,} cells | median, s | min to max, s | target, s |",
            "|---|---|---|---|",
        ]
        for name, work in works.items():
            seconds = []
            for _ in range(args.runs):
                begin = time.perf_counter()
                work()
                seconds.append(time.perf_counter() - begin)
            spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
            target = _TARGETS_S.get(name, "")
            lines.append(f"| {name} | {statistics.median(seconds):.2f} | {spread} | {target} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
