"""The pieces of the page that are plain HTML; every name in them is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from cellseg.web.found_cells import DOWNLOADS, ClassCount, FoundCells


def make_status(text: str, is_error: bool = False) -> str:
    """Say what is going on, or what went wrong."""
    kind, role = ("error", "alert") if is_error else ("note", "status")
    return f'<p class="cells-{kind}" role="{role}">{escape(text)}</p>' if text else ""


def make_address(token: str, key: str, kind: str, score_thr: float, scores: bool = False) -> str:
    """Return the address, from the page's root, of a drawing or a download."""
    return (
        f"cells/{quote(token)}/{quote(key)}/{quote(kind)}?score={score_thr:.4f}"
        f"&scores={int(scores)}"
    )


def make_picture(shown: FoundCells, token: str, score_thr: float, with_scores: bool) -> str:
    """Show the image with its outlines, linked to itself at full size."""
    address = escape(make_address(token, shown.key, "overlay", score_thr, with_scores))
    count = len(shown.cells)
    words = f"{shown.name}: {count} {'cell' if count == 1 else 'cells'} outlined by class"
    return (
        f'<figure class="cells-picture"><a href="{address}" target="_blank" rel="noopener" '
        f'title="Open the drawing by itself"><img src="{address}" alt="{escape(words)}"></a>'
        "</figure>"
    )


def make_counts(counts: Sequence[ClassCount]) -> str:
    """Show how many cells each class has, beside its color."""
    rows = [
        f'<tr><td><span class="cells-color" style="background: rgb{count.color}"></span>'
        f"{escape(count.name)}</td><td>{count.cells:,}</td></tr>"
        for count in counts
    ]
    total = sum(count.cells for count in counts)
    rows.append(f'<tr class="cells-total"><td>all cells</td><td>{total:,}</td></tr>')
    head = '<thead><tr><th scope="col">class</th><th scope="col">cells</th></tr></thead>'
    return f'<table class="cells-counts">{head}<tbody>{"".join(rows)}</tbody></table>'


def make_downloads(shown: FoundCells, token: str, score_thr: float) -> str:
    """Link the files, which are written when they are asked for."""
    links = [
        f'<a class="cells-download" download id="download-{kind}" '
        f'href="{escape(make_address(token, shown.key, kind, score_thr))}">{escape(name)}</a>'
        for kind, name in DOWNLOADS.items()
    ]
    return f'<nav class="cells-downloads" aria-label="Downloads">{"".join(links)}</nav>'
