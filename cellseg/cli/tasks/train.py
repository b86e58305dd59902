"""Train: build the Runner from the config and the flags."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine import dist
from mmengine.config import Config
from mmengine.runner import Runner

from cellseg.engine.checkpoints import configure_resume
from cellseg.engine.class_counts import check_class_counts, list_class_names
from cellseg.engine.exact_resume_hook import ExactResumeHook
from cellseg.engine.fine_tuning import make_fine_tuning_config
from cellseg.engine.head_remapping import RemapHeadsHook
from cellseg.engine.lost_processes import name_lost_process
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
from cellseg.engine.start_score_hook import StartScoreHook
from cellseg.engine.weight_fit import WeightFitHook
from cellseg.errors import CellsegError
from cellseg.file_locks import FolderLock
from cellseg.inference.model_source import ModelSource, open_model

_LOCK_NAME = ".training"


def run(args: argparse.Namespace) -> None:
    """Build the Runner from the config and the flags, and train."""
    with requeue_when_stopped():
        train(args)


def train(args: argparse.Namespace) -> None:
    """Train in this process; see `run`."""
    start = None
    if getattr(args, "start", None) is not None:
        start = open_model(args.start)
        args.config = describe_fine_tuning(start, args)
    cfg = load_config(args)
    check_class_counts(cfg)
    if args.amp:
        enable_amp(cfg)
    if args.auto_scale_lr:
        enable_auto_scale_lr(cfg)
    restarts = count_restarts()
    configure_resume(cfg, "auto" if args.resume is None and restarts else args.resume)
    init_process_group(cfg, args.launcher)
    with _own_work_dir(Path(cfg.work_dir)):
        runner = Runner.from_cfg(cfg)
        if start is not None and start.record is not None:
            names = list_class_names(cfg)["train"]
            runner.register_hook(RemapHeadsHook(start.record.classes, names))
            runner.register_hook(StartScoreHook())
        runner.register_hook(WeightFitHook())
        runner.register_hook(ModelRecordHook())
        runner.register_hook(ExactResumeHook())
        runner.register_hook(PreemptionHook(getattr(args, "checkpoint_minutes", None)))
        guard_loading(runner)
        check_batches(runner)
        try:
            with name_lost_process():
                runner.train()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                "run the same command with --resume to go on from the last checkpoint"
            ) from None


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
