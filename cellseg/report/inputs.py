"""What a report is made from, and where it lies in a training or test folder."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellseg.analysis.training_logs import TrainingRun
from cellseg.defaults import DEFAULT_SCORE_THR
from cellseg.errors import CellsegError
from cellseg.palette import Color, choose_palette
from cellseg.scoring.average_precision import DEFAULT_MAX_DETS
from cellseg.scoring.results import ImageResult

RESULT_PATTERN = "*.segm.json"

ReadImage = Callable[[int], NDArray[np.uint8]]


@dataclass(frozen=True)
class ReportOptions:
    """What to count and how much to show.

    Attributes:
        score_thr: Predictions below count in AP only.
        iou_thr: Cells match when their mask IoU is greater.
        max_dets: The best-scored predictions that count in AP, for each image and class.
        max_images: Best and worst images at most, of each.
        max_cells: Missed cells and false positives at most, of each.
    """

    score_thr: float = DEFAULT_SCORE_THR
    iou_thr: float = 0.5
    max_dets: int = DEFAULT_MAX_DETS
    max_images: int = 3
    max_cells: int = 24


@dataclass(frozen=True)
class ReportInput:
    """What a report is made from.

    Attributes:
        title: Title of the page.
        class_names: The classes in order.
        palette: The config's RGB colors, one per class; empty where it gives none.
        image_names: A name for each result's image.
        results: One result per image, with ground truth and masks.
        read_image: Returns the RGB pixels (H, W, 3) of the image of a result, by its place.
        run: What training logged; None without a log.
        sources: What is said about where all this comes from: label to text.
        notes: Sentences that a reader of the figures must know.
    """

    title: str
    class_names: Sequence[str]
    palette: Sequence[Color]
    image_names: Sequence[str]
    results: Sequence[ImageResult]
    read_image: ReadImage
    run: TrainingRun | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def colors(self) -> list[Color]:
        """Return the RGB color of each class."""
        return choose_palette(len(self.class_names), self.palette)


def find_config(work_dir: Path, config: str | Path | None = None) -> Path:
    """Find the config that training or testing wrote into its folder.

    Args:
        work_dir: The folder.
        config: A config to take instead.

    Returns:
        The file: the only .py of the folder, else the newest <time>/vis_data/config.py.

    Raises:
        CellsegError: If the folder or the config is absent, or there are several.
    """
    if not work_dir.is_dir():
        raise CellsegError(
            f"There is no folder {work_dir}; give one that `cellseg train` or `cellseg test` wrote."
        )
    if config is not None:
        return Path(config)
    found = sorted(work_dir.glob("*.py"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise CellsegError(f"{work_dir} holds several configs ({names}); choose with --config.")
    found = found or sorted(work_dir.glob("*/vis_data/config.py"))[-1:]
    if not found:
        raise CellsegError(
            f"{work_dir} has no config (.py), so `cellseg train` or "
            "`cellseg test` did not write it; give the config with --config."
        )
    return found[0]


def find_results(work_dir: Path, config: Path, results: str | Path | None = None) -> Path:
    """Find the predictions to report on.

    Args:
        work_dir: The folder.
        config: Its config, for the message.
        results: Predictions to take instead: a COCO result .json or a folder of label TIFFs.

    Returns:
        The given path, or the newest *.segm.json in the folder or one below it.

    Raises:
        CellsegError: If there is none; the message holds the command that makes them.
    """
    if results is not None:
        if not Path(results).exists():
            raise CellsegError(
                f"There are no predictions at {results}. To make them run:\n"
                f"    {suggest_command(work_dir, config)}"
            )
        return Path(results)
    found = [*work_dir.glob(RESULT_PATTERN), *work_dir.glob(f"*/{RESULT_PATTERN}")]
    if not found:
        raise CellsegError(
            f"{work_dir} holds no predictions ({RESULT_PATTERN}). To make them run:\n"
            f"    {suggest_command(work_dir, config)}\n"
            "or name a file that lies elsewhere with --results."
        )
    return max(found, key=lambda path: (path.stat().st_mtime, path.name))


def suggest_command(work_dir: Path, config: Path) -> str:
    """Write the command that makes the predictions which a report needs."""
    checkpoint = find_checkpoint(work_dir)
    words = [
        *("cellseg", "test", str(config)),
        "CHECKPOINT" if checkpoint is None else str(checkpoint),
        *("--work-dir", str(work_dir), "--out", str(work_dir / "results.json")),
    ]
    return shlex.join(words)


def find_checkpoint(work_dir: Path) -> Path | None:
    """Find the checkpoint to test: the best one, else the last one; None without any."""
    best = sorted(work_dir.glob("best_*.pth"), key=lambda path: path.stat().st_mtime)
    if best:
        return best[-1]
    every = sorted(work_dir.glob("*.pth"), key=lambda path: path.stat().st_mtime)
    return every[-1] if every else None
