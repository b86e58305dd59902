"""Draw the sample data set that the demo trains on; what is already there is kept.

python tools/draw_sample_data.py data/sample
python tools/draw_sample_data.py data/dense --train 4 --val 2 --size 1024 --cells 1000
"""

from cellseg.cli.draw_sample_data import add_arguments, main
from cellseg.cli.running import run_tool

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
