"""Plot training logs, and tabulate training times.

python tools/analysis_tools/analyze_logs.py plot_curve work_dirs/a work_dirs/b --out curves.png
python tools/analysis_tools/analyze_logs.py plot_curve work_dirs/a --keys loss_mask acc --smooth 0.9
python tools/analysis_tools/analyze_logs.py plot_curve work_dirs/r*_seed* --group --out seeds.svg
python tools/analysis_tools/analyze_logs.py cal_train_time work_dirs/a
"""

from cellseg.cli.analyze_logs import add_arguments, main
from cellseg.cli.running import run_tool

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
