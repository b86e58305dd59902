"""Test a trained checkpoint: AP table, and on request result files and overlays.

python tools/test.py CONFIG CHECKPOINT
python tools/test.py CONFIG CHECKPOINT --out results.pkl --show-dir overlays
"""

from cellseg.cli.running import run_tool
from cellseg.cli.test import add_arguments, main

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
