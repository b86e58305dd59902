"""Write the pages of the rows, and draw them, from what was kept of each run."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from frame import Raw, write_page, write_table
from matplotlib.figure import Figure

from cellseg.analysis.confusion import Confusion
from cellseg.analysis.confusion_plot import draw_confusion
from cellseg.analysis.curves import SEED_PATTERN, plot_runs, save_figure
from cellseg.analysis.training_logs import TrainingRun

from .judging import AP50, MINIMUM_SCORES, Entry
from .plan import GROUPS, Group, Row, source_of
from .texts import Page

BY_HAND = "<!-- The text below is written by hand and kept. -->\n"
NOT_RUN = "not run"


@dataclass(frozen=True)
class Outcome:
    """A row and what was kept of its runs; none where it was not run."""

    row: Row
    runs: tuple[Entry, ...]

    def values(self, key: str = AP50) -> list[float]:
        """Return a score of each run that has it."""
        return [run["scores"][key] for run in self.runs if key in run["scores"]]

    def list_own(self, key: str) -> str:
        """List the different values of a fact."""
        found = {run[key] for run in self.runs if run.get(key) is not None}
        return ", ".join(map(str, sorted(found)))

    def mean_hours(self) -> str:
        """Write the mean hours of a training."""
        hours = [run["hours"] for run in self.runs if "hours" in run]
        return f"{statistics.mean(hours):.2f}" if hours else "-"


def read_outcomes(group: Group, raw: Raw) -> list[Outcome]:
    """Sort what was kept of each run by the rows of a group."""
    runs = sorted(raw.values(), key=lambda run: (run["seed"], run["fold"]))
    return [
        Outcome(row, tuple(run for run in runs if run["row"] == row.name)) for row in group.rows
    ]


def describe(values: Sequence[float]) -> str:
    """Write mean and spread (standard deviation with n - 1) of a score."""
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def compare(outcome: Outcome, baseline: Outcome) -> str:
    """Write the mean difference of AP50 to the baseline over the runs that both have.

    Its spread is that of a difference of two runs, the root of both rows' summed variances; a mean
    that is not larger is within it.
    """
    if outcome.row is baseline.row:
        return ""
    own, other = (
        {(run["seed"], run["fold"], run["steps"]): run["scores"][AP50] for run in side.runs}
        for side in (outcome, baseline)
    )
    shared = sorted(own.keys() & other.keys())
    gaps = [own[key] - other[key] for key in shared]
    if not gaps:
        return "-"
    better = f"better in {sum(gap > 0 for gap in gaps)} of {len(gaps)}"
    mean = statistics.mean(gaps)
    if len(gaps) == 1:
        return f"{mean:+.3f} ({better}; one seed, so no spread)"
    spread = math.hypot(*(statistics.stdev(side[key] for key in shared) for side in (own, other)))
    verdict = ", within the spread" if abs(mean) <= spread else ""
    return f"{mean:+.3f} ± {spread:.3f} ({better}{verdict})"


def tabulate(group: Group, page: Page, raw: Raw) -> str:
    """Write the table of a group."""
    outcomes = read_outcomes(group, raw)
    head = ["row", "what it shows", "seeds", "segm AP50", f"compared with {group.baseline.name}"]
    head += [*page.columns, "steps", "hours"]
    rows = []
    for outcome in outcomes:
        row = [outcome.row.name, outcome.row.meaning]
        if outcome.runs:
            row += [outcome.list_own("seed"), describe(outcome.values())]
            row += [compare(outcome, outcomes[0])]
            row += [describe(outcome.values(key)) for key in page.columns.values()]
            row += [outcome.list_own("steps"), outcome.mean_hours()]
        else:
            row += [NOT_RUN, *[""] * (len(head) - 3)]
        rows.append(row)
    judged = {"test": "the test images", "fold": "held-out folds", "config": "val"}
    where = judged[source_of(group.baseline).judged]
    return f"## {group.title}\n\nJudged on {where}.\n\n{write_table(head, rows)}"


def tabulate_classes(outcomes: Sequence[Outcome]) -> str:
    """Write the AP50 of each class of rows that were run; empty without any."""
    done = [outcome for outcome in outcomes if outcome.runs]
    if not done:
        return ""
    classes = done[0].runs[0]["classes"]
    rows = [
        [o.row.name, *(describe(o.values(f"coco/segm_{name}_AP_50")) for name in classes)]
        for o in done
    ]
    return f"\n\nAP50 of each class:\n\n{write_table(['row', *classes], rows)}"


def write_report(page: Page, path: Path, raw: Raw) -> str:
    """Write a page and its pictures.

    Args:
        page: Which one.
        path: Where to; what follows BY_HAND there stays.
        raw: What was kept of each run; rows may be missing.

    Returns:
        What was written.
    """
    groups = [group for group in GROUPS if group.page == page.name]
    parts = [tabulate(group, page, raw) for group in groups]
    first = read_outcomes(groups[0], raw)
    if page.published:
        parts[0] += tabulate_classes(first)
        parts.append(page.published.format(ours=describe_ours(first[0])))
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    body = "\n\n".join([page.intro, *parts, *draw(page, groups, raw, path.parent), page.outro])
    hand = BY_HAND + (before.partition(BY_HAND)[2] or page.by_hand)
    return write_page(path, page.title, "results.py", f"{body}\n\n{hand}", raw=raw)


def describe_ours(outcome: Outcome) -> str:
    """Write PQ and AJI of a row at each minimum score, for the table of published figures."""
    cells = (
        describe(outcome.values(f"at_{minimum:g}/{name}"))
        for name in ("PQ", "AJI")
        for minimum in MINIMUM_SCORES
    )
    return " | ".join(cells if outcome.runs else [NOT_RUN] * 4)


def draw(page: Page, groups: Sequence[Group], raw: Raw, folder: Path) -> list[str]:
    """Draw what there are runs for; returns the lines that show the pictures."""
    pictures: dict[str, tuple[str, Figure]] = {}
    done = [o for group in groups for o in read_outcomes(group, raw) if o.runs]
    if done:
        pictures["AP50 of every run"] = page.name, draw_outcomes(done)
    runs = [run for o in read_outcomes(groups[0], raw) for run in read_curves(o)]
    if runs:
        figure = plot_runs(runs, weight=0.8, group_pattern=SEED_PATTERN)
        text = "Loss and AP50 while training, mean and spread over seeds"
        pictures[text] = f"{page.name}_curves", figure
    matrices = [run for o in done[:1] for run in o.runs if len(run.get("classes", ())) > 1]
    if matrices:
        counts = sum(np.array(run["confusion"]) for run in matrices)
        names = tuple(matrices[0]["classes"])
        figure = draw_confusion(Confusion(names, counts, 0.5, MINIMUM_SCORES[0]))
        text = f"Confusion matrix of {matrices[0]['row']}, all seeds"
        pictures[text] = f"{page.name}_confusion", figure
    for name, figure in pictures.values():
        save_figure(figure, folder / "images" / f"{name}.png")
    return [f"![{text}](images/{name}.png)" for text, (name, _) in pictures.items()]


def draw_outcomes(outcomes: Sequence[Outcome]) -> Figure:
    """Draw each run's AP50 as a dot and each row's mean as a line."""
    figure = Figure(figsize=(6.5, 0.5 * len(outcomes) + 1.3), dpi=150, layout="constrained")
    ax = figure.subplots()
    for place, outcome in enumerate(outcomes):
        values = outcome.values()
        ax.plot(values, [place] * len(values), "o", color="#0072b2", alpha=0.7)
        ax.plot([statistics.mean(values)] * 2, [place - 0.3, place + 0.3], color="#d55e00")
    ax.set_yticks(range(len(outcomes)), [outcome.row.name for outcome in outcomes])
    ax.invert_yaxis()
    ax.set_xlabel("segm AP50; dots: runs, lines: means")
    ax.grid(axis="x", alpha=0.3)
    return figure


def read_curves(outcome: Outcome) -> list[TrainingRun]:
    """Return the curves that were kept of a row's runs."""
    curves = []
    for run in outcome.runs:
        train, val = (
            [{"iter": int(step), key: value} for step, value in run.get(name, {}).items()]
            for name, key in (("loss", "loss"), ("val_segm_AP50", AP50))
        )
        if train:
            curves.append(TrainingRun(f"{run['row']}_seed{run['seed']}", train, val, None))
    return curves
