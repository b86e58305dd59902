"""Show which class each cell was assigned, with missed cells and false positives.

    python tools/analysis_tools/confusion_matrix.py CONFIG results.segm.json SAVE_DIR

Writes confusion_matrix.png, confusion_counts.csv and confusion_shares.csv. RESULTS is the COCO
result JSON of tools/test.py --out, or a folder of label TIFFs; no pickle is read.
"""

from cellseg.cli.confusion_matrix import add_arguments, main
from cellseg.cli.running import run_tool

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
