"""Write the pages of the rows, and draw them, from what was kept of each run."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from frame import Raw, write_page, write_table
from matplotlib.figure import Figure

from cellseg.analysis.confusion import Confusion
from cellseg.analysis.confusion_plot import draw_confusion
from cellseg.analysis.curves import SEED_PATTERN, plot_runs, save_figure
from cellseg.analysis.training_logs import TrainingRun

from .evaluating import AP50, MINIMUM_SCORES, Entry
from .plan import GROUPS, Group, Row, source_of

BY_HAND = "<!-- The text below is written by hand and kept. -->\n"
NOT_RUN = "not run"
TITLES = {"results": "Results on H&E", "ablation": "Ablation on real nuclei"}
COLUMNS = {
    "results": {
        "AJI": "at_0.5/AJI",
        "PQ": "at_0.5/PQ",
        "F1": "at_0.5/F1",
        "mPQ": "at_0.5/mPQ",
        "AJI at 0.3": "at_0.3/AJI",
        "PQ at 0.3": "at_0.3/PQ",
    },
    "ablation": {"segm AP": "coco/segm_mAP", "bbox AP50": "coco/bbox_mAP_50"},
}
EVALUATED_ON = {"test": "the test images", "fold": "held-out folds", "config": "val"}


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


def tabulate(group: Group, outcomes: Sequence[Outcome]) -> str:
    """Write the table of a group, and the AP50 of each class where a recipe was evaluated."""
    columns = COLUMNS[group.page]
    head = ["row", "what it shows", "seeds", "segm AP50", f"compared with {group.rows[0].name}"]
    head += [*columns, "steps", "hours"]
    rows = [[*own[:2], "published", "", "", *own[2:]] for own in group.published]
    for outcome in reversed(outcomes):
        cells = [outcome.row.name, outcome.row.meaning, NOT_RUN]
        if outcome.runs:
            cells[2:] = [outcome.list_own("seed"), describe(outcome.values())]
            cells += [compare(outcome, outcomes[0])]
            cells += [describe(outcome.values(key)) for key in columns.values()]
            cells += [outcome.list_own("steps"), outcome.mean_hours()]
        rows.insert(0, cells)
    rows = [[*row, *[""] * (len(head) - len(row))] for row in rows]
    where = EVALUATED_ON[source_of(group.rows[0]).evaluated]
    text = f"## {group.title}\n\nEvaluated on {where}.\n\n{write_table(head, rows)}"
    done = [outcome for outcome in outcomes if outcome.runs and group.name == "recipe"]
    for classes in [done[0].runs[0]["classes"]] if done else []:
        keys = [f"coco/segm_{name}_AP_50" for name in classes]
        rows = [[o.row.name, *(describe(o.values(key)) for key in keys)] for o in done]
        text += f"\n\nAP50 of each class:\n\n{write_table(['row', *classes], rows)}"
    return text


def list_later(groups: Mapping[Group, Sequence[Outcome]]) -> list[str]:
    """List the rows that were not run of groups that show nothing yet; nothing without any."""
    lines = []
    for group, outcomes in groups.items():
        later = ", ".join(outcome.row.name for outcome in outcomes if not outcome.runs)
        run = ", ".join(outcome.row.name for outcome in outcomes if outcome.runs)
        beside = f" (to compare with {run}, which was run)" if run else ""
        lines.append(f"- {group.title} (`--only {group.name}`): {later}{beside}")
    return ["## Not run\n\n" + "\n".join(lines)] if lines else []


def write_report(name: str, path: Path, raw: Raw) -> str:
    """Write a page and its pictures.

    Args:
        name: Of the page.
        path: Where to; what follows BY_HAND there stays.
        raw: What was kept of each run; rows may be missing.

    Returns:
        What was written.
    """
    groups = {group: read_outcomes(group, raw) for group in GROUPS if group.page == name}
    begun, above = {}, list[Row]()
    for group, outcomes in groups.items():
        if group.published or any(own.runs and own.row not in above for own in outcomes):
            begun[group] = outcomes  # more than the row that it is compared with was run
        above += group.rows
    tables = [tabulate(group, outcomes) for group, outcomes in begun.items()]
    tables += list_later({group: own for group, own in groups.items() if group not in begun})
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    body = "\n\n".join([TEXT, *tables, *draw(name, list(begun.values()), path.parent), BY_HAND])
    body += before.partition(BY_HAND)[2]
    return write_page(path, TITLES[name], "results.py", body, raw=raw)


def draw(page: str, groups: Sequence[Sequence[Outcome]], folder: Path) -> list[str]:
    """Draw what there are runs for; returns the lines that show the pictures."""
    done: list[Outcome] = []
    for outcome in (outcome for group in groups for outcome in group):
        if outcome.runs and outcome not in done:  # a row may stand in several groups
            done.append(outcome)
    if not done:
        return []
    pictures = {}
    if len(done) > 1 and len({source_of(outcome.row).evaluated for outcome in done}) == 1:
        pictures[page] = "AP50 of every run", draw_outcomes(done)  # of the same images
    curves = [run for outcome in groups[0] for run in read_curves(outcome)]
    if curves:
        figure = plot_runs(curves, weight=0.8, group_pattern=SEED_PATTERN)
        pictures[f"{page}_curves"] = describe_curves(curves), figure
    runs = [run for run in done[0].runs if len(run.get("classes", ())) > 1]
    if runs:
        counts = np.sum([run["confusion"] for run in runs], axis=0)
        matrix = Confusion(tuple(runs[0]["classes"]), counts, 0.5, MINIMUM_SCORES[0])
        seeds = "all seeds" if len(runs) > 1 else f"seed {runs[0]['seed']}"
        text = f"Confusion matrix of {done[0].row.name}, {seeds}"
        pictures[f"{page}_confusion"] = text, draw_confusion(matrix)
    for name, (_, figure) in pictures.items():
        save_figure(figure, folder / "images" / f"{name}.png")
    return [f"![{text}](images/{name}.png)" for name, (text, _) in pictures.items()]


def describe_curves(curves: Sequence[TrainingRun]) -> str:
    """Say what the picture of some curves shows."""
    what = "Loss and AP50" if any(run.val for run in curves) else "Loss"
    if len(curves) > 1:
        return f"{what} while training, mean and spread over seeds"
    return f"{what} while training {curves[0].name.replace('_seed', ', seed ')}, one run"


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


TEXT = """\
± is the standard deviation over runs. A difference is that of runs with the same seed, fold and
steps; its ± is the root of both rows' summed variances. A difference that is not larger is *within
the spread*. The last averaged weights are evaluated, never the best checkpoint. *Hours* are of
training steps. Curves, machine, date and commit of each run are in the JSON file."""
