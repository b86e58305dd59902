"""Write what was measured on tiled prediction: tables, machine, date, and a plot of growth."""

from pathlib import Path
from statistics import median
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt

Raw = dict[str, dict[str, Any]]
_MOST_BEYOND, _MOST_GB = 0.15, 3.0
_NAMES = {"ours": "cellseg", "sahi": "SAHI", "whole": "the whole image at once"}


def write_report(raw: Raw, path: Path) -> str:
    """Write the report as Markdown and its plot beside it.

    Args:
        raw: The measurements by case: "slide SIDE" or "sahi SIDE".
        path: The file to write.

    Returns:
        The tables alone, for the terminal.
    """
    slides = sorted(
        (case for key, case in raw.items() if key.startswith("slide")),
        key=lambda case: case["side_px"],
    )
    compared = [case for key, case in sorted(raw.items()) if key.startswith("sahi")]
    growth = "\n".join([*_GROWTH_HEAD, *map(_write_slide, slides)])
    parts = "\n".join([*_PARTS_HEAD, *map(_write_parts, slides)])
    sahi = "\n\n".join(map(_write_comparison, compared)) or "Not measured."
    verdict = _judge(slides)
    notes = sorted({(case["date"], case["machine"], case["setting"]) for case in raw.values()})
    measured = "\n".join(f"* {day}: {machine}. {setting}." for day, machine, setting in notes)
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_growth(slides, path.parent / "images" / "tiled_prediction.png")
    path.write_text(
        TEXT.format(growth=growth, verdict=verdict, parts=parts, sahi=sahi, measured=measured),
        "utf-8",
    )
    return f"{growth}\n\n{verdict}\n\n{parts}\n\n{sahi}"


def draw_growth(slides: list[dict[str, Any]], path: Path) -> None:
    """Draw wall time and peak memory against the area, one above the other."""
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(7, 7), sharex=True)
    areas = [_area(case) for case in slides]
    walls = [_value(case, "wall_s") for case in slides]
    upper.plot(areas, walls, "o-", label="wall time")
    upper.plot(areas, [_value(case, "network_s") for case in slides], "s--", label="in the network")
    if areas:
        line = np.array([min(areas), max(areas)])
        upper.plot(line, line * walls[-1] / areas[-1], "k:", label="linear in area")
    upper.set(ylabel="s", yscale="log", xscale="log")
    upper.legend()
    lower.plot(areas, [_value(case, "peak_gb", max) for case in slides], "o-", label="peak")
    lower.plot(areas, [_value(case, "before_gb") for case in slides], "s--", label="before")
    lower.axhline(_MOST_GB, color="tab:red", linestyle=":", label="limit")
    lower.set(ylabel="resident memory, GB", xlabel="megapixels", ylim=(0, None))
    lower.legend()
    for axis in (upper, lower):
        axis.grid(alpha=0.3)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _area(case: dict[str, Any]) -> float:
    """Return a slide's area in megapixels."""
    return case["side_px"] ** 2 / 1e6


def _value(case: dict[str, Any], name: str, choose: Any = median) -> float:
    """Return one number of a case, of all its measurements."""
    return choose([measurement[name] for measurement in case["measurements"]])


def _write_slide(case: dict[str, Any]) -> str:
    """Write one slide's line of the table of growth."""
    wall, network = _value(case, "wall_s"), _value(case, "network_s")
    tiles, background = (int(_value(case, name)) for name in ("tiles", "background"))
    done, cells = tiles - background, _value(case, "cells")
    columns = (
        f"{case['side_px']:,} px",
        f"{case['drawn_cells']:,}",
        f"{done:,} of {tiles:,} ({done / tiles:.0%})",
        f"{cells:,.0f}",
        f"{wall:.1f} s",
        f"{wall / max(done, 1):.2f} s",
        f"{wall / _area(case):.2f} s",
        f"{1 - network / wall:.1%}",
        f"{cells / wall:.0f}",
        f"{_value(case, 'peak_gb', max):.2f} GB",
    )
    return "| " + " | ".join(columns) + " |"


def _write_parts(case: dict[str, Any]) -> str:
    """Write where one slide's time went."""
    names = ("network_s", "merging_s", "writing_s")
    parts = [_value(case, name) for name in names]
    rest = _value(case, "wall_s") - sum(parts)
    columns = [f"{part:.2f} s" for part in (*parts, rest)]
    return f"| {case['side_px']:,} px | " + " | ".join(columns) + " |"


def _judge(slides: list[dict[str, Any]]) -> str:
    """Say which of the aims the slides meet."""
    if not slides:
        return ""
    beyond = max(1 - _value(case, "network_s") / _value(case, "wall_s") for case in slides)
    peak = max(_value(case, "peak_gb", max) for case in slides)
    lines = [
        f"* Beyond the network: at most {beyond:.1%} of the wall time (aim: under "
        f"{_MOST_BEYOND:.0%}): {_yes(beyond < _MOST_BEYOND)}.",
        f"* Peak memory: at most {peak:.2f} GB (aim: under {_MOST_GB:g} GB): "
        f"{_yes(peak < _MOST_GB)}.",
    ]
    if len(slides) > 1:
        rates = [_value(case, "wall_s") / _processed(case) for case in slides]
        factor = np.polyfit(
            np.log([_area(case) for case in slides]),
            np.log([_value(case, "wall_s") for case in slides]),
            1,
        )[0]
        peaks = [_value(case, "peak_gb", max) for case in slides]
        lines.append(
            f"* Growth: time goes with area to the power {factor:.2f}, time a predicted tile from "
            f"{min(rates):.2f} to {max(rates):.2f} s; peak memory from {min(peaks):.2f} to "
            f"{max(peaks):.2f} GB over a {_area(slides[-1]) / _area(slides[0]):.0f}-fold area."
        )
    return "\n".join(lines)


def _processed(case: dict[str, Any]) -> float:
    """Return how many tiles went through the network."""
    return max(_value(case, "tiles") - _value(case, "background"), 1)


def _yes(is_met: bool) -> str:
    """Write whether an aim is met."""
    return "met" if is_met else "**not met**"


def _write_comparison(case: dict[str, Any]) -> str:
    """Write the table beside SAHI."""
    lines = [
        f"{case['side_px']:,} x {case['side_px']:,} px, all tissue, {case['drawn_cells']:,} cells:",
        "",
        "| | wall | beyond the network | cells | matched | covering pairs | cut | peak |",
        "|---|---|---|---|---|---|---|---|",
    ]
    agreements = case["agreements"]
    for how, runs in case["runs"].items():
        wall = median(run["wall_s"] for run in runs)
        network = median(run["network_s"] for run in runs)
        found = agreements.get(how)
        covering = next(iter(agreements.values()))["whole_covering"] if agreements else "-"
        agreed = (
            (
                f"{found['matched'] / max(found['whole'], 1):.2%}",
                found["tiled_covering"],
                found["cut"],
            )
            if found
            else ("-", covering, "-")
        )
        lines.append(
            f"| {_NAMES[how]} | {wall:.1f} s | {wall - network:.1f} s ({1 - network / wall:.0%}) "
            f"| {runs[0]['cells']:,} | {agreed[0]} | {agreed[1]} | {agreed[2]} "
            f"| {max(run['peak_gb'] for run in runs):.2f} GB |"
        )
    return "\n".join(lines)


_GROWTH_HEAD = [
    "| side | cells drawn | tiles predicted | cells found | wall | a predicted tile "
    "| a megapixel | beyond the network | cells/s | peak memory |",
    "|---|---|---|---|---|---|---|---|---|---|",
]
_PARTS_HEAD = [
    "| side | network | merging | writing | reading that was waited for, and the rest |",
    "|---|---|---|---|---|",
]
TEXT = """# Tiled prediction

Written by `python benchmarks/tiled_prediction.py`; every single measurement stands in
`tiled_prediction.json` beside it. A slide is drawn tile by tile: a band of tissue across the top,
the rest glass, whose tiles are skipped. Each measurement is made in a fresh process, as
`tools/predict.py` does: from the file to the written label TIFFs and GeoJSON.

{growth}

{verdict}

*Beyond the network* is all but the detector's own step (images in, masks as run lengths out). Tiles
are read in a thread beside it. Peak memory is that of the whole process in 1e9 bytes, Python,
PyTorch and weights included.

![Time and memory against area](images/tiled_prediction.png)

{parts}

## Beside SAHI

SAHI's sliced prediction with the same network, slices and score threshold, otherwise at its
defaults, in memory and without outputs. *Matched*, *covering pairs* and *cut* compare with the
whole image's prediction, as `benchmarks/seams.py` does.

{sahi}

## Measured

{measured}
"""
