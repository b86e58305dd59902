"""Find the cells of images of any size and write them for other tools.

python tools/predict.py CONFIG CHECKPOINT images/ slide.svs "more/*.tif" --out predictions
python tools/predict.py CONFIG CHECKPOINT slide.tif --out predictions --format geojson csv --mpp 0.5
python tools/predict.py CONFIG CHECKPOINT test/ --out out --submission test_image_name_to_ids.json
python tools/predict.py CONFIG CHECKPOINT images/ --out out --ensemble second.pth OTHER.py:third.pth
torchrun --nproc-per-node 4 tools/predict.py CONFIG CHECKPOINT slides/ --out predictions

Run again, it goes on where it stopped. An image that cannot be read is reported and left out; the
exit status is then 1.
"""

import argparse
import hashlib
import os
import sys
import time
from datetime import timedelta
from pathlib import Path

import torch
from mmengine.config import DictAction
from torch import distributed
from tqdm import tqdm

import cellseg  # noqa: F401  (registers the project's parts)
from cellseg.engine.process_group import set_thread_counts
from cellseg.engine.run_config import run_tool
from cellseg.errors import CellsegError
from cellseg.inference import Predictor, TileOptions
from cellseg.inference.image_list import find_input_images
from cellseg.inference.jobs import ImageOutcome, PredictionJob
from cellseg.inference.output_folder import OutputOptions
from cellseg.inference.tiles import check_range
from cellseg.inference.writers import FORMATS, check_formats
from cellseg.inference.writers.coco_json import read_image_index

_LONGEST_WAIT = timedelta(days=30)  # of a process that is done, for one with the larger slides
_SUBMISSION_SCORE_THR = 0.05  # average precision counts unsure cells, too


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Find the cells of images of any size.")
    parser.add_argument("config", help="config file that the checkpoint was trained with")
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument("inputs", nargs="+", help="images, folders, or globs in quotes")
    parser.add_argument("--out", required=True, type=Path, help="folder for the outputs")
    parser.add_argument(
        "--format",
        nargs="+",
        choices=list(FORMATS),
        default=["labels", "overlay"],
        help="; ".join(f"{name}: {kind.purpose}" for name, kind in FORMATS.items()),
    )
    parser.add_argument(
        "--score-thr", type=float, default=0.5, help="leave out less sure cells (default 0.5)"
    )
    parser.add_argument(
        "--tta", action="store_true", help="merge turned and mirrored views; 8 times slower"
    )
    parser.add_argument(
        "--tta-scales",
        nargs="+",
        type=float,
        help="sizes to look at with --tta, such as 0.8 1 1.25",
    )
    parser.add_argument(
        "--ensemble",
        nargs="+",
        metavar="[CONFIG:]CHECKPOINT",
        type=read_member,
        default=[],
        help="further models whose cells are merged with the first one's; same config by default",
    )
    parser.add_argument("--amp", action="store_true", help="compute in 16 bit, faster")
    parser.add_argument("--device", help="cuda, cuda:1, cpu; a GPU where there is one by default")
    parser.add_argument(
        "--cfg-options", nargs="+", action=DictAction, help="override settings of the config"
    )
    _add_reading_arguments(parser)
    _add_submission_arguments(parser)
    return parser.parse_args()


def read_member(text: str) -> tuple[str | None, str]:
    """Read CHECKPOINT or CONFIG.py:CHECKPOINT."""
    config, mark, checkpoint = text.partition(".py:")
    return (f"{config}.py", checkpoint) if mark else (None, text)


def _add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how images are read and cut."""
    group = parser.add_argument_group("reading and tiling")
    group.add_argument("--mpp", type=float, help="pixel size to predict at, in micrometres")
    group.add_argument(
        "--pixel-size",
        type=float,
        help="pixel size of the files in micrometres, if they do not tell",
    )
    group.add_argument(
        "--channel-order", choices=["rgb", "bgr"], help="of TIFFs; the config's by default"
    )
    group.add_argument(
        "--tile", type=int, help="side of a tile in pixels; the network's input by default"
    )
    group.add_argument(
        "--overlap", type=int, help="overlap of tiles in pixels, more than the largest cell"
    )
    group.add_argument(
        "--scale", type=float, help="resize images and tiles by this factor for the network"
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


def _add_submission_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the competition's submission."""
    group = parser.add_argument_group("submission")
    group.add_argument(
        "--submission",
        metavar="INDEX",
        type=Path,
        help="test_image_name_to_ids.json: also write OUT/submission.zip with test-results.json",
    )
    group.add_argument(
        "--box-format", choices=["xywh", "xyxy"], default="xywh", help="boxes in the submission"
    )


def check_scales(args: argparse.Namespace) -> None:
    """Raise CellsegError if --tta-scales makes no sense."""
    if args.tta_scales and not args.tta:
        raise CellsegError("--tta-scales says at which sizes --tta looks; give --tta, too.")
    for scale in args.tta_scales or ():
        check_range("Each of --tta-scales", scale, 0, open_end=True)


def start_processes() -> tuple[int, str | None]:
    """Join torchrun's processes; only Python objects are exchanged, so gloo serves GPUs as well.

    Returns:
        This process's rank, and its GPU if it has one.
    """
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        set_thread_counts()
        return 0, None
    set_thread_counts("pytorch")
    distributed.init_process_group("gloo", timeout=_LONGEST_WAIT)
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    gpus = torch.cuda.device_count()
    return distributed.get_rank(), f"cuda:{local_rank % gpus}" if gpus else None


def build_predictor(args: argparse.Namespace, device: str | None) -> Predictor:
    """Build the predictor that the flags ask for."""
    tiling = TileOptions(
        tile_px=args.tile,
        overlap_px=args.overlap,
        scale=args.scale,
        whole=args.whole,
        batch_size=args.batch_size,
        skip_background=not args.keep_background,
    )
    tta: bool | dict = {"scales": args.tta_scales} if args.tta_scales else args.tta
    lowest = min(args.score_thr, _SUBMISSION_SCORE_THR) if args.submission else args.score_thr
    predictor = Predictor(
        args.config,
        args.checkpoint,
        device=args.device or device,
        score_thr=lowest,
        tiling=tiling,
        tta=tta,
        amp=args.amp,
        cfg_options=args.cfg_options,
        ensemble=args.ensemble,
    )
    if args.channel_order:
        predictor.image_format["channel_order"] = args.channel_order
    return predictor


def describe_settings(args: argparse.Namespace, predictor: Predictor) -> dict:
    """Collect what decides the cells found, so that outputs of other settings are made anew."""
    members = [(None, args.checkpoint), *args.ensemble]
    return {
        "weights": [digest_file(checkpoint) for _, checkpoint in members],
        "members": [digest_file(config) for config, _ in members if config],
        "config": predictor.cfg.pretty_text,
        "image_format": predictor.image_format,
        "tta": [args.tta, args.tta_scales],
        "amp": args.amp,
    }


def digest_file(path: str) -> str:
    """Sum up a file's content."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def report(outcomes: list[ImageOutcome], seconds: float) -> int:
    """Print what was done; the number of failed images."""
    done = [outcome for outcome in outcomes if outcome.error is None and not outcome.resumed]
    resumed = sum(outcome.resumed for outcome in outcomes)
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    cells, tiles = (sum(getattr(outcome, name) for outcome in done) for name in ("cells", "tiles"))
    background = sum(outcome.background_tiles for outcome in done)
    lost = sum(outcome.notes.get("lost_pixels", 0) for outcome in done)
    rate = cells / seconds if seconds > 0 else 0.0
    lines = [
        f"{len(done)} images predicted, {resumed} finished before, {len(failed)} failed.",
        f"{cells:,} cells in {seconds:.1f} s ({rate:.1f} cells/s); {tiles:,} tiles, "
        f"{background:,} of them background.",
    ]
    if lost:
        lines.append(
            f"{lost:,} pixels where cells overlap went to the surer one in the label TIFFs."
        )
    lines += [f"failed: {outcome.error}" for outcome in failed]
    sys.stdout.write("\n".join(lines) + "\n")
    return len(failed)


def main() -> int:
    """Predict all inputs; 1 if any of them failed."""
    args = parse_args()
    check_formats(args.format)
    check_scales(args)
    options = OutputOptions(
        folder=args.out,
        formats=tuple(dict.fromkeys(args.format)),
        score_thr=args.score_thr,
        mpp=args.mpp,
        pixel_size_um=args.pixel_size,
        submission_index=read_image_index(args.submission) if args.submission else None,
        box_format=args.box_format,
    )
    rank, device = start_processes()
    images = find_input_images(args.inputs, out=args.out)
    predictor = build_predictor(args, device)
    job = PredictionJob(predictor, images, options, describe_settings(args, predictor))
    begin = time.perf_counter()
    found = 0
    with tqdm(unit="tile", desc="predicting", disable=rank != 0) as bar:

        def progress(tiles: int, cells: int) -> None:
            nonlocal found
            found += cells
            bar.set_postfix_str(f"{found:,} cells found so far", refresh=False)
            bar.update(tiles)

        outcomes = job.run(progress, announce=bar.reset)
    if rank != 0:
        return 0
    failed = report(outcomes, time.perf_counter() - begin)
    if args.submission:
        missing = job.write_submission(args.out / "submission.zip")
        note = f"; {missing} images of the index have no prediction" if missing else ""
        sys.stdout.write(f"Submission: {args.out / 'submission.zip'}{note}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    run_tool(main)
