"""Judge a trained checkpoint: AP table, and on request result files and overlays.

python tools/test.py CONFIG CHECKPOINT
python tools/test.py CONFIG CHECKPOINT --out results.pkl --show-dir overlays
"""

import argparse
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

import cellseg  # noqa: F401  (registers the project's parts)
from cellseg.engine.process_group import init_process_group
from cellseg.engine.run_config import add_common_arguments, enable_tta, load_config, run_tool
from cellseg.errors import CellsegError
from cellseg.evaluation.data_source import find_cell_metric


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Judge a trained checkpoint.")
    parser.add_argument("config", help="config file that the checkpoint was trained with")
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument(
        "--out",
        help="X.pkl dumps the predictions as MMDetection does and writes COCO results beside them "
        "(X.segm.json, X.bbox.json); X.json writes the COCO results only",
    )
    parser.add_argument(
        "--show", action="store_true", help="show each image with its cells in a window"
    )
    parser.add_argument(
        "--show-dir", help="folder for overlays, one file an image, in work_dir/<timestamp>/"
    )
    parser.add_argument(
        "--wait-time", type=float, default=2, help="seconds between two images of --show"
    )
    parser.add_argument(
        "--tta", action="store_true", help="average over flipped copies of each image"
    )
    add_common_arguments(parser)
    return parser.parse_args()


def request_overlays(cfg: Config, args: argparse.Namespace) -> None:
    """Let the visualization hook draw what --show and --show-dir ask for."""
    hook = cfg.default_hooks.visualization
    hook.draw = True
    hook.show = args.show
    hook.wait_time = args.wait_time
    if args.show_dir:
        hook.test_out_dir = args.show_dir


def request_results(cfg: Config, out: str) -> None:
    """Let the evaluator write COCO result files, and MMDetection's dump where OUT is a .pkl.

    Raises:
        CellsegError: If OUT ends in neither .pkl, .pickle nor .json, or there is no CellMetric.
    """
    path = Path(out)
    if path.suffix not in (".pkl", ".pickle", ".json"):
        raise CellsegError(
            f"--out {out} must end in .pkl (dump and COCO results) or .json (COCO results only)."
        )
    metric = find_cell_metric(cfg)
    if metric is None:
        raise CellsegError(
            f"--out needs a CellMetric in test_evaluator, which {cfg.filename} lacks; add "
            'dict(type="CellMetric").'
        )
    metric.outfile_prefix = str(path.with_suffix(""))
    if path.suffix != ".json":
        evaluators = cfg.test_evaluator
        evaluators = evaluators if isinstance(evaluators, list | tuple) else [evaluators]
        cfg.test_evaluator = [*evaluators, dict(type="DumpCellResults", out_file_path=out)]


def main() -> None:
    """Build the Runner from the config and the flags, and test."""
    args = parse_args()
    cfg = load_config(args)
    cfg.load_from = args.checkpoint
    if args.show or args.show_dir:
        request_overlays(cfg, args)
    if args.out:
        request_results(cfg, args.out)
    if args.tta:
        enable_tta(cfg)
    init_process_group(cfg, args.launcher)
    Runner.from_cfg(cfg).test()


if __name__ == "__main__":
    run_tool(main)
