"""Train: build the Runner from the config and the flags."""

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine import dist
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from cellseg.cli.tasks.training_end import finish_training
from cellseg.engine.checkpoints import configure_resume, find_resumable_checkpoint
from cellseg.engine.class_counts import check_class_counts, list_class_names
from cellseg.engine.exact_resume_hook import ExactResumeHook
from cellseg.engine.fine_tuning import make_fine_tuning_config
from cellseg.engine.head_remapping import RemapHeadsHook
from cellseg.engine.lost_processes import name_lost_process
from cellseg.engine.model_record import ModelRecord
from cellseg.engine.preemption_hook import (
    PreemptionHook,
    count_restarts,
    requeue_when_stopped,
)
from cellseg.engine.process_group import init_process_group
from cellseg.engine.record_hook import ModelRecordHook
from cellseg.engine.resume_checks import guard_loading
from cellseg.engine.run_config import (
    check_batches,
    enable_amp,
    enable_auto_scale_lr,
    load_config,
)
from cellseg.engine.start_model import KEY as START_KEY
from cellseg.engine.start_model import find_start_model
from cellseg.engine.start_score_hook import StartScoreHook
from cellseg.engine.tracking import enable_tracking
from cellseg.engine.training_progress import QuietRunner, TrainingProgressHook
from cellseg.engine.weight_fit import WeightFitHook
from cellseg.errors import CellsegError
from cellseg.file_locks import FolderLock
from cellseg.inference.model_source import ModelSource, open_model
from cellseg.model_files import is_model_folder, list_models
from cellseg.project_files import show_path

_LOCK_NAME = ".training"


def run(args: argparse.Namespace) -> None:
    """Build the Runner from the config and the flags, train, and say what came out."""
    with requeue_when_stopped():
        train(args)


def train(args: argparse.Namespace) -> None:
    """Train in this process; see `run`."""
    project = args.config
    if getattr(args, "start", None) is not None:
        args.config = describe_fine_tuning(open_model(args.start), args)
    cfg = load_config(args)
    check_class_counts(cfg)
    if args.amp:
        enable_amp(cfg)
    if args.auto_scale_lr:
        enable_auto_scale_lr(cfg)
    if args.track:
        enable_tracking(cfg, args.track)
    start = find_start(cfg)
    restarts = count_restarts()
    configure_resume(cfg, "auto" if args.resume is None and restarts else args.resume)
    request_results(cfg)
    init_process_group(cfg, args.launcher)
    warn_of_earlier_training(cfg)
    progress = TrainingProgressHook(write_line, describe_start(cfg))
    with _own_work_dir(Path(cfg.work_dir)):
        runner = (Runner if args.verbose else QuietRunner).from_cfg(cfg)
        for hook in list_hooks(cfg, start, getattr(args, "checkpoint_minutes", None)):
            runner.register_hook(hook)
        if not args.verbose and dist.get_rank() == 0:
            runner.register_hook(progress)
        guard_loading(runner)
        check_batches(runner)
        try:
            with name_lost_process():
                runner.train()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                "run the same command with --resume to go on from the last checkpoint"
            ) from None
    if dist.get_rank() == 0:
        finish_training(cfg, project, "" if args.verbose else progress.describe_end())


def find_start(cfg: Config) -> ModelRecord | None:
    """Find the record of the model that a config starts from; None where it has none."""
    if cfg.get("load_from") is None:
        return None
    if cfg.get(START_KEY) is None and not is_model_folder(cfg.load_from):
        return None  # MMDetection's weights, or a checkpoint of any model
    return find_start_model(cfg.load_from).record


def describe_start(cfg: Config) -> str:
    """Say in a few words what training starts from."""
    if cfg.get("load_from"):
        is_shipped = Path(cfg.load_from) in list_models().values()
        name = Path(cfg.load_from).name if is_shipped else show_path(cfg.load_from)
        return f"goes on from {name}" if cfg.resume else f"from the model {name}"
    backbone = cfg.model.get("backbone") or {}
    has_weights = backbone.get("init_cfg") or cfg.model.get("init_cfg")
    return "from pretrained weights of the backbone" if has_weights else "from random weights"


def list_hooks(cfg: Config, start: ModelRecord | None, minutes: float | None = None) -> list[Hook]:
    """List the hooks that every training gets, beside those of its config.

    Args:
        cfg: The config.
        start: The record of the model that it starts from, if there is one.
        minutes: Minutes between checkpoints, beside those of the config.
    """
    hooks: list[Hook] = []
    if start is not None:
        hooks += [RemapHeadsHook(start.classes, list_class_names(cfg)["train"]), StartScoreHook()]
    return [
        *hooks,
        WeightFitHook(),
        ModelRecordHook(),
        ExactResumeHook(),
        PreemptionHook(minutes),
    ]


def warn_of_earlier_training(cfg: Config) -> None:
    """Warn where a training that starts from the beginning will overwrite an earlier one."""
    if cfg.get("resume") or dist.get_rank() != 0:
        return
    earlier = find_resumable_checkpoint(cfg.work_dir)
    if earlier is not None:
        print_log(
            f"{show_path(earlier)} is from an earlier training, whose checkpoints will be "
            "overwritten. Stop with Ctrl-C, and add --resume to continue it, or --work-dir to "
            "train in another folder.",
            "current",
            logging.WARNING,
        )


def request_results(cfg: Config) -> None:
    """Let each validation leave its predictions in the work folder, for the report."""
    evaluator = cfg.get("val_evaluator")
    if isinstance(evaluator, dict) and str(evaluator.get("type")) == "CellMetric":
        evaluator.setdefault("outfile_prefix", str(Path(cfg.work_dir) / "val"))


def write_line(text: str) -> None:
    """Show a line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def describe_fine_tuning(start: ModelSource, args: argparse.Namespace) -> Config:
    """Make the config of a training that starts from a model."""
    if start.path is None or start.record is None:
        raise CellsegError(
            f"--from {args.start} is not a model with weights and a record; `cellseg publish` "
            "makes one of a checkpoint."
        )
    return make_fine_tuning_config(start.record, start.path, args.data, args.classes, args.steps)


@contextmanager
def _own_work_dir(work_dir: Path) -> Iterator[None]:
    """Keep other trainings out of a work dir; of several processes, the first one holds it.

    Raises:
        CellsegError: If another training writes there.
    """
    lock = FolderLock(work_dir / _LOCK_NAME)
    if dist.get_rank() == 0 and not lock.take():
        raise CellsegError(
            f"Another training writes into {work_dir}; wait for it, or give another --work-dir."
        )
    try:
        yield
    finally:
        lock.release()
