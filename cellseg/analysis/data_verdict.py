"""Say in a few sentences whether a data set can be trained on, and what to correct first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cellseg.analysis.data_report import DataFacts

_FEW_CELLS = 50  # of a class; fewer are rarely learned
_FEW_VALIDATION_CELLS = 100  # fewer give a score that one image can move by several hundredths
_LARGE_SHARE = 0.1  # of the cells
_TINY = 0.05
_SIZE_RATIO = 3.0  # between the median cells of images


@dataclass(frozen=True)
class DataVerdict:
    """What to think of a data set.

    Attributes:
        must_not_train: Whether something has to be corrected before training.
        warnings: What looks wrong, a sentence each, with what to do; empty if nothing does.
        num_images: Images.
        num_cells: Cells.
    """

    must_not_train: bool
    warnings: tuple[str, ...]
    num_images: int
    num_cells: int

    @property
    def lines(self) -> list[str]:
        """The verdict in one sentence, and the warnings below it."""
        size = f"{self.num_images} images with {self.num_cells:,} cells"
        if self.must_not_train:
            first = f"Correct this before training on these {size}:"
        elif self.warnings:
            first = f"The {size} can be trained on, but look at this first:"
        else:
            first = f"The {size} look fine."
        return [first, *(f"  - {warning}" for warning in self.warnings)]


def judge_data(facts: DataFacts) -> DataVerdict:
    """Assess a data set by what `describe_data` found.

    Args:
        facts: The data set.

    Returns:
        The verdict.
    """
    total = len(facts.cells.labels)
    severe = _find_severe(facts)
    warnings = [*severe, *_find_rare_classes(facts), *_find_odd_cells(facts)]
    warnings += _find_uneven_images(facts)
    return DataVerdict(bool(severe), tuple(warnings), len(facts.images), total)


def _find_severe(facts: DataFacts) -> list[str]:
    """Find what makes a training worthless."""
    found = []
    if not len(facts.cells.labels):
        found.append("There is no cell at all: the labels are empty, or lie elsewhere.")
    checked = [image for image in facts.images if not np.isnan(image.stain_contrast)]
    swapped = sum(image.looks_swapped for image in checked)
    if 2 * swapped > len(checked):
        found.append(
            f"Red and blue seem to be swapped in {swapped} of {len(checked)} stained images: give "
            '--channel-order bgr to `cellseg new`, or set channel_order = "bgr" in the config.'
        )
    return found


def _find_rare_classes(facts: DataFacts) -> list[str]:
    """Find classes, and validation parts, with too few cells."""
    found = []
    for name, count in zip(facts.class_names, facts.counts.sum(axis=0).tolist(), strict=True):
        if 0 < count < _FEW_CELLS:
            found.append(f"The class {name} has {count} cells; annotate at least {_FEW_CELLS}.")
        elif not count and len(facts.cells.labels):
            found.append(f"The class {name} has no cell; annotate some, or leave the class out.")
    if facts.parts:
        held_out = facts.parts.get("val", facts.parts.get("fold 0"))
        count = 0 if held_out is None else int(facts.counts[held_out].sum())
        if count < _FEW_VALIDATION_CELLS:
            found.append(
                f"The validation images hold only {count} cells, so the scores are uncertain: "
                f"annotate at least {_FEW_VALIDATION_CELLS}, or use `cellseg cross-validate`."
            )
    return found


def _find_odd_cells(facts: DataFacts) -> list[str]:
    """Find many cells in pieces, and many tiny ones."""
    cells, total = facts.cells, max(len(facts.cells.labels), 1)
    found = []
    pieces = int(np.count_nonzero(cells.pieces > 1))
    if pieces > _LARGE_SHARE * total:
        found.append(
            f"{pieces:,} of {total:,} cells are in several pieces; if one label stands for many "
            "cells, make the project or the data again with --connected-components."
        )
    tiny = int(np.count_nonzero(cells.areas < facts.tiny_px))
    if tiny > _TINY * total:
        found.append(
            f"{tiny:,} of {total:,} cells have fewer than {facts.tiny_px} px; these are "
            "mostly accidental: see suspicious_cells.csv."
        )
    return found


def _find_uneven_images(facts: DataFacts) -> list[str]:
    """Find images without cells, and those whose cells differ much in size."""
    counts = facts.counts.sum(axis=1)
    found = []
    empty = [image.name for image, count in zip(facts.images, counts, strict=True) if not count]
    if empty and len(empty) < len(facts.images):
        found.append(
            f"{len(empty)} of {len(facts.images)} images have no cell ({', '.join(empty[:3])}): "
            "remove those that were not annotated."
        )
    medians = [
        float(np.median(np.sqrt(facts.cells.areas[facts.cells.images == index])))
        for index, count in enumerate(counts.tolist())
        if count >= 5
    ]
    if medians and max(medians) > _SIZE_RATIO * min(medians):
        found.append(
            f"The median cell is {max(medians) / min(medians):.1f} times as wide in one image as "
            "in another: bring all images to one magnification."
        )
    return found
