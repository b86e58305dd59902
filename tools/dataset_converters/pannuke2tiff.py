"""Convert a fold of PanNuke into label TIFFs, one folder per patch.

python tools/dataset_converters/pannuke2tiff.py "Fold 1" data/pannuke_fold1

Run again, it continues where it stopped.
"""

from cellseg.cli.converters.pannuke import add_arguments, main
from cellseg.cli.running import run_tool

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
