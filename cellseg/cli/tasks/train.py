"""Train: build the Runner from the config and the flags."""

import argparse

from mmengine.runner import Runner

from cellseg.engine.checkpoints import configure_resume
from cellseg.engine.class_counts import check_class_counts
from cellseg.engine.process_group import init_process_group
from cellseg.engine.record_hook import ModelRecordHook
from cellseg.engine.run_config import (
    check_batches,
    enable_amp,
    enable_auto_scale_lr,
    load_config,
)
from cellseg.engine.weight_fit import WeightFitHook


def run(args: argparse.Namespace) -> None:
    """Build the Runner from the config and the flags, and train."""
    cfg = load_config(args)
    check_class_counts(cfg)
    if args.amp:
        enable_amp(cfg)
    if args.auto_scale_lr:
        enable_auto_scale_lr(cfg)
    configure_resume(cfg, args.resume)
    init_process_group(cfg, args.launcher)
    runner = Runner.from_cfg(cfg)
    runner.register_hook(WeightFitHook())
    runner.register_hook(ModelRecordHook())
    check_batches(runner)
    runner.train()
