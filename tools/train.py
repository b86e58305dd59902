"""Train a cell instance segmenter.

python tools/train.py configs/cell/mask-rcnn_r101_small-anchor.py
python tools/train.py CONFIG --resume          # go on after a stop
python tools/train.py CONFIG --cfg-options train_dataloader.batch_size=4
"""

import argparse

from mmengine.runner import Runner

import cellseg  # noqa: F401  (registers the project's parts)
from cellseg.engine.checkpoints import configure_resume
from cellseg.engine.process_group import init_process_group
from cellseg.engine.run_config import (
    add_common_arguments,
    check_batches,
    enable_amp,
    enable_auto_scale_lr,
    load_config,
    run_tool,
)


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Train a cell instance segmenter.")
    parser.add_argument("config", help="config file, such as those in configs/cell/")
    parser.add_argument(
        "--amp", action="store_true", help="mixed precision: fp16 on a GPU, bf16 on a CPU"
    )
    parser.add_argument(
        "--auto-scale-lr", action="store_true", help="scale the learning rate to the batch size"
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        help="go on from this checkpoint; without a path, from the last whole one in the work dir",
    )
    add_common_arguments(parser)
    return parser.parse_args()


def main() -> None:
    """Build the Runner from the config and the flags, and train."""
    args = parse_args()
    cfg = load_config(args)
    if args.amp:
        enable_amp(cfg)
    if args.auto_scale_lr:
        enable_auto_scale_lr(cfg)
    configure_resume(cfg, args.resume)
    init_process_group(cfg, args.launcher)
    runner = Runner.from_cfg(cfg)
    check_batches(runner)
    runner.train()


if __name__ == "__main__":
    run_tool(main)
