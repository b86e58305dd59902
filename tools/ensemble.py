"""Merge the COCO result files of several models, folds or runs into one.

    python tools/ensemble.py CONFIG fold0.segm.json fold1.segm.json --out ensemble.segm.json
    python tools/evaluate.py CONFIG ensemble.segm.json

CONFIG (or a data folder) says which images there are; tools/test.py --out writes such files.
"""

from cellseg.cli.ensemble import add_arguments, main
from cellseg.cli.running import run_tool

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
