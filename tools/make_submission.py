"""Make the submission of the MoNuSAC homework from predictions in COCO format.

python tools/predict.py CONFIG CHECKPOINT test/ --out out --format coco --score-thr 0.05
python tools/make_submission.py out test_image_name_to_ids.json --out submission.zip

Average precision counts low-scoring cells, too; that is why the score threshold is low.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.cli.running import run_tool, write_result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the tool."""
    parser.add_argument(
        "folder",
        type=Path,
        metavar="COCO_RESULTS_FOLDER",
        help="where predict wrote coco_results.json and coco_images.json",
    )
    parser.add_argument("index", type=Path, metavar="INDEX", help="test_image_name_to_ids.json")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("submission.zip"),
        help="the zip file with test-results.json (default: %(default)s)",
    )
    parser.add_argument(
        "--box-format",
        choices=("xywh", "xyxy"),
        default="xywh",
        help="boxes as x, y, width, height or as corners (default: %(default)s)",
    )


def main(args: argparse.Namespace) -> None:
    """Write the zip file and say where it is."""
    from cellseg.formats.submission import make_submission

    missing = make_submission(args.folder, args.index, args.out, args.box_format)
    note = f"; {missing} images of the index have no prediction" if missing else ""
    write_result(f"Submission: {args.out}{note}")


if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
