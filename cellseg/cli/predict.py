"""Find cells in images of any size, and write them for other tools.

cellseg predict images/ slide.svs "more/*.tif"
cellseg predict slide.tif --model my-model --out found --format geojson csv
cellseg predict images/ --config CONFIG --checkpoint CHECKPOINT --out found

Without a model, one that comes with cellseg is used: `cellseg models` lists them.

Run again, it continues where it stopped. An image that cannot be read is reported and skipped; the
exit status is then 1.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.cli.arguments import add_config_options
from cellseg.config_files import find_config
from cellseg.errors import CellsegError

FORMATS = {
    "labels": "label TIFFs, combined and per class",
    "geojson": "cell outlines for QuPath, at full resolution",
    "coco": "COCO results, joined in coco_results.json",
    "csv": "measurements of each cell, px at the predicted level",
    "parquet": "the same table as Parquet",
    "overlay": "the image with outlines",
}
"""What each output format is; the writers stand in `cellseg.formats.outputs`."""

_CONFIG_HELP = "config of the checkpoint: a file, or a name that `cellseg configs` lists"
_INPUTS_HELP = "images, folders, or globs in quotes; with --dask or --slurm URLs, too"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `cellseg predict`: images first, the model by options."""
    parser.add_argument("inputs", nargs="+", metavar="IMAGE", help=_INPUTS_HELP)
    add_model_arguments(parser)
    _add_options(parser)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose the model: all may be left out."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        metavar="NAME|FOLDER|CHECKPOINT",
        help="a model that `cellseg models` lists, a model folder, a project or the work folder of "
        "a training, whose last checkpoint is taken, or a checkpoint (default: the first one "
        "listed)",
    )
    group.add_argument("--config", help=_CONFIG_HELP)
    group.add_argument("--checkpoint", help="the config's checkpoint file")


def settle_model(args: argparse.Namespace) -> None:
    """Bring the flags on the model to a config and a checkpoint, either of which may be None.

    Raises:
        CellsegError: If they contradict each other, or a name is unknown.
    """
    model = getattr(args, "model", None)
    if model is not None and args.checkpoint is not None:
        raise CellsegError("--model and --checkpoint both name the weights; give one of them.")
    if args.config is not None and model is None and args.checkpoint is None:
        raise CellsegError("--config needs the weights, too; give --checkpoint.")
    if model is not None and args.config is not None:
        args.checkpoint = model
    elif model is not None:
        args.config = model
    if args.checkpoint is not None and args.config is not None:
        args.config = find_config(args.config)


def add_tool_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of tools/predict.py: config and checkpoint first, as in MMDetection's tools."""
    parser.add_argument("config", help=_CONFIG_HELP)
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument("inputs", nargs="+", help=_INPUTS_HELP)
    _add_options(parser)


def _add_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags that both ways share."""
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("predictions"),
        help="folder for the outputs (default: %(default)s)",
    )
    parser.add_argument(
        "--format",
        nargs="+",
        choices=list(FORMATS),
        default=["labels", "overlay"],
        help="; ".join(f"{name}: {purpose}" for name, purpose in FORMATS.items()),
    )
    parser.add_argument(
        "--score-thr", type=float, default=0.5, help="minimum score of a cell (default 0.5)"
    )
    parser.add_argument(
        "--tta", action="store_true", help="merge rotated and flipped copies; 8 times slower"
    )
    parser.add_argument(
        "--tta-scales",
        nargs="+",
        type=float,
        help="with --tta: predict at these sizes too, such as 0.8 1 1.25",
    )
    parser.add_argument(
        "--ensemble",
        nargs="+",
        metavar="[CONFIG:]CHECKPOINT",
        type=read_member,
        default=[],
        help="further models whose cells are merged with the first one's; same config by default",
    )
    parser.add_argument("--amp", action="store_true", help="compute in 16 bit")
    parser.add_argument("--device", help="cuda, cuda:1, cpu (default: a GPU if there is one)")
    add_config_options(parser)
    _add_reading_arguments(parser)
    _add_cluster_arguments(parser)


def read_member(text: str) -> tuple[str | None, str]:
    """Read CHECKPOINT or CONFIG.py:CHECKPOINT."""
    config, mark, checkpoint = text.partition(".py:")
    return (f"{config}.py", checkpoint) if mark else (None, text)


def _add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how images are read and cut."""
    group = parser.add_argument_group("reading and tiling")
    group.add_argument("--mpp", type=float, help="pixel size to predict at, in micrometers")
    group.add_argument(
        "--pixel-size",
        type=float,
        help="pixel size of the files in micrometers, if they do not say",
    )
    group.add_argument(
        "--channel-order",
        choices=["rgb", "bgr"],
        help="order of channels in TIFFs (default: the config's)",
    )
    group.add_argument(
        "--tile", type=int, help="side of a tile in pixels (default: the network's input)"
    )
    group.add_argument(
        "--overlap", type=int, help="overlap of tiles in pixels, more than the largest cell"
    )
    how_large = group.add_mutually_exclusive_group()
    how_large.add_argument(
        "--scale",
        type=float,
        help="resize images by this factor for the network (default: by the pixel sizes of image "
        "and model, else by the size of the cells)",
    )
    how_large.add_argument(
        "--diameter", type=float, help="median diameter of the cells in pixels of the image"
    )
    group.add_argument(
        "--batch-size", type=int, default=2, help="tiles that go through the network together"
    )
    group.add_argument(
        "--keep-background", action="store_true", help="predict tiles without any contrast, too"
    )
    how = group.add_mutually_exclusive_group()
    how.add_argument("--whole", dest="whole", action="store_true", default=None, help="never tile")
    how.add_argument("--tiled", dest="whole", action="store_false", help="always tile")


def _add_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that share the work out with Dask."""
    group = parser.add_argument_group("many workers (extra cluster; see docs/cluster.md)")
    where = group.add_mutually_exclusive_group()
    where.add_argument(
        "--dask",
        metavar="WHERE",
        help="local:N for N workers on this machine; tcp://HOST:PORT, tls://HOST:PORT or the "
        "scheduler's file for a running Dask cluster",
    )
    where.add_argument("--slurm", metavar="PARTITION", help="ask SLURM for workers")
    group.add_argument("--jobs", type=int, default=1, help="SLURM jobs, one worker each")
    group.add_argument("--gpus-per-job", type=int, default=0, help="GPUs of a SLURM job: 0 or 1")
    group.add_argument("--cpus-per-job", type=int, default=4, help="cores of a SLURM job")
    group.add_argument("--memory-per-job", default="16GB", help="memory of a SLURM job")
    group.add_argument("--walltime", default="04:00:00", help="time limit of a SLURM job")
    group.add_argument(
        "--scratch", type=Path, help="folder on the workers for copies of images by URL"
    )
    group.add_argument(
        "--scratch-gb", type=float, default=100.0, help="largest copy of a worker, in GiB"
    )
    for name, what in (("ca", "authority"), ("cert", "certificate"), ("key", "private key")):
        group.add_argument(f"--tls-{name}", type=Path, metavar="PEM", help=f"{what} for tls://")


def main(args: argparse.Namespace) -> int:
    """Predict all inputs; 1 if any of them failed."""
    settle_model(args)
    args.ensemble = [(config and find_config(config), path) for config, path in args.ensemble]
    from cellseg.cli.tasks import predict

    return predict.run(args)
