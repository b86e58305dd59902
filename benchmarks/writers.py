"""Time the writers on 10,000 cells: medians of several runs, with their spread.

python benchmarks/writers.py            # a minute
python benchmarks/writers.py --quick    # 1,000 cells once, written elsewhere

Writes docs/writers.md.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
from dense.report import describe_machine

from cellseg.formats.coco_json import write_coco_results
from cellseg.formats.geojson import write_geojson
from cellseg.formats.label_tiff import write_label_tiffs
from cellseg.formats.tables import write_csv
from cellseg.images import ArraySource
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_crops, measure_rles

ROOT = Path(__file__).resolve().parents[1]
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
    """Time every writer and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=3000, help="image side in pixels")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="1,000 cells once, written elsewhere")
    parser.add_argument("--out", type=Path, help="the report; default docs/writers.md")
    args = parser.parse_args()
    if args.quick:
        args.cells, args.side, args.runs = 1000, 1000, 1
    table = write_table(time_writers(args), args.cells)
    folder = ROOT / ("work_dirs/benchmarks_quick" if args.quick else "docs")
    out = args.out or folder / "writers.md"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(
        TEXT.format(
            table=table,
            cells=args.cells,
            side=args.side,
            runs=args.runs,
            date=date.today().isoformat(),
            machine=describe_machine(),
        ),
        "utf-8",
    )
    print(table)


def time_writers(args: argparse.Namespace) -> dict[str, list[float]]:
    """Time every writer on the same cells, in seconds."""
    cells = draw_cells(args.cells, args.side)
    pixels = np.random.default_rng(0).integers(0, 256, (args.side, args.side, 3), dtype=np.uint8)
    image = ArraySource(pixels)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        works: dict[str, Callable[[], object]] = {
            "GeoJSON": lambda: write_geojson(cells, out / "cells.geojson"),
            "label TIFFs": lambda: write_label_tiffs(cells, out / "labels.tif"),
            "measurements": lambda: write_csv(cells, out / "cells.csv", image),
            "COCO JSON": lambda: write_coco_results(cells, out / "cells.json"),
        }
        seconds: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(args.runs):
            for name, work in works.items():
                begin = time.perf_counter()
                work()
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def write_table(seconds: dict[str, list[float]], cells: int) -> str:
    """Write medians, ranges and aims as a Markdown table."""
    lines = [
        f"| {cells:,} cells | median [range] | at most | met |",
        "|---|---|---|---|",
    ]
    for name, times in seconds.items():
        middle = statistics.median(times)
        target = _TARGETS_S.get(name)
        aim = f"{target:g} s | {'yes' if middle <= target else '**no**'}" if target else "- | -"
        lines.append(f"| {name} | {middle:.2f} [{min(times):.2f} - {max(times):.2f}] s | {aim} |")
    return "\n".join(lines)


TEXT = """# Writing cells

Written by `python benchmarks/writers.py`, {date}. {machine}.

{table}

{cells:,} ellipses of 12 to 28 px scattered over {side:,} x {side:,} pixels in four classes,
overlapping as they fall; medians of {runs} runs. Label TIFFs are the combined file and one a class.
Measurements are shape and stain of every cell, from pixels in memory to the written CSV.
"""


if __name__ == "__main__":
    main()
