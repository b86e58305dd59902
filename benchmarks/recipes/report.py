"""Write the ablation's table and draw it."""

import contextlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from matplotlib.figure import Figure

from cellseg.visualization.training_logs import TrainingRun, read_run

from .anchors import AnchorRow
from .plan import BASELINE, TestRow, TrainRow
from .runs import Place, make_test_config

AP50 = "coco/segm_mAP_50"
BY_HAND = "<!-- What stands below is written by hand and stays. -->\n"


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


def write_report(
    path: Path,
    outcomes: Sequence[Outcome],
    anchors: Sequence[AnchorRow],
    place: Place,
    machine: str,
) -> str:
    """Write the tables as Markdown.

    Args:
        path: Where to; what follows BY_HAND there stays.
        outcomes: The rows that are done; seeds may be missing.
        anchors: Recall of anchors; may be empty.
        place: Steps of each training, and its data.
        machine: Processor and versions.

    Returns:
        What was written.
    """
    baseline = next((outcome for outcome in outcomes if outcome.name == BASELINE), None)
    lines = [
        "| row | what it shows | seeds | segm AP50 | against small-anchor | segm AP | bbox AP50 "
        "| training, minutes on threads |",
        "|---" * 8 + "|",
    ]
    for outcome in outcomes:
        lines.append(
            f"| {outcome.name} | {outcome.meaning} | {', '.join(map(str, outcome.scores))} | "
            f"{describe(outcome.values())} | {compare(outcome, baseline)} | "
            f"{describe(outcome.values('coco/segm_mAP'))} | "
            f"{describe(outcome.values('coco/bbox_mAP_50'))} | "
            f"{outcome.describe_times()} |"
        )
    text = TEXT.format(
        date=date.today().isoformat(),
        machine=machine,
        iterations=place.iterations,
        num_train=_count_images(place.data_root / "train"),
        num_val=_count_images(place.data_root / "val"),
        table="\n".join(lines),
        anchors=_tabulate_anchors(anchors),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    text += before.partition(BY_HAND)[2]
    path.write_text(text, encoding="utf-8")
    return text


def _count_images(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*/image.tif"))


def _tabulate_anchors(rows: Sequence[AnchorRow]) -> str:
    """Write the recall of anchors as a table; a sentence where nothing was measured."""
    if not rows:
        return "Not measured yet."
    lines = [
        "| data | anchors | cells | recall at IoU 0.5 | at IoU 0.7 | mean IoU "
        "| cell sizes (5 %, 50 %, 95 %), px of the input |",
        "|---" * 7 + "|",
    ]
    for row in rows:
        figures = row.figures
        sizes = ", ".join(f"{size:.0f}" for size in row.sizes_px)
        lines.append(
            f"| {row.data} | {row.anchors} | {figures.num_boxes} | {figures.recall_50:.3f} | "
            f"{figures.recall_70:.3f} | {figures.mean_iou:.3f} | {sizes} |"
        )
    return "\n".join(lines)


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


def keep_test(
    folder: Path, row: TrainRow | TestRow, source: TrainRow, seed: int, place: Place
) -> None:
    """Keep the scores of a test, and its config, which names the options of a row that only tests.

    Args:
        folder: Where to.
        row: The row, which is done.
        source: Its training row.
        seed: The seed of the training.
        place: Where the runs lie.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scores = place.score_file(row.name, source.name, seed).read_text("utf-8")
    (folder / f"{row.name}_seed{seed}.json").write_text(f"{scores.rstrip()}\n", encoding="utf-8")
    # Made anew: MMEngine puts a dump, with paths of the machine, in place of the one beside a test.
    config = make_test_config(row, source.name, seed, place).pretty_text
    (folder / f"{row.name}_seed{seed}.py").write_text(config, encoding="utf-8")


def keep_records(folder: Path, config: Path, run: Path) -> None:
    """Keep the config of a run, and its log joined over resumes, as small files.

    Args:
        folder: Where to.
        config: The run's config; the copies are named after it.
        run: Its work folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / config.name).write_text(config.read_text("utf-8"), encoding="utf-8")
    for training in read_runs([run]):
        rows = [json.dumps(record) for record in (*training.train, *training.val)]
        (folder / f"{config.stem}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")


TEXT = (
    """# Ablation on real nuclei

Written by `python benchmarks/ablation.py`, {date}, on {machine}.

{num_train} training and {num_val} validation images, stained ones of the 2018 Data Science Bowl,
from random weights, {iterations} steps a run: `mask-rcnn_r18_small-anchor_dsb2018.py`, its schedule
shortened. The last weight average is judged on val, never the best one. ± is the standard deviation
over seeds. So short a training ranks choices; it does not say how far they get.

{table}

![AP50 of every run](images/ablation.png)

![Loss and AP50 while training, mean and spread over seeds](images/ablation_curves.png)

Config and log of each run: [ablation/](ablation/).

## Best possible recall of anchors

The share of cells that some anchor covers by that IoU, before anything is learned; "fitted" are
those that `anchor_recall.py --fit` proposes.

{anchors}

"""
    + BY_HAND
)
