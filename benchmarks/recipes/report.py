"""Write the ablation's table and draw it."""

import contextlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frame import write_page, write_table
from matplotlib.figure import Figure

from cellseg.analysis.training_logs import Record, TrainingRun, read_run
from cellseg.fileio import write_atomically

from .plan import BASELINE, TestRow, TrainRow
from .runs import Place

AP50 = "coco/segm_mAP_50"
Run = dict[str, Any]
BY_HAND = "<!-- The text below is written by hand and kept. -->\n"


@dataclass(frozen=True)
class Outcome:
    """The scores of a row.

    Attributes:
        name: The row.
        meaning: What it shows.
        scores: For each seed, the scores by key.
        starts: For each seed, seconds and threads of each start of its training; none for a row
            that does not train.
    """

    name: str
    meaning: str
    scores: dict[int, dict[str, float]]
    starts: dict[int, list[dict[str, int]]]

    def values(self, key: str = AP50) -> list[float]:
        """Return a score of each seed."""
        return [score[key] for score in self.scores.values()]

    def describe_times(self) -> str:
        """Write the mean minutes of a training and the threads that it had."""
        minutes = [sum(s["seconds"] for s in starts) / 60 for starts in self.starts.values()]
        threads = sorted({s["threads"] for starts in self.starts.values() for s in starts})
        if not threads:
            return "-"
        return f"{statistics.mean(minutes):.0f} on {' or '.join(map(str, threads))}"


def describe(values: Sequence[float]) -> str:
    """Write mean and spread (standard deviation with n - 1) of a score."""
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def compare(outcome: Outcome, baseline: Outcome | None) -> str:
    """Write the mean difference to the baseline over the seeds that both have, and its signs."""
    if baseline is None or outcome.name == baseline.name:
        return ""
    seeds = sorted(set(outcome.scores) & set(baseline.scores))
    gaps = [outcome.scores[seed][AP50] - baseline.scores[seed][AP50] for seed in seeds]
    if not gaps:
        return "-"
    better = sum(gap > 0 for gap in gaps)
    return f"{statistics.mean(gaps):+.3f} (better in {better} of {len(gaps)})"


def write_report(path: Path, outcomes: Sequence[Outcome], place: Place) -> str:
    """Write the page.

    Args:
        path: Where to; what follows BY_HAND there stays.
        outcomes: The rows that are done; seeds may be missing.
        place: Steps of each training, and its data.

    Returns:
        What was written.
    """
    baseline = next((outcome for outcome in outcomes if outcome.name == BASELINE), None)
    table = write_table(
        ["row", "what it shows", "seeds", "segm AP50", "compared with small-anchor"]
        + ["segm AP", "bbox AP50", "training, minutes on threads"],
        [
            [
                outcome.name,
                outcome.meaning,
                ", ".join(map(str, outcome.scores)),
                describe(outcome.values()),
                compare(outcome, baseline),
                describe(outcome.values("coco/segm_mAP")),
                describe(outcome.values("coco/bbox_mAP_50")),
                outcome.describe_times(),
            ]
            for outcome in outcomes
        ],
    )
    num_train, num_val = (
        sum(1 for _ in (place.data_root / part).glob("*/image.tif")) for part in ("train", "val")
    )
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    body = TEXT.format(
        iterations=place.iterations,
        num_train=num_train,
        num_val=num_val,
        table=table,
    )
    by_hand = BY_HAND + before.partition(BY_HAND)[2]
    return write_page(path, "Ablation on real nuclei", "ablation.py", body + by_hand)


def draw_outcomes(outcomes: Sequence[Outcome]) -> Figure:
    """Draw each run's AP50 as a dot and each row's mean as a line."""
    figure = Figure(figsize=(6.5, 0.5 * len(outcomes) + 1.3), dpi=150, layout="constrained")
    ax = figure.subplots()
    for place, outcome in enumerate(outcomes):
        values = outcome.values()
        ax.plot(values, [place] * len(values), "o", color="#0072b2", alpha=0.7)
        if values:
            ax.plot([statistics.mean(values)] * 2, [place - 0.3, place + 0.3], color="#d55e00")
    ax.set_yticks(range(len(outcomes)), [outcome.name for outcome in outcomes])
    ax.invert_yaxis()
    ax.set_xlabel("segm AP50 on val; dots: seeds, lines: means")
    ax.grid(axis="x", alpha=0.3)
    return figure


def read_runs(folders: Sequence[Path]) -> list[TrainingRun]:
    """Read the logs of trainings; one without a log is left out."""
    runs = []
    for folder in folders:
        with contextlib.suppress(FileNotFoundError):
            runs.append(read_run(folder))
    return runs


def digest_log(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Return the loss and the validation AP50 of a training, by iteration."""
    curves: dict[str, dict[str, float]] = {}
    for name, key in (("loss", "loss"), ("val_segm_AP50", AP50)):
        points = {str(r["iter"]): float(f"{r[key]:.5g}") for r in records if key in r}
        if points:
            curves[name] = points
    return curves


def describe_run(row: TrainRow | TestRow, source: TrainRow, seed: int, place: Place) -> Run:
    """Return what is kept of a finished run: its changes, scores and, if it trained, its curves.

    Args:
        row: The row, which is done.
        source: Its training row.
        seed: The seed of the training.
        place: Where the runs lie.
    """
    run: Run = {"row": row.name, "seed": seed, "iterations": place.iterations}
    if isinstance(row, TestRow):
        run["changes"] = {"of": row.of, "options": row.options, "flags": row.flags}
    else:
        run["changes"] = {"options": row.options, "without": row.without}
    scores = place.score_file(row.name, source.name, seed).read_text(encoding="utf-8")
    run["scores"] = json.loads(scores)
    if row is source:
        for training in read_runs([place.run(row.name, seed)]):
            run |= digest_log([*training.train, *training.val])
    return run


def write_runs(path: Path, runs: Sequence[Run]) -> None:
    """Write the runs as JSON, one per line."""
    lines = ",\n".join(json.dumps(run) for run in runs)
    write_atomically(path, f"[\n{lines}\n]\n")


TEXT = """\
{num_train} training and {num_val} validation images, the stained ones of the 2018 Data Science
Bowl, from random weights, {iterations} steps per run: `mask-rcnn_r18_small-anchor_dsb2018.py` with
a shortened schedule. The final average of the weights is scored on val, never the best checkpoint.
± is the standard deviation over seeds. Such a short training ranks choices; it does not show what
they reach in the end.

{table}

![AP50 of every run](images/ablation.png)

![Loss and AP50 while training, mean and spread over seeds](images/ablation_curves.png)

Changes, scores and curves of each run: [ablation/runs.json](ablation/runs.json).

"""
