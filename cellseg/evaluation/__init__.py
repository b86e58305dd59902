"""Judging cells: COCO AP, and dumps for judging elsewhere."""

from cellseg.evaluation.cell_metric import CellMetric
from cellseg.evaluation.dump_results import DumpCellResults

__all__ = ["CellMetric", "DumpCellResults"]
