"""Time the writers on 10,000 cells: medians of several runs, with their spread.

python benchmarks/writers.py            # a minute
python benchmarks/writers.py --quick    # 1,000 cells once, written elsewhere

Writes docs/writers.md.
"""

import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from frame import find_page, is_met, make_parser, spread, write_page, write_table
from timing import time_in_turns

from cellseg.formats.coco_results import write_coco_results
from cellseg.formats.geojson import write_geojson
from cellseg.formats.label_tiff import write_label_tiffs
from cellseg.formats.tables import write_csv
from cellseg.images import ArraySource
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_crops, measure_rles

TARGETS_S = {"GeoJSON": 3.0, "label TIFFs": 1.0, "measurements": 5.0}


def draw_cells(num_cells: int, side_px: int) -> Cells:
    """Scatter ellipses of 12 to 28 px over an image; some overlap."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:30, :30] - 14.5
    radii = rng.uniform(6, 14, (num_cells, 2))
    crops = [(rows / a) ** 2 + (columns / b) ** 2 < 1 for a, b in radii]
    xs, ys = rng.integers(0, side_px - 30, (2, num_cells))
    rles = encode_crops(crops, xs, ys, side_px, side_px)
    labels, scores = rng.integers(0, 4, num_cells), rng.uniform(0.5, 1, num_cells)
    return Cells(measure_rles(rles)[0], scores, labels, rles, side_px, side_px, tuple("abcd"))


def main() -> None:
    """Time every writer and write the page."""
    parser = make_parser(__doc__, "1,000 cells once")
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=3000, help="image side in pixels")
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    if args.quick:
        args.cells, args.side, args.runs = 1000, 1000, 1
    rows = []
    for name, seconds in time_writers(args.cells, args.side, args.runs).items():
        limit = TARGETS_S.get(name)
        target = [f"{limit:g} s", is_met(median(seconds) <= limit)] if limit else ["-", "-"]
        rows.append([name, f"{spread(seconds, '{:.2f}'.format)} s", *target])
    table = write_table([f"{args.cells:,} cells", "median [range]", "at most", "met"], rows)
    body = TEXT.format(table=table, cells=args.cells, side=args.side, runs=args.runs)
    print(write_page(find_page(args, "writers"), "Writing cells", "writers.py", body))


def time_writers(num_cells: int, side_px: int, runs: int) -> dict[str, list[float]]:
    """Time every writer on the same cells, in seconds."""
    cells = draw_cells(num_cells, side_px)
    pixels = np.random.default_rng(0).integers(0, 256, (side_px, side_px, 3), dtype=np.uint8)
    image = ArraySource(pixels)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        workloads = {
            "GeoJSON": lambda: write_geojson(cells, out / "cells.geojson"),
            "label TIFFs": lambda: write_label_tiffs(cells, out / "labels.tif"),
            "measurements": lambda: write_csv(cells, out / "cells.csv", image),
            "COCO JSON": lambda: write_coco_results(cells, out / "cells.json"),
        }
        return time_in_turns(workloads, runs)


TEXT = """{table}

{cells:,} ellipses of 12 to 28 px scattered over {side:,} x {side:,} pixels in four classes, some of
them overlapping; medians of {runs} runs. Label TIFFs are the combined file and one per class.
Measurements are shape and stain of every cell, from pixels in memory to the written CSV.
"""


if __name__ == "__main__":
    main()
