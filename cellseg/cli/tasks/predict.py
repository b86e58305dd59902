"""Predict: run the model over many images, here or on many workers, and report."""

import argparse
import os
import sys
import time
from collections import Counter

from tqdm import tqdm

from cellseg.engine.configs import parse_cfg_options
from cellseg.engine.cpu_amp import suggest_bfloat16
from cellseg.engine.process_group import set_thread_counts
from cellseg.errors import CellsegError
from cellseg.formats.outputs import FORMATS, check_formats
from cellseg.inference import TileOptions
from cellseg.inference.image_list import InputImage, find_input_images
from cellseg.inference.image_work import ImageOutcome
from cellseg.inference.jobs import PredictionJob
from cellseg.inference.output_folder import OutputOptions
from cellseg.inference.predictor_recipe import PredictorRecipe
from cellseg.inference.tiles import check_range

_MOST_SCALES = 5  # that are listed


def check_scales(args: argparse.Namespace) -> None:
    """Raise CellsegError if --tta-scales makes no sense."""
    if args.tta_scales and not args.tta:
        raise CellsegError("--tta-scales needs --tta; give --tta, too.")
    for scale in args.tta_scales or ():
        check_range("Each of --tta-scales", scale, 0, open_end=True)


def refuse_launcher() -> None:
    """Raise CellsegError under torchrun, which once shared the images out."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ:
        raise CellsegError(
            "Prediction is no longer shared out by torchrun; run `cellseg predict ... --dask "
            f"local:{os.environ['WORLD_SIZE']}` without it, or see docs/cluster.md."
        )


def make_recipe(args: argparse.Namespace) -> PredictorRecipe:
    """Collect what the flags say about the predictor."""
    tiling = TileOptions(
        tile_px=args.tile,
        overlap_px=args.overlap,
        scale=args.scale,
        whole=args.whole,
        batch_size=args.batch_size,
        skip_background=not args.keep_background,
    )
    return PredictorRecipe(
        config=None if args.config is None else str(args.config),
        checkpoint=None if args.checkpoint is None else str(args.checkpoint),
        device=args.device,
        score_thr=args.score_thr,
        tiling=tiling,
        tta=args.tta,
        tta_scales=tuple(args.tta_scales) if args.tta_scales else None,
        amp=args.amp,
        cfg_options=parse_cfg_options(args.cfg_options),
        ensemble=tuple((c and str(c), str(weights)) for c, weights in args.ensemble),
        diameter_px=args.diameter,
        is_resampled=args.mpp is not None,
        channel_order=args.channel_order,
    )


def shorten_scale(text: str) -> str:
    """Leave out of a scale's reason what is said of one image only."""
    short = text.partition(":")[0].partition(";")[0]
    return f"{short})" if "(" in short and not short.endswith(")") else short


def count_images(count: int) -> str:
    """Write a number of images."""
    return f"{count:,} image{'' if count == 1 else 's'}"


def describe_tiles(tiles: int, background: int) -> str:
    """Say how many tiles were predicted, and how many were skipped; empty for whole images."""
    skipped = f", {background:,} of them background" if background else ""
    return f"; {tiles:,} tile{'' if tiles == 1 else 's'}{skipped}" if tiles else ""


def report(outcomes: list[ImageOutcome], seconds: float, options: OutputOptions) -> int:
    """Print what was done and where the results are; the number of failed images."""
    done = [outcome for outcome in outcomes if outcome.error is None and not outcome.resumed]
    resumed = sum(outcome.resumed for outcome in outcomes)
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    cells, tiles = (sum(getattr(outcome, name) for outcome in done) for name in ("cells", "tiles"))
    background = sum(outcome.background_tiles for outcome in done)
    lost = sum(outcome.notes.get("lost_pixels", 0) for outcome in done)
    rate = cells / seconds if seconds > 0 else 0.0
    where = describe_tiles(tiles, background)
    lines = [
        f"{count_images(len(done))} predicted, {resumed} finished before, {len(failed)} failed.",
        f"{cells:,} cells in {seconds:.1f} s ({rate:.1f} cells/s){where}.",
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
        lines.append(f"{count_images(count)} at {text}.")
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
    refuse_launcher()
    images = find_images(args)
    begin = time.perf_counter()
    if args.dask or args.slurm:
        outcomes = predict_on_cluster(args, images, options)
    else:
        outcomes = predict_here(args, images, options)
    failed = report(outcomes, time.perf_counter() - begin, options)
    return 1 if failed else 0


def find_images(args: argparse.Namespace) -> list[InputImage]:
    """Find the images that the inputs mean, those by URL among them."""
    urls = [item for item in args.inputs if "://" in item]
    if not urls:
        return find_input_images(args.inputs, out=args.out)
    if not (args.dask or args.slurm):
        raise CellsegError(
            f"{urls[0]} is a URL; give --dask local:1, whose workers copy such images, or copy it "
            "yourself."
        )
    from cellseg.cluster.remote_files import list_remote_images

    others = [item for item in args.inputs if item not in urls]
    here = find_input_images(others, out=args.out) if others else []
    return [*here, *list_remote_images(urls, say_aloud)]


def predict_here(
    args: argparse.Namespace, images: list[InputImage], options: OutputOptions
) -> list[ImageOutcome]:
    """Predict in this process, with a progress bar."""
    set_thread_counts()
    recipe = make_recipe(args)
    predictor = recipe.build()
    if predictor.device.type == "cpu" and not args.amp:
        suggest_bfloat16()
    job = PredictionJob(predictor, images, options, recipe.describe(predictor))
    found = 0
    with tqdm(unit="tile", desc="predicting", disable=None) as bar:

        def progress(tiles: int, cells: int) -> None:
            nonlocal found
            found += cells
            bar.set_postfix_str(f"{found:,} cells found so far", refresh=False)
            bar.update(tiles)

        return job.run(progress, announce=bar.reset)


def predict_on_cluster(
    args: argparse.Namespace, images: list[InputImage], options: OutputOptions
) -> list[ImageOutcome]:
    """Predict on the workers that --dask or --slurm name."""
    try:
        from cellseg.cluster import clients
        from cellseg.cluster.cohort import predict_cohort
    except ModuleNotFoundError as error:
        raise CellsegError(
            f"--dask and --slurm need {error.name}; install the extra: pip install "
            "'cellseg-mmdet[cluster]'."
        ) from error
    set_thread_counts()
    tls = clients.TLSFiles(args.tls_ca, args.tls_cert, args.tls_key)
    if args.slurm:
        jobs = clients.SlurmOptions(
            args.slurm,
            args.jobs,
            args.gpus_per_job,
            args.cpus_per_job,
            args.memory_per_job,
            args.walltime,
        )
        opening = clients.start_slurm(jobs, tls)
    else:
        opening = clients.connect(args.dask, tls)
    with opening as connection:
        recipe, scratch = make_recipe(args), args.scratch
        return predict_cohort(
            connection, recipe, images, options, say_aloud, scratch, args.scratch_gb
        )


def say_aloud(line: str) -> None:
    """Write a line for the user at once."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
