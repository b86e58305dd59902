"""Read the logs that training writes, joined across resumes, with one axis for train and val.

mmengine writes one JSON record a line to `<work_dir>/<timestamp>/vis_data/scalars.json`, in a new
folder at each start. A training record holds its iteration as `iter`; a validation record holds
only `step`, which is the epoch in runs by epoch, and so must be brought to iterations.
"""

import json
import logging
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Axis = Literal["iter", "epoch", "minutes"]
Record = dict[str, Any]
_NOT_KEYS = ("iter", "step", "epoch")
_MOST_STEPS = 2**40
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingRun:
    """One training, from its first start to its last resume.

    Attributes:
        name: Name for legends, by default the work dir's.
        train: Training records in order of `iter`.
        val: Validation records; `iter` was added, the iterations trained before.
        iters_per_epoch: Iterations an epoch takes; None where the run does not count epochs.
    """

    name: str
    train: list[Record]
    val: list[Record]
    iters_per_epoch: int | None

    def keys(self) -> tuple[list[str], list[str]]:
        """Return the keys of numbers that training and that validation logged."""
        return _number_keys(self.train), _number_keys(self.val)

    def series(
        self, key: str, axis: Axis = "iter"
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return one quantity over the run, from training if it is logged there.

        Values that say "nothing to measure" are left out: nan, and COCO's -1 of an AP or AR.

        Args:
            key: Such as `loss` or `coco/segm_mAP_50`.
            axis: Measure the run in iterations, epochs or minutes of training steps.

        Returns:
            (P,) places and (P,) values; P is 0 where the run does not hold the key.

        Raises:
            ValueError: If epochs are asked for and the run does not count them.
        """
        train_keys, _ = self.keys()
        records = self.train if key in train_keys else self.val
        is_score = any(mark in key for mark in ("mAP", "_AP", "_AR"))
        points = [
            (record["iter"], float(record[key]))
            for record in records
            if _is_number(record.get(key)) and not (is_score and record[key] < 0)
        ]
        places, values = np.array(points, dtype=np.float64).reshape(-1, 2).T
        if axis == "epoch":
            if self.iters_per_epoch is None:
                raise ValueError(f"{self.name} does not count epochs; plot it by iteration.")
            places = places / self.iters_per_epoch
        if axis == "minutes":
            places = self._to_minutes(places)
        return places, values

    def _to_minutes(self, iterations: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bring iterations to minutes of training steps; validation is not counted.

        Raises:
            ValueError: If the run logged no times.
        """
        timed = [(record["iter"], record["time"]) for record in self.train if "time" in record]
        if not timed:
            raise ValueError(f"{self.name} logged no times; plot it by iteration.")
        ends, seconds = np.array(timed, dtype=np.float64).T
        spent = np.cumsum(np.diff(ends, prepend=0.0) * seconds) / 60
        return np.interp(iterations, [0.0, *ends], [0.0, *spent])


def find_logs(run: str | Path) -> list[Path]:
    """Find the log files of a run, one for each start, in order of time.

    Args:
        run: A work dir, the folder of one start in it, or a JSON log.

    Returns:
        At least one path.

    Raises:
        FileNotFoundError: If there is no log.
    """
    run = Path(run)
    if run.is_file():
        return [run]
    found = sorted(run.glob("*/vis_data/scalars.json")) + sorted(run.glob("vis_data/scalars.json"))
    if not found and (run / "scalars.json").is_file():
        found = [run / "scalars.json"]
    if not found:
        raise FileNotFoundError(
            f"{run} holds no training log; give a work dir, in which training writes "
            "<time>/vis_data/scalars.json, or such a file."
        )
    return found


def read_run(run: str | Path, name: str | None = None) -> TrainingRun:
    """Read a run and join its starts.

    Where a later start repeats iterations of an earlier one, because the earlier one was killed
    after its last checkpoint, the later one counts: earlier records from there on are dropped.

    Args:
        run: A work dir, the folder of one start in it, or a JSON log.
        name: Name for legends; the work dir's when None.

    Returns:
        The run.

    Raises:
        FileNotFoundError: If there is no log.
        ValueError: If the logs hold no record.
    """
    logs = find_logs(run)
    train: list[Record] = []
    val: list[Record] = []
    for log in logs:
        records = read_records(log)
        new_train = [record for record in records if "iter" in record]
        if new_train:
            begin = min(record["iter"] for record in new_train)
            if train and begin <= train[0]["iter"]:
                _logger.warning("%s started over: earlier records of %s are dropped.", log, run)
            train = [record for record in train if record["iter"] < begin]
            val = [record for record in val if record["iter"] < begin]
        train, val = _append(train, val, records)
    if not train and not val:
        raise ValueError(f"{run} holds no record yet; training writes the first after a while.")
    train.sort(key=lambda record: record["iter"])
    return TrainingRun(name or _name_run(run, logs), train, val, count_iters_per_epoch(train))


def read_records(log: str | Path) -> list[Record]:
    """Read the records of one file, leaving out lines that were cut by a crash.

    Args:
        log: File of one JSON record a line.

    Returns:
        The records in the file's order; may be empty.

    Raises:
        ValueError: If there are lines, and none of them is a record.
    """
    records, num_cut = [], 0
    for line in Path(log).read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):  # ValueError of a number of thousands of digits, too
            record = None
        if isinstance(record, dict) and _has_usable_numbers(record):
            records.append(record)
        else:
            num_cut += 1
    if num_cut and not records:
        raise ValueError(f"{log} is not a training log: none of its lines is a JSON record.")
    if num_cut:
        _logger.warning("Lines of %s that were cut and are left out: %d.", log, num_cut)
    return records


def _has_usable_numbers(record: Record) -> bool:
    """Return whether the steps of a record are counts, and its times are numbers."""
    steps = [record[key] for key in _NOT_KEYS if key in record]
    times = [record[key] for key in ("time", "data_time") if key in record]
    return all(type(step) is int and 0 <= step < _MOST_STEPS for step in steps) and all(
        isinstance(time, float) or (type(time) is int and time < _MOST_STEPS) for time in times
    )


def count_iters_per_epoch(train: Sequence[Record]) -> int | None:
    """Work out how many iterations an epoch takes from records that hold both.

    Only every 50th or so iteration is logged, so the last one of an epoch often is not. But the
    first one logged lies equally far into every epoch.

    Args:
        train: Training records with `iter` and `epoch`, both counted from 1.

    Returns:
        The iterations; the last one seen if only a first epoch was; None without epochs.
    """
    counted = [(record["iter"], record["epoch"]) for record in train if record.get("epoch")]
    if not counted:
        return None
    at_least = max(math.ceil(iteration / epoch) for iteration, epoch in counted)
    at_most = min(
        ((iteration - 1) // (epoch - 1) for iteration, epoch in counted if epoch > 1),
        default=None,
    )
    if at_most is None or at_most < at_least:  # the data set or the batch size changed on the way
        return at_least
    firsts: dict[int, int] = {}
    for iteration, epoch in sorted(counted):
        firsts.setdefault(epoch, iteration)
    (early, early_iter), (late, late_iter) = min(firsts.items()), max(firsts.items())
    if late > early:
        guess = round((late_iter - early_iter) / (late - early))
    else:
        steps = np.diff(sorted(iteration for iteration, _ in counted))
        interval = int(steps[steps > 0].min(initial=early_iter))
        guess = round((early_iter - interval) / (early - 1))
    return int(np.clip(guess, at_least, at_most))


def _append(
    train: list[Record], val: list[Record], records: Sequence[Record]
) -> tuple[list[Record], list[Record]]:
    """Add one start's records; a validation record gets the iteration at which it was made."""
    own = [record for record in records if "iter" in record]
    spans_epochs = len({record.get("epoch") for record in own}) > 1
    length = count_iters_per_epoch(own if spans_epochs else [*train, *own])
    before = train[-1] if train else None
    train, val = list(train), list(val)
    for record in records:
        if "iter" in record:
            train.append(record)
            before = record
        else:
            val.append({**record, "iter": _validation_iter(record.get("step"), before, length)})
    return train, val


def _validation_iter(step: int | None, before: Record | None, iters_per_epoch: int | None) -> int:
    """Bring the step of a validation record to iterations.

    Args:
        step: The epoch in runs by epoch, the iteration or 0 in others.
        before: The training record before it.
        iters_per_epoch: Iterations an epoch takes.

    Returns:
        The iteration; that of the record before where the step says nothing.
    """
    if before is None:
        return step or 0
    seen = int(before["iter"])
    if step is None:
        return seen
    if before.get("epoch") == step and iters_per_epoch is not None:
        return max(step * iters_per_epoch, seen)
    return max(step, seen)


def _number_keys(records: Sequence[Record]) -> list[str]:
    """Return the keys that hold a number in some record."""
    keys = {key: None for record in records for key in record if _is_number(record[key])}
    return [key for key in keys if key not in _NOT_KEYS]


def _is_number(value: Any) -> bool:
    """Return whether a logged value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < sys.float_info.max  # a whole number can be larger


def _name_run(run: str | Path, logs: Sequence[Path]) -> str:
    """Name a run by its work dir."""
    log = logs[-1].resolve()
    if log.name == "scalars.json" and log.parent.name == "vis_data":
        return log.parents[2].name
    return Path(run).stem
