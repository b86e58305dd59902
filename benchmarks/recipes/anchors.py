"""Best possible recall of default, small and fitted anchors on real cells, without training."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cellseg.analysis.anchor_fit import fit_anchors
from cellseg.analysis.anchor_recall import (
    RecallFigures,
    best_ious,
    list_cells,
    read_setting,
    scale_to_input,
    size_boxes,
    summarize,
)
from cellseg.engine.configs import read_config
from cellseg.engine.data_source import open_data
from cellseg.fileio import write_atomically
from cellseg.structures.cells import Cells

from .plan import CONFIG, DEFAULT_ANCHORS

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class AnchorRow:
    """How well some anchors cover the cells of some data.

    Attributes:
        data: What was measured on.
        anchors: Which anchors.
        figures: Recall at IoU 0.5 and 0.7, and mean IoU with the best anchor.
        sizes_px: 5 %, 50 % and 95 % of the cells are below these sizes, pixels of the input.
    """

    data: str
    anchors: str
    figures: RecallFigures
    sizes_px: tuple[float, float, float]


def measure_dsb2018(data_root: Path) -> list[AnchorRow]:
    """Measure on the validation nuclei; the fitted anchors are fitted to the training ones."""
    fit_on, measure_on = (_read_cells(data_root / split, "rgb") for split in ("train", "val"))
    return _measure("dsb2018 val", ROOT / CONFIG, fit_on, measure_on)


def measure_hw3(folder: Path) -> list[AnchorRow]:
    """Measure on images in the MoNuSAC homework layout (hw3), at the main model's 1024 px.

    The fitted anchors are fitted to the cells that are measured.
    """
    cells = _read_cells(folder, "bgr")
    config = ROOT / "configs" / "cell" / "mask-rcnn_r101_small-anchor.py"
    return _measure(f"MoNuSAC homework (hw3), {folder.name}", config, cells, cells)


def renew_rows(path: Path, rows: Sequence[AnchorRow]) -> None:
    """Write new rows to JSON; rows of other data stay."""
    renewed = {row.data for row in rows}
    kept = [row for row in read_rows(path) if row.data not in renewed]
    write_atomically(path, json.dumps([asdict(row) for row in [*kept, *rows]], indent=2))


def read_rows(path: Path) -> list[AnchorRow]:
    """Read the rows of a file; none if there is no file."""
    kept = json.loads(path.read_text("utf-8")) if path.exists() else []
    return [
        AnchorRow(
            row["data"], row["anchors"], RecallFigures(**row["figures"]), tuple(row["sizes_px"])
        )
        for row in kept
    ]


def _read_cells(folder: Path, channel_order: str) -> list[Cells]:
    """Read the cells of each image of a data set."""
    dataset = open_data(folder, channel_order=channel_order)
    return list_cells(dataset.get_data_info(index) for index in range(len(dataset)))


def _measure(
    data: str, config: Path, fit_on: list[Cells], measure_on: list[Cells]
) -> list[AnchorRow]:
    """Measure default, small and fitted anchors."""
    small = read_setting(read_config(config), "small")
    settings = [
        read_setting(read_config(config, DEFAULT_ANCHORS), "default"),
        small,
        fit_anchors(fit_on, small).to_setting(small, "fitted"),
    ]
    heights = scale_to_input(measure_on, small)[0][:, 1]
    sizes = np.quantile(size_boxes(measure_on) * heights, (0.05, 0.5, 0.95)).tolist()
    return [
        AnchorRow(data, setting.name, summarize(best_ious(measure_on, setting)), tuple(sizes))
        for setting in settings
    ]
