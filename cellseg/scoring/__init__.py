"""Score predicted cells: COCO's AP, and F1, PQ, AJI and Dice of cells matched one to one.

from cellseg.scoring import score_label_maps

scores = score_label_maps(truth, prediction)
"""

from cellseg.scoring.cell_metric import CellMetric
from cellseg.scoring.dump_results import DumpCellResults
from cellseg.scoring.label_map_scores import score_label_maps
from cellseg.scoring.scores import Scores

__all__ = ["CellMetric", "DumpCellResults", "Scores", "score_label_maps"]
