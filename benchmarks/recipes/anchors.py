"""Best possible recall of default, small and fitted anchors on real cells, without training."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cellseg.analysis.anchor_fit import fit_anchors
from cellseg.analysis.anchor_recall import (
    AnchorSetting,
    RecallFigures,
    best_ious,
    list_cells,
    read_setting,
    summarise,
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
    fit_on, measure_on = (_read_boxes(data_root / split, "rgb") for split in ("train", "val"))
    return _measure("dsb2018 val", ROOT / CONFIG, fit_on, measure_on)


def measure_hw3(folder: Path) -> list[AnchorRow]:
    """Measure on the hw3 images at the headline's 1024 px; fitted to the very cells measured."""
    boxes = _read_boxes(folder, "bgr")
    config = ROOT / "configs" / "cell" / "mask-rcnn_r101_small-anchor.py"
    return _measure(f"hw3, {folder.name}", config, boxes, boxes)


def write_rows(path: Path, rows: Sequence[AnchorRow]) -> None:
    """Keep what was measured as JSON."""
    write_atomically(path, json.dumps([asdict(row) for row in rows], indent=2))


def renew_rows(path: Path, rows: Sequence[AnchorRow]) -> None:
    """Keep what was measured, in place of what was kept of the same data; the rest stays."""
    renewed = {row.data for row in rows}
    write_rows(path, [*(row for row in read_rows(path) if row.data not in renewed), *rows])


def read_rows(path: Path) -> list[AnchorRow]:
    """Read what was kept; nothing where nothing was."""
    kept = json.loads(path.read_text("utf-8")) if path.exists() else []
    return [
        AnchorRow(
            row["data"], row["anchors"], RecallFigures(**row["figures"]), tuple(row["sizes_px"])
        )
        for row in kept
    ]


def _read_boxes(folder: Path, channel_order: str) -> list[Cells]:
    dataset = open_data(folder, channel_order=channel_order)
    return list_cells(dataset.get_data_info(index) for index in range(len(dataset)))


def _measure(
    data: str, config: Path, fit_on: list[Cells], measure_on: list[Cells]
) -> list[AnchorRow]:
    small = read_setting(read_config(config), "small")
    settings = [
        read_setting(read_config(config, DEFAULT_ANCHORS), "default"),
        small,
        fit_anchors(fit_on, small).to_setting(small, "fitted"),
    ]
    sizes = np.quantile(_input_sizes(measure_on, small), (0.05, 0.5, 0.95)).tolist()
    return [
        AnchorRow(data, setting.name, summarise(best_ious(measure_on, setting)), tuple(sizes))
        for setting in settings
    ]


def _input_sizes(boxes: list[Cells], setting: AnchorSetting) -> np.ndarray:
    """Return the cells' sizes (N,) in pixels of the network's input."""
    inputs = [setting.input_size(h, w)[0] / h for h, w in boxes.image_sizes.tolist()]
    return boxes.sizes_px * np.array(inputs)
