"""Make a project from your own images: data folder, config, and the next commands.

    cellseg new my-project --images images/ --labels labels/
    cellseg new my-project --images images/ --labels geojson/ --classes tumor immune
    cellseg new my-project --data data/mine          # data that `cellseg convert` wrote

Run again with more or corrected labels, it updates the data folder and keeps the config.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.cli.arguments import add_class_map, add_connected_components, add_skip_bad
from cellseg.errors import CellsegError

FORMATS = ("auto", "labels", "geojson", "coco", "monusac", "pannuke", "dsb2018")
"""What `--format` takes; those of `cellseg.formats.guessing` and one for guessing."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a project."""
    parser.add_argument("project", type=Path, help="folder of the project, which is created")
    _add_data_arguments(parser.add_argument_group("data"))
    training = parser.add_argument_group("training")
    training.add_argument(
        "--from",
        dest="start",
        metavar="MODEL",
        help="start from this model: a name that `cellseg models` lists, a model folder or a "
        "checkpoint (default: the first one listed)",
    )
    training.add_argument(
        "--steps", type=int, help="training steps (default: 200 on a CPU, 500 on a GPU)"
    )


def _add_data_arguments(data: argparse._ArgumentGroup) -> None:
    """Add the flags on images and labels."""
    data.add_argument("--images", type=Path, help="folder of images")
    data.add_argument(
        "--labels",
        type=Path,
        help="folder of label maps or GeoJSON files named as the images, or a COCO file (default: "
        "beside the images)",
    )
    data.add_argument(
        "--format", choices=FORMATS, default="auto", help="format of the labels (default: auto)"
    )
    data.add_argument(
        "--val-images", type=Path, help="folder of validation images (default: a fifth of all)"
    )
    data.add_argument("--val-labels", type=Path, help="labels of the validation images")
    data.add_argument(
        "--data", type=Path, help="a folder in cellseg's layout, in place of --images"
    )
    data.add_argument(
        "--classes", nargs="+", metavar="NAME", help="class names in order (default: the data's)"
    )
    add_class_map(data)
    data.add_argument(
        "--channel-order",
        choices=("rgb", "bgr"),
        default="rgb",
        help="order in which TIFFs store colors (default: rgb)",
    )
    add_skip_bad(data)
    add_connected_components(data)


def check(args: argparse.Namespace) -> None:
    """Raise CellsegError if the flags contradict each other."""
    if (args.images is None) == (args.data is None):
        raise CellsegError(
            "Give the images by --images, with their labels by --labels; or a folder in this "
            "project's layout by --data."
        )
    if args.data is not None and (args.labels or args.val_images or args.val_labels):
        raise CellsegError("--data has its labels in it; leave out --labels and --val-images.")
    if args.val_labels is not None and args.val_images is None:
        raise CellsegError("--val-labels needs --val-images; give both.")
    if args.val_images is not None and args.labels is not None and args.val_labels is None:
        raise CellsegError("--val-images needs --val-labels, as --images has --labels; give both.")
    if args.steps is not None and args.steps < 1:
        raise CellsegError("--steps must be at least 1.")


def main(args: argparse.Namespace) -> None:
    """Make the project and say what to run next."""
    check(args)
    from cellseg.cli.tasks import new

    new.run(args)
