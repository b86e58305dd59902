"""Checkpoint files, good and hostile, that the engine's tests share."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.logging import HistoryBuffer

import cellseg.engine  # noqa: F401  (registers loaders and hooks)
from cellseg.datasets.synthetic import SamplePlan, draw_sample_set


class CallOnLoad:
    """Pickles as a call, which a trusting unpickler makes."""

    def __init__(self, function: Callable, *args: Any, items: dict | None = None) -> None:
        self.reduction = (function, args, None, None, iter((items or {}).items()))

    def __reduce__(self) -> tuple:
        return self.reduction


def touch(path: str) -> None:
    """Leave a trace on disk that a test finds."""
    Path(path).touch()


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[Path]:
    """Return the file that a hostile checkpoint makes if it gets to run; a test fails if it did."""
    path = tmp_path / "hostile code ran"
    yield path
    assert not path.exists()


@pytest.fixture
def good_checkpoint() -> dict[str, Any]:
    """Return what MMEngine saves of a toy run after one epoch, in little."""
    return {
        "meta": {"epoch": 1, "iter": 2, "seed": 0},
        "state_dict": {
            "line.weight": torch.tensor([[3.0]]),
            "line.bias": torch.tensor([1.0]),
        },
        "message_hub": {
            "log_scalars": {"train/loss": HistoryBuffer([2.0, 1.0], [1, 1])},
            "runtime_info": {"best_score": 0.5},
            "resumed_keys": {"train/loss": True, "best_score": True},
        },
    }


@pytest.fixture
def make_hostile(
    tmp_path: Path, trace: Path, good_checkpoint: dict[str, Any]
) -> Callable[[str], Path]:
    """Return a function that writes a checkpoint of a kind that harms a reader who trusts it."""

    def make(kind: str) -> Path:
        path = tmp_path / "hostile.pth"
        if kind in ("reduce", "legacy pickle"):
            good_checkpoint["extra"] = CallOnLoad(touch, str(trace))
        elif kind == "getattr chain":
            start = CallOnLoad(getattr, HistoryBuffer, "__init__")
            good_checkpoint["extra"] = CallOnLoad(
                getattr, start, "__globals__", items={"POISONED": "by a checkpoint"}
            )
        else:
            good_checkpoint["meta"][kind.split()[1]] = (
                f"poison = open({str(trace)!r}, 'w').close()\n"
            )
        if kind == "legacy pickle":
            path.write_bytes(pickle.dumps(good_checkpoint, protocol=2))
        else:
            torch.save(good_checkpoint, path)
        return path

    return make


@pytest.fixture(scope="session")
def small_sample(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Draw five training and three validation images; return the --cfg-options that use them."""
    root = tmp_path_factory.mktemp("sample")
    draw_sample_set(root, SamplePlan(num_train=5, num_val=3, num_cells=20))
    return [
        f"train_dataloader.dataset.data_root={root / 'train'}",
        f"val_dataloader.dataset.data_root={root / 'val'}",
        f"test_dataloader.dataset.data_root={root / 'val'}",
        "train_dataloader.batch_size=1",
    ]
