"""Judging cells: COCO AP, and dumps for judging elsewhere."""

from cellseg.scoring.dump_results import DumpCellResults
from cellseg.scoring.metric import CellMetric

__all__ = ["CellMetric", "DumpCellResults"]
