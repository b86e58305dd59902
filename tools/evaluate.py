"""Evaluate predictions from any tool: AP, PQ, F1, AJI, Dice.

    python tools/evaluate.py configs/cell/mask-rcnn_r101_small-anchor.py results.segm.json
    python tools/evaluate.py DATA_ROOT CELLPOSE_FOLDER --files "{image}_cp_masks.tif"

Predictions are a COCO result JSON or a folder of label TIFFs, such as tools/predict.py, Cellpose
and StarDist write. No pickle is read. In the JSON of --out a figure that does not exist, such as
the AP of small cells where there is none, is null.
"""

from cellseg.cli.evaluate import add_arguments, main
from cellseg.cli.running import run_tool

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
