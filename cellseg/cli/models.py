"""List the models that can be used by name.

cellseg models
cellseg models nuclei-he        # where it is, and what its card says

Models are looked for in the installed package, in models/ of a checkout, and in the folders that
the environment variable CELLSEG_MODELS names.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from cellseg.cli.running import write_result
from cellseg.errors import CellsegError
from cellseg.model_files import (
    CARD_NAME,
    ModelFacts,
    ModelFolderError,
    find_model,
    list_models,
    read_model_facts,
)

_HEADER = ("name", "classes", "size", "license", "scores")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the listing."""
    parser.add_argument("name", nargs="?", help="show the card of this model instead of the list")


def main(args: argparse.Namespace) -> None:
    """List the models, or show one's card."""
    if args.name is not None:
        write_result(describe_model(args.name))
        return
    rows: list[tuple[str, ...]] = [_HEADER]
    for name, folder in list_models().items():
        try:
            rows.append(_to_row(name, read_model_facts(folder)))
        except ModelFolderError as error:
            logging.getLogger("cellseg").warning("%s", error)
    if len(rows) == 1:
        raise CellsegError(
            "No model comes with this installation; name folders of models in the environment "
            "variable CELLSEG_MODELS."
        )
    write_result(format_table(rows))


def describe_model(name: str) -> str:
    """Write where a model is, its facts, and its card."""
    facts = read_model_facts(find_model(name))
    pairs = zip(_HEADER, _to_row(facts.name, facts), strict=True)
    lines = [f"{title}: {value}" for title, value in (("folder", facts.folder), *pairs)]
    card = facts.folder / CARD_NAME
    if card.is_file():
        lines += ["", card.read_text(encoding="utf-8", errors="replace").strip()]
    return "\n".join(lines)


def format_table(rows: Sequence[tuple[str, ...]]) -> str:
    """Write rows with columns side by side."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _to_row(name: str, facts: ModelFacts) -> tuple[str, ...]:
    """Write one model as a row."""
    scores = ", ".join(f"{metric} {value:.3g}" for metric, value in facts.scores.items())
    size = f"{facts.num_bytes / 1e6:.1f} MB"
    return name, ", ".join(facts.classes), size, facts.license, scores or "not stated"
