"""Check with a trained model that tiles find every cell of the whole image once and uncut.

    python benchmarks/seams.py nuclei-he --scale 1.6 --drawn-scale 1.6 --mosaics CONSEP/train
    python benchmarks/seams.py CONFIG --checkpoint CHECKPOINT --tile 512 --quick

Of the cells with score 0.5 or more in the whole image, at least 98% must be matched at IoU 0.8 by
the tiled prediction at the same score; none may be found by two tiles, none cut at a tile's border.
Writes docs/seams.md.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from frame import find_page, is_met, make_parser, write_page, write_row, write_table
from mmengine.config import DictAction
from numpy.typing import NDArray
from tiled.agreement import Agreement, compare_predictions, predict_tiles
from tiled.measuring import SCORE_THR, build_predictor

from cellseg.datasets.synthetic import draw_cell_image
from cellseg.engine.process_group import set_thread_counts
from cellseg.images import ArraySource, ImageSource, open_image
from cellseg.inference.image_list import find_input_images
from cellseg.inference.tiles import Tile

_LEAST_CELLS, _LEAST_CROSSING = 300, 50
_MOSAIC = 6
HEAD = ("image", "tiles", "cells", "matched", "crossing", "matched of these", "found twice") + (
    "cut",
    "covering, whole / tiled",
    "holds",
)


def main() -> int:
    """Compare both predictions of every image, and write the page; 1 if a check fails."""
    parser = make_parser(__doc__, "one small image")
    parser.add_argument("config", metavar="MODEL", help="a model, or a config with --checkpoint")
    parser.add_argument("--checkpoint", type=Path, help="checkpoint file")
    parser.add_argument("--images", nargs="*", type=Path, default=[], help="predicted at --scale")
    parser.add_argument(
        "--mosaics", nargs="*", type=Path, default=[], help="folders of equally large images; six "
        "at a time are put side by side, three in a row, and the rest is left out"
    )  # fmt: skip
    parser.add_argument("--drawn", type=int, default=2, help="number of drawn images; default 2")
    parser.add_argument("--side", type=int, default=1400, help="side of drawn images in pixels")
    parser.add_argument("--cells", type=int, default=1400, help="cells of a drawn image")
    parser.add_argument("--scale", type=float, default=1.0, help="network pixels per pixel")
    parser.add_argument("--drawn-scale", type=float, default=1.0, help="the same of drawn images")
    parser.add_argument("--tile", type=int, help="side of a tile in pixels; default: as predict")
    parser.add_argument("--overlap", type=int, default=128, help="overlap of tiles in pixels")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, help="override the config")
    args = parser.parse_args()
    set_thread_counts()
    if args.quick:
        args.drawn, args.side, args.cells = 1, min(args.side, 700), min(args.cells, 400)
    rows, real, all_hold = [], [], True
    for name, source, scale in open_images(args):
        agreement, tiles = check_image(args, source, scale)
        size = f"{source.height} x {source.width} px"
        tiling = f"{len(tiles)} of {tiles[0].width} px, overlap {args.overlap}, scale {scale:g}"
        rows.append([f"{name}, {size}", tiling, *describe(agreement)])
        if not name.startswith("drawn"):
            real.append(agreement)
        all_hold &= agreement.holds
        print(write_row(rows[-1]), flush=True)
    table = write_table(HEAD, rows) + add_up(real)
    body = TEXT.format(table=table, score=SCORE_THR)
    page, setting = find_page(args, "seams"), f"`{Path(args.config).stem}`"
    if args.checkpoint:
        setting += f", `{args.checkpoint.name}`"
    write_page(page, "Cells on tile borders", "seams.py", body, setting)
    print(f"Wrote {page}")
    return 0 if all_hold else 1


def open_images(args: Namespace) -> Iterator[tuple[str, ImageSource, float]]:
    """Open the given images and draw others; yields name, image and scale of each."""
    for path in args.images:
        predictor = build_predictor(args, whole=False)
        with open_image(path, predictor.image_format) as source:
            yield path.parent.name if path.stem == "image" else path.stem, source, args.scale
    for folder in args.mosaics:
        images = [image.path for image in find_input_images([folder])]
        for number in range(len(images) // _MOSAIC):
            mosaic = make_mosaic(images[number * _MOSAIC : (number + 1) * _MOSAIC])
            name = f"{'/'.join(folder.absolute().parts[-2:])}, mosaic {number + 1}"
            yield name, ArraySource(mosaic), args.scale
    for number in range(args.drawn):
        rng = np.random.default_rng([11, number])  # not a seed of the sample data
        image_bgr, _ = draw_cell_image(rng, args.side, args.side, args.cells)
        name = f"drawn, {args.cells} cells, {number + 1}"
        yield name, ArraySource(image_bgr), args.drawn_scale


def make_mosaic(paths: Sequence[Path]) -> NDArray[np.uint8]:
    """Put six images side by side, three in a row.

    Args:
        paths: Their files; all images have the same size.

    Returns:
        (2 H, 3 W, 3) uint8 B, G, R.
    """
    images = []
    for path in paths:
        with open_image(path) as source:
            images.append(source.read(0, 0, source.width, source.height))
    return np.vstack([np.hstack(images[:3]), np.hstack(images[3:])])


def check_image(args: Namespace, source: ImageSource, scale: float) -> tuple[Agreement, list[Tile]]:
    """Predict one image whole and tiled, at the same scale, and compare."""
    whole = build_predictor(args, whole=True, scale=scale)(source)
    tiled, tiles, origins = predict_tiles(build_predictor(args, whole=False, scale=scale), source)
    return compare_predictions(whole, tiled, tiles, origins), tiles


def describe(found: Agreement) -> list[str]:
    """Write the cells of a table row for one image."""
    is_enough = found.whole >= _LEAST_CELLS and found.crossing >= _LEAST_CROSSING
    return [
        f"{found.whole:,}",
        f"{found.share:.2%}",
        f"{found.crossing:,}",
        f"{found.crossing_matched / max(found.crossing, 1):.2%}",
        f"{found.twice}",
        f"{found.cut}",
        f"{found.whole_covering} / {found.tiled_covering}",
        is_met(found.holds) + ("" if is_enough else ", but too few cells to tell"),
    ]


def add_up(found: Sequence[Agreement]) -> str:
    """Write the sums of all images that were not drawn; nothing if there are none."""
    if not found:
        return ""
    names = ("whole", "matched", "crossing", "crossing_matched", "twice", "cut")
    whole, matched, crossing, crossed, twice, cut = (
        sum(getattr(agreement, name) for agreement in found) for name in names
    )
    return (
        f"\n\nAll that are not drawn: {matched:,} of {whole:,} cells are matched "
        f"({matched / max(whole, 1):.2%}), {crossed:,} of {crossing:,} that a border crosses "
        f"({crossed / max(crossing, 1):.2%}); {twice} found twice, {cut} cut."
    )


TEXT = """{table}

Each image is predicted whole and tile by tile, both at score {score:g} and the same scale. *Cells*
are those of the whole image, *crossing* those of them that a tile's border crosses. *Matched*:
cells of the whole image that the tiled prediction contains at IoU 0.8; at least 98% are required.
Where crossing cells are matched as often as the others, the rest is not lost at borders: a tile has
a limit of proposals for its area, the whole image one for all of it, and in crowded places this
decides on some cells.
*Found twice*: tiled cells that overlap by more than half of one of them although different tiles
found them and the whole image does not show both, or that match a cell that another one matches
better. *Cut*: tiled cells that lie in a larger cell of the whole image and end at a tile's border.
The network itself finds some cells in the same place, such as two neighbors and both as one; these
*covering* pairs are counted for both predictions.
"""


if __name__ == "__main__":
    sys.exit(main())
