"""Check with a trained model that tiles find what the whole image shows, once and whole.

    python benchmarks/seams.py CONFIG CHECKPOINT PATH/hgsc_nest_1500/image.tif --drawn 2
    python benchmarks/seams.py CONFIG CHECKPOINT --quick

Of the cells with score 0.5 or more in the whole image, at least 98% must be matched at IoU 0.8 by
the tiled prediction at the same score; none may be found by two tiles, none cut at a tile's border.
Writes docs/seams.md.
"""

import argparse
import sys
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
from dense.report import describe_machine
from mmengine.config import DictAction
from tiled.agreement import Agreement, compare_predictions, predict_tiles

from cellseg.datasets.synthetic import draw_cell_image
from cellseg.engine.process_group import set_thread_counts
from cellseg.images import ArraySource, ImageSource, open_image
from cellseg.inference import Predictor, TileOptions

ROOT = Path(__file__).resolve().parents[1]
_SCORE_THR = 0.5
_LEAST_CELLS, _LEAST_CROSSING = 300, 50


class Row(NamedTuple):
    """One line of the table: the image, how it was cut, and how the predictions agree."""

    name: str
    size: tuple[int, int]
    scale: float
    tiles: int
    tile_px: int
    overlap_px: int
    agreement: Agreement


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", help="config file that the checkpoint was trained with")
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument("images", nargs="*", type=Path, help="images, predicted at --scale")
    parser.add_argument("--drawn", type=int, default=2, help="drawn images besides; default 2")
    parser.add_argument("--side", type=int, default=1400, help="side of drawn images in pixels")
    parser.add_argument("--cells", type=int, default=1400, help="cells of a drawn image")
    parser.add_argument("--scale", type=float, default=1.0, help="network pixels per pixel")
    parser.add_argument("--drawn-scale", type=float, default=1.0, help="the same of drawn images")
    parser.add_argument("--tile", type=int, default=512, help="side of a tile in pixels")
    parser.add_argument("--overlap", type=int, default=128, help="overlap of tiles in pixels")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, help="override the config")
    parser.add_argument("--quick", action="store_true", help="one small image, written elsewhere")
    parser.add_argument("--out", type=Path, help="the report; default docs/seams.md")
    return parser.parse_args()


def main() -> int:
    """Compare both predictions of every image, and write the table; 1 if the promise is broken."""
    args = parse_args()
    set_thread_counts()
    if args.quick:
        args.drawn, args.side, args.cells = 1, min(args.side, 700), min(args.cells, 400)
    rows = []
    for path in args.images:
        predictor = build_predictor(args, args.scale)
        with open_image(path, predictor.image_format) as source:
            name = path.parent.name if path.stem == "image" else path.stem
            rows.append(check_image(args, source, name, args.scale))
        print(write_row(rows[-1]), flush=True)
    for number in range(args.drawn):
        rng = np.random.default_rng([11, number])  # no seed of the sample data's
        image_bgr, _ = draw_cell_image(rng, args.side, args.side, args.cells)
        name = f"drawn, {args.cells} cells, {number + 1}"
        rows.append(check_image(args, ArraySource(image_bgr), name, args.drawn_scale))
        print(write_row(rows[-1]), flush=True)
    quick = ROOT / "work_dirs" / "benchmarks_quick" / "seams.md"
    out = args.out or (quick if args.quick else ROOT / "docs" / "seams.md")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(write_report(rows, args), "utf-8")
    print(f"Written to {out}.")
    return 0 if all(row.agreement.holds for row in rows) else 1


def build_predictor(args: argparse.Namespace, scale: float, whole: bool = False) -> Predictor:
    """Build a predictor that looks at the whole image, or at its tiles."""
    tiling = TileOptions(tile_px=args.tile, overlap_px=args.overlap, scale=scale, whole=whole)
    return Predictor(
        args.config,
        args.checkpoint,
        score_thr=_SCORE_THR,
        tiling=tiling,
        cfg_options=args.cfg_options,
    )


def check_image(args: argparse.Namespace, source: ImageSource, name: str, scale: float) -> Row:
    """Predict one image whole and tiled, at the same scale, and compare."""
    whole = build_predictor(args, scale, whole=True)(source)
    tiled, tiles, origins = predict_tiles(build_predictor(args, scale), source)
    agreement = compare_predictions(whole, tiled, tiles, origins)
    size = (source.height, source.width)
    return Row(name, size, scale, len(tiles), tiles[0].width, args.overlap, agreement)


def write_row(row: Row) -> str:
    """Write one line of the table."""
    found = row.agreement
    enough = found.whole >= _LEAST_CELLS and found.crossing >= _LEAST_CROSSING
    verdict = "yes" if found.holds else "**no**"
    cells = (
        f"{row.name}, {row.size[0]} x {row.size[1]} px",
        f"{row.tiles} of {row.tile_px} px, overlap {row.overlap_px}, scale {row.scale:g}",
        f"{found.whole:,}",
        f"{found.crossing:,}",
        f"{found.share:.2%}",
        f"{found.twice}",
        f"{found.cut}",
        f"{found.whole_covering} / {found.tiled_covering}",
        verdict if enough else f"{verdict}, but too few cells to tell",
    )
    return "| " + " | ".join(cells) + " |"


def write_report(rows: list[Row], args: argparse.Namespace) -> str:
    """Write the table with what it says, the machine and the date."""
    return TEXT.format(
        table="\n".join(map(write_row, rows)),
        score=_SCORE_THR,
        config=Path(args.config).stem,
        checkpoint=Path(args.checkpoint).name,
        date=date.today().isoformat(),
        machine=describe_machine(),
    )


TEXT = """# Cells on seams

Written by `python benchmarks/seams.py`, {date}: `{config}`, `{checkpoint}`. {machine}.

| image | tiles | cells | crossing | matched | twice | cut | covering, whole / tiled | holds |
|---|---|---|---|---|---|---|---|---|
{table}

Each image is predicted whole and tile by tile, both at score {score:g} and the same scale. *Cells*
are those of the whole image, *crossing* those of them that a tile's border crosses. *Matched*:
cells of the whole image that the tiled prediction holds at IoU 0.8; at least 98% are asked for.
*Twice*: tiled cells that cover one another by more than half though different tiles found them
and the whole image does not show both, or that match a cell that another one matches better.
*Cut*: tiled cells that lie in a larger cell of the whole image and end at a tile's border. The
network itself finds some cells in one place, such as two neighbours and both as one; these
*covering* pairs are counted for both.
"""


if __name__ == "__main__":
    sys.exit(main())
