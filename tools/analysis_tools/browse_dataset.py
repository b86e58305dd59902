"""Draw the data as the network gets it, after augmentation, with the cells outlined.

    python tools/analysis_tools/browse_dataset.py CONFIG SAVE_DIR
    python tools/analysis_tools/browse_dataset.py CONFIG SAVE_DIR --count 40 --columns 4 --seed 1

Writes page_1.png, page_2.png, ...: cells outlined in the colors of their classes, with their ids
in the label files where there is room, and counts.
"""

from cellseg.cli.browse_dataset import add_arguments, main
from cellseg.cli.running import run_tool

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
