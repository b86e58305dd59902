"""Show how well the anchors of configs cover the cells of a data set, without training.

    python tools/analysis_tools/anchor_recall.py configs/cell/mask-rcnn_r101_small-anchor.py \
        configs/cell/mask-rcnn_r101_default-anchor.py --out anchor_recall.png
    python tools/analysis_tools/anchor_recall.py CONFIG --fit

The cells are those of the first config's data (or of --data), resized as each config's test
pipeline does.
"""

from cellseg.cli.anchor_recall import add_arguments, main
from cellseg.cli.running import run_tool

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
