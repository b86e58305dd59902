"""Write what was measured on tiled prediction: tables and a plot of growth."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from frame import Raw, write_page, write_table
from matplotlib.figure import Figure

from cellseg.analysis.curves import save_figure

_MOST_REST, _MOST_GB = 0.15, 2.0
_NAMES = {"ours": "cellseg", "sahi": "SAHI", "whole": "the whole image at once"}
_GROWTH_HEAD = (
    *("side", "cells drawn", "tiles predicted", "cells found", "wall", "per predicted tile"),
    *("per megapixel", "everything but the network", "cells/s", "peak memory"),
)
_PARTS_HEAD = ("side", "network", "merging", "writing", "waiting for reads, and everything else")
_SAHI_HEAD = (
    *("", "wall", "everything but the network", "cells", "matched", "covering pairs", "cut"),
    "peak",
)
Case = dict[str, Any]


def write_report(raw: Raw, path: Path) -> str:
    """Write the page and its plot.

    Args:
        raw: The measurements by case: "slide SIDE", "model NAME@SCALE SIDE" or "sahi SIDE".
        path: The file to write.

    Returns:
        The page.
    """
    slides = sorted(_select(raw, "slide"), key=lambda case: case["side_px"])
    body = TEXT.format(
        growth=write_table(_GROWTH_HEAD, map(_growth_row, slides)),
        verdict=_summarize(slides) if slides else "",
        parts=write_table(_PARTS_HEAD, map(_parts_row, slides)),
        models=_write_models(raw),
        sahi="\n\n".join(map(_write_comparison, _select(raw, "sahi"))) or "Not measured.",
    )
    draw_growth(slides, path.parent / "images" / "tiled_prediction.png")
    return write_page(path, "Tiled prediction", "tiled_prediction.py", body, raw=raw)


def draw_growth(slides: list[Case], path: Path) -> None:
    """Draw wall time and peak memory against the area, one above the other."""
    figure = Figure(figsize=(7, 7), dpi=110)
    upper, lower = figure.subplots(2, 1, sharex=True)
    areas = [_area(case) for case in slides]
    walls = _values(slides, "wall_s")
    upper.plot(areas, walls, "o-", label="wall time")
    upper.plot(areas, _values(slides, "network_s"), "s--", label="in the network")
    if areas:
        line = np.array([min(areas), max(areas)])
        upper.plot(line, line * walls[-1] / areas[-1], "k:", label="linear in area")
    upper.set(ylabel="s", yscale="log", xscale="log")
    lower.plot(areas, _values(slides, "peak_gb", max), "o-", label="peak")
    lower.plot(areas, _values(slides, "before_gb"), "s--", label="before")
    lower.axhline(_MOST_GB, color="tab:red", linestyle=":", label="limit")
    lower.set(ylabel="resident memory, GB", xlabel="megapixels", ylim=(0, None))
    for axis in (upper, lower):
        axis.legend()
        axis.grid(alpha=0.3)
    figure.tight_layout()
    save_figure(figure, path)


def _select(raw: Raw, kind: str) -> list[Case]:
    """Return the cases of a kind, in the order of their names."""
    return [case for key, case in sorted(raw.items()) if key.startswith(kind)]


def _area(case: Case) -> float:
    """Return a slide's area in megapixels."""
    return case["side_px"] ** 2 / 1e6


def _value(case: Case, name: str, choose: Callable[[list], float] = median) -> float:
    """Return one number of a case from all its measurements."""
    return choose([measurement[name] for measurement in case["measurements"]])


def _values(
    cases: Iterable[Case], name: str, choose: Callable[[list], float] = median
) -> list[float]:
    """Return one number of each case."""
    return [_value(case, name, choose) for case in cases]


def _predicted(case: Case) -> int:
    """Return how many tiles went through the network."""
    return int(_value(case, "tiles") - _value(case, "background"))


def _growth_row(case: Case) -> Sequence[str]:
    """Make a slide's row of the table of growth."""
    wall, cells, tiles = (_value(case, name) for name in ("wall_s", "cells", "tiles"))
    done = _predicted(case)
    return (
        f"{case['side_px']:,} px",
        f"{case['drawn_cells']:,}",
        f"{done:,} of {tiles:,.0f} ({done / tiles:.0%})",
        f"{cells:,.0f}",
        f"{wall:.1f} s",
        f"{wall / max(done, 1):.2f} s",
        f"{wall / _area(case):.2f} s",
        f"{1 - _value(case, 'network_s') / wall:.1%}",
        f"{cells / wall:.0f}",
        f"{_value(case, 'peak_gb', max):.2f} GB",
    )


def _write_models(raw: Raw) -> str:
    """Write the table of the slides that other models than the demo's predicted."""
    cases = [(key.split()[1], case) for key, case in sorted(raw.items()) if key.startswith("model")]
    rows = [(name.replace("@", ", scale "), *_growth_row(case)) for name, case in cases]
    return write_table(("model", *_GROWTH_HEAD), rows) if rows else "Not measured."


def _parts_row(case: Case) -> Sequence[str]:
    """Make a slide's row of the table of where its time went."""
    parts = [_value(case, name) for name in ("network_s", "merging_s", "writing_s")]
    parts.append(_value(case, "wall_s") - sum(parts))
    return [f"{case['side_px']:,} px", *(f"{part:.2f} s" for part in parts)]


def _summarize(slides: list[Case]) -> str:
    """Say which of the targets the slides meet."""
    walls, peaks = _values(slides, "wall_s"), _values(slides, "peak_gb", max)
    networks = _values(slides, "network_s")
    rest = max(1 - network / wall for network, wall in zip(networks, walls, strict=True))
    lines = [
        f"* Everything but the network: at most {rest:.1%} of the wall time (target: under "
        f"{_MOST_REST:.0%}): {_write_met(rest < _MOST_REST)}.",
        f"* Peak memory: at most {max(peaks):.2f} GB (target: under {_MOST_GB:g} GB): "
        f"{_write_met(max(peaks) < _MOST_GB)}.",
    ]
    if len(slides) > 1:
        rates = [wall / max(_predicted(case), 1) for wall, case in zip(walls, slides, strict=True)]
        areas = [_area(case) for case in slides]
        power = np.polyfit(np.log(areas), np.log(walls), 1)[0]
        lines.append(
            f"* Growth: time grows with area to the power {power:.2f}, time per predicted tile is "
            f"{min(rates):.2f} to {max(rates):.2f} s, peak memory {min(peaks):.2f} to "
            f"{max(peaks):.2f} GB over a {areas[-1] / areas[0]:.0f}-fold area."
        )
    return "\n".join(lines)


def _write_met(met: bool) -> str:
    """Write whether a target is met, in a sentence."""
    return "met" if met else "**not met**"


def _write_comparison(case: Case) -> str:
    """Write the table of a comparison with SAHI."""
    agreements, rows = case["agreements"], []
    for how, runs in case["runs"].items():
        wall, network = (median(run[name] for run in runs) for name in ("wall_s", "network_s"))
        agreed = [
            "-",
            next(iter(agreements.values()))["whole_covering"] if agreements else "-",
            "-",
        ]
        if found := agreements.get(how):
            share = found["matched"] / max(found["whole"], 1)
            agreed = [f"{share:.2%}", found["tiled_covering"], found["cut"]]
        rest = f"{wall - network:.1f} s ({1 - network / wall:.0%})"
        peak = f"{max(run['peak_gb'] for run in runs):.2f} GB"
        rows.append([_NAMES[how], f"{wall:.1f} s", rest, f"{runs[0]['cells']:,}", *agreed, peak])
    side = f"{case['side_px']:,} x {case['side_px']:,} px"
    head = f"{side}, all tissue, {case['drawn_cells']:,} cells:"
    return f"{head}\n\n{write_table(_SAHI_HEAD, rows)}"


TEXT = """A slide is drawn tile by tile: a band of tissue across the top, the rest glass, whose
tiles are skipped. Each measurement runs in a fresh process, as `tools/predict.py` does: from the
file to the written label TIFFs and GeoJSON.

{growth}

{verdict}

*The network* is the detector's own step (images in, masks as run lengths out). Tiles are read in a
thread beside it. Peak memory is that of the whole process in 1e9 bytes, including Python, PyTorch
and weights.

![Time and memory against area](images/tiled_prediction.png)

{parts}

## Other models

With the limits of proposals and cells that each model comes with. The cells are drawn ones, unlike
those that it was trained on.

{models}

## Beside SAHI

SAHI's sliced prediction with the same network, slices and score threshold, otherwise with its
default settings, in memory and without outputs. *Matched*, *covering pairs* and *cut* compare with
the prediction of the whole image, as `benchmarks/seams.py` does.

{sahi}
"""
