"""Test: AP table, and on request result files and overlays."""

import argparse
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

from cellseg.engine.class_counts import check_class_counts
from cellseg.engine.configs import find_cell_metric
from cellseg.engine.lost_processes import name_lost_process
from cellseg.engine.process_group import init_process_group
from cellseg.engine.run_config import enable_tta, load_config
from cellseg.engine.training_progress import QuietRunner
from cellseg.engine.weight_fit import WeightFitHook
from cellseg.errors import CellsegError


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


def run(args: argparse.Namespace) -> None:
    """Build the Runner from the config and the flags, and test."""
    cfg = load_config(args)
    check_class_counts(cfg)
    cfg.load_from = args.checkpoint
    if args.show or args.show_dir:
        request_overlays(cfg, args)
    if args.out:
        request_results(cfg, args.out)
    if args.tta:
        enable_tta(cfg)
    init_process_group(cfg, args.launcher)
    runner = (QuietRunner if args.quiet else Runner).from_cfg(cfg)
    runner.register_hook(WeightFitHook(must_fit=True))
    with name_lost_process():
        runner.test()
