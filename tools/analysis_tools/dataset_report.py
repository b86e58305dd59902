"""Describe a data set and find what looks wrong in it.

    python tools/analysis_tools/dataset_report.py CONFIG SAVE_DIR
    python tools/analysis_tools/dataset_report.py DATA_ROOT SAVE_DIR --channel-order bgr

Prints the report and writes dataset_report.png, images.csv and suspicious_cells.csv.
"""

from cellseg.cli.dataset_report import add_arguments, main
from cellseg.cli.running import run_tool

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
