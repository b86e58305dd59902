"""Train a model that segments cells.

python tools/train.py configs/cell/mask-rcnn_r101_small-anchor.py
python tools/train.py CONFIG --resume          # continue after an interruption
python tools/train.py CONFIG --cfg-options train_dataloader.batch_size=4
"""

from cellseg.cli.running import run_tool
from cellseg.cli.train import add_arguments, main

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
