"""Write one HTML page on how good predictions are and where they fail.

    python tools/test.py CONFIG CHECKPOINT --work-dir WORK_DIR --out WORK_DIR/results.json
    python tools/analysis_tools/report.py WORK_DIR

WORK_DIR is a folder of tools/train.py or tools/test.py: the config (which is executed, as
MMDetection does), the training log and the COCO result JSON are taken from there. The page makes no
network requests.
"""

from cellseg.cli.report import add_arguments, main
from cellseg.cli.running import run_tool

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
