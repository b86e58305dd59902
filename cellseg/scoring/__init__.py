"""Judging cells: COCO AP, and dumps for judging elsewhere."""

from cellseg.scoring.cell_metric import CellMetric
from cellseg.scoring.dump_results import DumpCellResults

__all__ = ["CellMetric", "DumpCellResults"]
