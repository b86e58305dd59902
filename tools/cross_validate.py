"""Train and test every fold of a config, and print mean and spread for each class.

    python tools/cross_validate.py configs/cell/mask-rcnn_r101_small-anchor.py
    python tools/cross_validate.py CONFIG --num-folds 3 --cfg-options train_cfg.max_epochs=30

The images in the training data's folder are split. A fold that is done is read, one that was
interrupted continues; its last checkpoint is tested.
"""

from cellseg.cli.cross_validate import add_arguments, main
from cellseg.cli.running import run_tool

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
