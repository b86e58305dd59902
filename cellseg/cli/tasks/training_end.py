"""What a training leaves for a person: its curve, a report, and what to do next."""

import argparse
import logging
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log

from cellseg.analysis.curves import plot_runs, save_figure
from cellseg.analysis.training_logs import read_run
from cellseg.cli.running import write_result
from cellseg.cli.tasks import report
from cellseg.cli.tasks.next_steps import describe_next, quote
from cellseg.defaults import DEFAULT_KEYS, DEFAULT_SCORE_THR
from cellseg.engine.checkpoints import find_resumable_checkpoint
from cellseg.errors import CellDataError, CellsegError
from cellseg.project_files import CONFIG_NAME, show_path

CURVE_NAME, REPORT_NAME = "curve.png", "report.html"
VAL_RESULTS = "val.segm.json"


def finish_training(cfg: Config, given: object, score: str) -> None:
    """Draw the curve, write the report, and say where all is and what to do next.

    Args:
        cfg: The training's config.
        given: What the user named it by: a config's path, None where --from was given.
        score: How good the model is, in a sentence; empty for nothing.
    """
    folder = Path(cfg.work_dir)
    files = {
        "checkpoint": find_resumable_checkpoint(folder),
        "curve": draw_curve(folder),
        "report": write_report(cfg),
    }
    lines = [score] if score else []
    lines += [f"{name:<11}{show_path(path)}" for name, path in files.items() if path is not None]
    config = None if given is None else Path(str(given))
    is_project = config is not None and config.name == CONFIG_NAME
    model = quote(config.parent if config is not None and is_project else show_path(folder))
    steps = [(f"cellseg predict IMAGES --model {model}", "find cells in new images")]
    if is_project:
        steps.insert(0, (f"cellseg evaluate {model}", "score the validation images"))
    write_result("\n".join(lines), describe_next(*steps))


def draw_curve(folder: Path) -> Path | None:
    """Draw loss and AP50 of a training; None, with a warning, where there is nothing to draw."""
    try:
        return save_figure(plot_runs([read_run(folder)], DEFAULT_KEYS), folder / CURVE_NAME)
    except (OSError, ValueError) as error:
        _warn(f"The curve could not be drawn: {error}")
        return None


def write_report(cfg: Config) -> Path | None:
    """Write the report on the last validation; None where a training had none or it fails."""
    folder = Path(cfg.work_dir)
    results = folder / VAL_RESULTS
    if not results.is_file():
        return None
    args = argparse.Namespace(
        work_dir=folder,
        config=str(folder / Path(cfg.filename).name),
        results=str(results),
        files=None,
        logs=None,
        split="val",
        cfg_options=None,
        score_thr=DEFAULT_SCORE_THR,
        iou_thr=0.5,
        max_images=3,
        max_cells=24,
        out=folder / REPORT_NAME,
    )
    try:
        return report.write(args)
    except (CellsegError, CellDataError) as error:
        _warn(f"The report could not be written: {error}")
        return None


def _warn(message: str) -> None:
    """Log a warning."""
    print_log(message, "current", logging.WARNING)
