"""Predict: run the model over many images, in one process or several, and report."""

import argparse
import hashlib
import os
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed
from tqdm import tqdm

from cellseg.engine.configs import parse_cfg_options
from cellseg.engine.process_group import set_thread_counts
from cellseg.errors import CellsegError
from cellseg.formats.outputs import FORMATS, check_formats
from cellseg.inference import Predictor, TileOptions
from cellseg.inference.image_list import find_input_images
from cellseg.inference.jobs import ImageOutcome, PredictionJob
from cellseg.inference.output_folder import OutputOptions
from cellseg.inference.tiles import check_range

_MOST_SCALES = 5  # that are listed
_LONGEST_WAIT = timedelta(days=30)  # of a process that is done, for one with the larger slides


def check_scales(args: argparse.Namespace) -> None:
    """Raise CellsegError if --tta-scales makes no sense."""
    if args.tta_scales and not args.tta:
        raise CellsegError("--tta-scales needs --tta; give --tta, too.")
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
    predictor = Predictor(
        args.config,
        args.checkpoint,
        device=args.device or device,
        score_thr=args.score_thr,
        tiling=tiling,
        tta=tta,
        amp=args.amp,
        cfg_options=parse_cfg_options(args.cfg_options),
        ensemble=args.ensemble,
        diameter_px=args.diameter,
        is_resampled=args.mpp is not None,
    )
    if args.channel_order:
        predictor.image_format["channel_order"] = args.channel_order
    return predictor


def describe_settings(args: argparse.Namespace, predictor: Predictor) -> dict:
    """Collect what decides the cells found, so that outputs of other settings are written again."""
    return {
        "weights": [
            predictor.source.digest(),
            *(digest_file(checkpoint) for _, checkpoint in args.ensemble),
        ],
        "members": [digest_file(config) for config, _ in args.ensemble if config],
        "config": predictor.cfg.pretty_text,
        "image_format": predictor.image_format,
        "tta": [args.tta, args.tta_scales],
        "amp": args.amp,
        **({} if args.diameter is None else {"diameter": args.diameter}),
    }


def digest_file(path: str) -> str:
    """Sum up a file's content."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shorten_scale(text: str) -> str:
    """Leave out of a scale's reason what is said of one image only."""
    short = text.partition(":")[0].partition(";")[0]
    return f"{short})" if "(" in short and not short.endswith(")") else short


def report(outcomes: list[ImageOutcome], seconds: float, options: OutputOptions) -> int:
    """Print what was done and where the results are; the number of failed images."""
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
            f"{lost:,} pixels where cells overlap went to the one with the higher score in the "
            "label TIFFs."
        )
    scales = Counter(
        shorten_scale(outcome.notes["scale"]) for outcome in done if "scale" in outcome.notes
    )
    for text, count in scales.most_common(_MOST_SCALES):
        lines.append(f"{count} {'image' if count == 1 else 'images'} at {text}.")
    if len(scales) > _MOST_SCALES:
        lines.append(f"{len(scales) - _MOST_SCALES} further scales are in the .done.json files.")
    written = [outcome for outcome in outcomes if outcome.error is None]
    if written:
        place = f"Results: {options.folder}"
        if "overlay" in options.formats:
            place += f"; look at {options.folder / (written[0].name + FORMATS['overlay'].suffix)}"
        lines.append(place)
    lines += [f"failed: {outcome.error}" for outcome in failed]
    sys.stdout.write("\n".join(lines) + "\n")
    return len(failed)


def run(args: argparse.Namespace) -> int:
    """Predict all inputs; 1 if any of them failed."""
    check_formats(args.format)
    check_scales(args)
    options = OutputOptions(
        folder=args.out,
        formats=tuple(dict.fromkeys(args.format)),
        score_thr=args.score_thr,
        mpp=args.mpp,
        pixel_size_um=args.pixel_size,
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
    failed = report(outcomes, time.perf_counter() - begin, options)
    return 1 if failed else 0
