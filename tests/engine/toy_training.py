"""A real Runner on a model of two parameters, and a driver that kills it in the middle of a write.

As a script it reads scenarios as JSON from standard input, forks one process for each run (forking
is quick, importing is not) and writes what happened as JSON to the path in its first argument.
"""

import json
import logging
import os
import re
import signal
import sys
import tempfile
import traceback
import uuid
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from cellseg.engine import configure_resume

EPOCHS = 4
SCORES = {1: 0.1, 2: 0.5, 3: 0.3, 4: 0.7}  # after epoch 3 no new best


class ToyData(Dataset):
    """Eight points on a line."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        x = torch.tensor([index / 8])
        return {"inputs": x, "targets": 3 * x + 1}  # stacked by default_collate


class ToyModel(BaseModel):
    """A line; its loss is the squared error."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(1, 1)

    def forward(self, inputs: torch.Tensor, targets: torch.Tensor, mode: str = "tensor") -> Any:
        error = self.line(inputs) - targets
        return {"loss": error.square().mean()} if mode == "loss" else [error]


class ToyMetric(BaseMetric):
    """A score that depends on the epoch only."""

    def __init__(self, scores: dict[int, float] = SCORES) -> None:
        super().__init__()
        self.scores = scores
        self.runner: Runner | None = None

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(0)

    def compute_metrics(self, results: list) -> dict[str, float]:
        return {"coco/segm_mAP_50": self.scores[self.runner.epoch]}


class EpochDiary(Hook):
    """Write down each epoch that was trained to its end."""

    def after_train_epoch(self, runner: Runner) -> None:
        with (Path(runner.work_dir) / "diary").open("a") as file:
            file.write(f"{runner.epoch + 1} ")


def build_runner(
    work_dir: Path, *, resume: Any = None, epochs: int = EPOCHS, **settings: Any
) -> Runner:
    """Build a Runner that trains the toy, saving every epoch and keeping two and the best."""
    torch.manual_seed(0)
    checkpoint = dict(
        type="AtomicCheckpointHook",
        interval=1,
        max_keep_ckpts=2,
        save_best="coco/segm_mAP_50",
        rule="greater",
    )
    checkpoint.update(settings.pop("checkpoint", {}))
    metric = ToyMetric(settings.pop("scores", SCORES))
    loader = dict(
        dataset=settings.pop("data", None) or ToyData(),
        sampler=dict(type="DefaultSampler", shuffle=True),
        collate_fn=dict(type=settings.pop("collate", "default_collate")),
    )
    cfg = Config(
        dict(work_dir=str(work_dir), load_from=settings.pop("load_from", None), resume=False)
    )
    configure_resume(cfg, resume)
    hooks = settings.pop("custom_hooks", [])
    with mock.patch("mmengine.runner.runner.collect_env", return_value={}):  # runs compilers
        runner = Runner(
            model=settings.pop("model", None) or ToyModel(),
            work_dir=cfg.work_dir,
            train_dataloader=dict(loader, batch_size=4),
            val_dataloader=dict(loader, batch_size=8),
            train_cfg=dict(type="EpochBasedTrainLoop", max_epochs=epochs, val_interval=1),
            val_cfg=dict(),
            val_evaluator=Evaluator([metric]),
            optim_wrapper=settings.pop(
                "optim_wrapper", dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=0.1))
            ),
            param_scheduler=settings.pop(
                "param_scheduler", dict(type="CosineAnnealingLR", T_max=EPOCHS, end=EPOCHS)
            ),
            default_hooks=dict(checkpoint=checkpoint),
            custom_hooks=[EpochDiary(), *hooks],
            load_from=cfg.load_from,
            resume=cfg.resume,
            randomness=dict(seed=0),
            default_scope="mmdet",
            experiment_name=f"toy_{uuid.uuid4().hex}",
            log_level="WARNING",
            **settings,
        )
    metric.runner = runner
    return runner


def read_weights(model: nn.Module) -> list[float]:
    """Return the toy's two numbers."""
    return [float(value) for value in model.state_dict().values()]


class DyingFile:
    """A file that takes a part of what is written to it and kills the process."""

    def __init__(self, file: Any, fraction: float) -> None:
        self.file, self.fraction = file, fraction

    def __enter__(self) -> "DyingFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, content: bytes) -> None:
        self.file.write(content[: int(len(content) * self.fraction)])
        self.file.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def arm_kill(pattern: str, occurrence: int, moment: float | str) -> None:
    """Kill this process in the n-th write of a file whose name matches.

    Args:
        pattern: A regular expression for the whole file name.
        occurrence: 1 for the first such write.
        moment: The fraction written before the kill, or "renamed" for just after the rename.
    """
    seen = {"count": 0, "armed": False}
    make_aside, open_aside, rename = tempfile.mkstemp, os.fdopen, Path.replace

    def mkstemp(**kwargs: Any) -> tuple[int, str]:
        name = kwargs["prefix"][1:-1]
        if re.fullmatch(pattern, name):
            seen["count"] += 1
            seen["armed"] = seen["count"] == occurrence
        return make_aside(**kwargs)

    def fdopen(descriptor: int, *args: Any, **kwargs: Any) -> Any:
        file = open_aside(descriptor, *args, **kwargs)
        return DyingFile(file, moment) if seen["armed"] and moment != "renamed" else file

    def replace(self: Path, target: Path) -> Path:
        result = rename(self, target)
        if seen["armed"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    tempfile.mkstemp, os.fdopen, Path.replace = mkstemp, fdopen, replace


def run_forked(work_dir: Path, resume: Any, kill: tuple | None) -> int:
    """Train in a process of its own and return its wait status."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    status = 1
    try:
        runner = build_runner(work_dir, resume=resume)
        if kill:
            arm_kill(*kill)
        runner.train()
        (work_dir / "weights.json").write_text(json.dumps(read_weights(runner.model)))
        status = 0
    except BaseException:
        traceback.print_exc()
    os._exit(status)


def list_checkpoints(work_dir: Path) -> list[str]:
    """Return the names of the checkpoints, and of files written aside, sorted."""
    return sorted(path.name for path in work_dir.iterdir() if path.suffix in (".pth", ".part"))


def play(scenario: dict[str, Any]) -> dict[str, Any]:
    """Train until killed, then resume to the end; report both."""
    work_dir = Path(scenario["work_dir"])
    work_dir.mkdir()
    killed = run_forked(work_dir, None, scenario["kill"])
    diary = work_dir / "diary"
    report = {
        "signal": os.WTERMSIG(killed) if os.WIFSIGNALED(killed) else None,
        "left": list_checkpoints(work_dir),
        "epochs_before": diary.read_text() if diary.exists() else "",
    }
    if scenario["kill"]:
        diary.unlink(missing_ok=True)
        report["resumed"] = run_forked(work_dir, "auto", None)
        report["epochs_after"] = diary.read_text()
    report["files"] = list_checkpoints(work_dir)
    report["last"] = Path((work_dir / "last_checkpoint").read_text()).name
    report["weights"] = json.loads((work_dir / "weights.json").read_text())
    return report


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    os.fsync = lambda descriptor: None  # slow, and a kill alone loses nothing that was written
    mock.patch("mmengine.runner.runner.get_git_hash", return_value="").start()  # runs git
    # a first run here imports what is imported late, once instead of in every fork
    with tempfile.TemporaryDirectory() as folder:
        build_runner(Path(folder)).train()
    reports = [play(scenario) for scenario in json.load(sys.stdin)]
    Path(sys.argv[1]).write_text(json.dumps(reports))
