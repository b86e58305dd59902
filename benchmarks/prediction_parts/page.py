"""Write the page of prediction.py: tables, targets and a plot."""

from pathlib import Path
from statistics import median
from typing import Any

import matplotlib.pyplot as plt
from frame import Raw, is_met, significant, spread, write_page, write_table

from .agreement import LEAST_IOU, are_same

HEAD = ("what", "threads", "cells", "seconds [range]", "s per Mpx", "peak GB", "whole / network")
CELLS_HEAD = ("", "cells before", "cells now", f"pairs of IoU > {LEAST_IOU}") + (
    "least IoU",
    "largest difference of scores",
    "of boxes, px",
)
MOST_RATIO = 1.3
STARDIST = "StarDist's network alone, 1"
Row = dict[str, Any]


def write_report(page: Path, raw: Raw) -> None:
    """Write the page and its plot from the raw numbers; what was not measured is left out.

    Args:
        page: The page.
        raw: Rows of the table by name, which have "seconds"; "cells", the numbers of the plot; and
            "agreement" and "profile", which may be missing.
    """
    shown = raw["cells"]
    plot = page.with_name("images") / "prediction_speed.png"
    plot.parent.mkdir(parents=True, exist_ok=True)
    draw_curve(shown["curve"], plot)
    rows = {name: row for name, row in raw.items() if "seconds" in row}
    calls = sorted({len(row["seconds"]) for row in rows.values()})
    body = TEXT.format(
        image=shown["image"],
        megapixels=significant(shown["megapixels"]),
        calls=" or ".join(map(str, calls)),
        table=write_table(HEAD, [make_row(row, shown["megapixels"]) for row in rows.values()]),
        targets=write_table(("target", "measured", "met"), list_targets(raw)),
        agreement=write_agreement(raw.get("agreement")),
        profile=write_profile(raw.get("profile")),
    )
    write_page(page, "Speed of prediction", "prediction.py", body, raw=raw)


def make_row(row: Row, megapixels: float) -> list[str]:
    """Write one row of the table."""
    what, _, threads = row["name"].rpartition(", ")
    seconds = median(row["seconds"])
    cells = "" if row["cells"] is None else f"{row['cells']:,}"
    ratios = row["ratios"]
    ratio = spread(ratios) if len(ratios) > 1 else significant(ratios[0]) if ratios else ""
    megapixels = row.get("megapixels") or megapixels  # of another image
    figures = [spread(row["seconds"]), significant(seconds / megapixels)]
    return [what, threads, cells, *figures, significant(row["peak_gb"]), ratio]


def list_targets(raw: Raw) -> list[list[str]]:
    """Compare what was measured with one thread with the targets; what is missing is left out."""
    alone = {name: row for name, row in raw.items() if name.endswith(", 1") and "seconds" in row}
    ratios = {name.removesuffix(", 1"): row["ratios"] for name, row in alone.items()}
    targets = []
    for what, values in ratios.items():
        if values:
            ratio = median(values)
            name = f"{what}: whole / network at most {MOST_RATIO}"
            targets.append([name, significant(ratio), is_met(ratio <= MOST_RATIO)])
    if STARDIST in alone:
        most = median(alone[STARDIST]["seconds"])
        for name, row in alone.items():
            if name.startswith("nuclei-he"):
                seconds = median(row["seconds"])
                what = f"{name.removesuffix(', 1')}: less than StarDist's network alone"
                measured = f"{significant(seconds)} s, StarDist {significant(most)} s"
                targets.append([what, measured, is_met(seconds < most)])
    for case in raw.get("agreement", {}).get("images", []):
        what = f"{case['name']}: the cells are those of before"
        measured = f"{case['alike']:,} of {case['before']:,}, scores to {case['score']:.1g}"
        targets.append([what, measured, is_met(are_same(case))])
    return targets


def write_agreement(agreement: Row | None) -> str:
    """Write the comparison of cells with those of before."""
    if agreement is None:
        return "Not measured."
    names = ("name", "before", "now", "alike", "iou", "score", "box_px")
    rows = [[case[name] for name in names] for case in agreement["images"]]
    numbers = [[*row[:4], f"{row[4]:.4f}", *(f"{value:.1g}" for value in row[5:])] for row in rows]
    return write_table(CELLS_HEAD, numbers)


def write_profile(profile: Row | None) -> str:
    """Write where the time goes, beside what the network would take at this CPU's rate."""
    if profile is None:
        return "Not measured."
    columns = []
    titles: dict[str, None] = {}
    for measured in profile["models"].values():
        rate = max(measured["rates"].values())
        column = {title: median(values) / 1000 for title, values in measured["ms"].items()}
        floors = {title: flops / rate for title, flops in measured["flops"].items()}
        network = {"the network's parts": sum(column[title] for title in floors)}
        columns.append((column | network, floors | {"the network's parts": sum(floors.values())}))
        titles |= dict.fromkeys([*floors, "the network's parts", *column])
    rows = [[title] for title in titles]
    for row in rows:
        for column, floors in columns:
            floor = f" ({significant(floors[row[0]])})" if row[0] in floors else ""
            row.append(f"{significant(column.get(row[0], 0.0))}{floor}")
    rates = [measured["rates"] for measured in profile["models"].values()]
    gflops = {name: spread([rate[name] / 1e9 for rate in rates]) for name in rates[0]}
    said = " and ".join(f"{values} in a {name}" for name, values in gflops.items())
    head = ["seconds (floor)", *profile["models"]]
    return f"{PROFILE_TEXT}\n\n{write_table(head, rows)}\n\nGFLOP a second: {said}."


def draw_curve(curve: list[Row], path: Path) -> None:
    """Plot seconds, and those of the network's parts, against the cells found."""
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    found = [point["cells"] for point in curve]
    axes.plot(found, [median(point["seconds"]) for point in curve], "o-", label="whole prediction")
    network = [sum(median(part) for part in point["parts"].values()) for point in curve]
    axes.plot(found, network, "s--", label="network parts alone")
    axes.set(xlabel="cells found in the image", ylabel="seconds, one thread", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


PROFILE_TEXT = """Processor time of one thread, medians. In parentheses, the floor: the FLOPs of
convolutions and matrix products (two per multiplication and addition) at the higher of two rates
that were measured on this CPU. Depthwise convolutions, of which EfficientNet-Lite has many, wait
for memory and cannot reach it."""

TEXT = """Prediction of {image} ({megapixels} Mpx) on a CPU: array in, cells out, minimum score 0.5.
"Network" is the sum of three parts, each timed alone on the inputs that it had in that prediction:
backbone, neck and RPN; the box head on the proposals used; the mask head on the cells kept.
"Before" is an earlier commit in its own environment, with mmcv's compiled ops. StarDist's network
has the shape of its H&E model and random weights; its non-maximum suppression is not counted.
Ranges are over {calls} calls. `--amp` computes in bfloat16, which pays where the CPU has AMX.

{table}

MMDetection's own inference is left out: it needs mmcv's compiled ops, which this project does
without. The row "before" has them.

![Seconds against the number of cells](images/prediction_speed.png)

The plot shows drawn images of 1000 x 1000 px with 0 to 2,000 cells, found by the demo's R18.

## Targets

With one thread:

{targets}

## The same cells as before

The cells of the earlier commit and of this one are paired, each with one other of its class.

{agreement}

## Where the time goes

{profile}
"""
