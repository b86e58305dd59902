"""Convert the 2018 Data Science Bowl's stage1_train into label TIFFs, one folder per image.

python tools/dataset_converters/dsb2tiff.py stage1_train data/dsb2018

Run again, it continues where it stopped.
"""

from cellseg.cli.converters.dsb2018 import add_arguments, main
from cellseg.cli.running import run_tool

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
