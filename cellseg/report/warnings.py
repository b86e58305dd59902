"""Find what a reader of a report must be warned of before believing its figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cellseg.analysis.confusion import Confusion
from cellseg.analysis.training_logs import TrainingRun

_FEW_CELLS = 100  # with fewer, one image moves the scores by several hundredths
_FEW_OF_CLASS = 20
_FEW_IMAGES = 2
_WORSE = 0.03  # of AP50, between the best validation and the last one
_SCORE = "coco/segm_mAP_50"


def find_warnings(confusion: Confusion, num_images: int, run: TrainingRun | None) -> list[str]:
    """Find what is off, a sentence each, with what to do.

    Args:
        confusion: What became of the cells.
        num_images: Images that were compared.
        run: What training logged; None without a log.

    Returns:
        The sentences, the most important first; empty if nothing is off.
    """
    return [
        *_find_absent_classes(confusion),
        *_find_few(confusion, num_images),
        *_find_imbalance(confusion),
        *([] if run is None else _find_overfitting(run)),
    ]


def _find_absent_classes(confusion: Confusion) -> list[str]:
    """Find classes that are never found though they are there, or that are not there."""
    found = []
    for label, name in enumerate(confusion.class_names):
        cells = int(confusion.counts[label].sum())
        if cells and not confusion.counts[label, label]:
            found.append(
                f"The class {name} is never found ({cells:,} cells): annotate more of it, or train "
                "longer."
            )
    return found


def _find_few(confusion: Confusion, num_images: int) -> list[str]:
    """Find too few cells, or images, to trust the scores."""
    per_class = confusion.counts[:-1].sum(axis=1)
    total = int(per_class.sum())
    if total < _FEW_CELLS or num_images < _FEW_IMAGES:
        images = "1 image" if num_images == 1 else f"{num_images} images"
        return [
            f"The scores rest on {total:,} cells in {images} only: they may differ much on other "
            "images; annotate more, or run cellseg cross-validate."
        ]
    rare = [
        f"{name} ({count})"
        for name, count in zip(confusion.class_names, per_class.tolist(), strict=True)
        if 0 < count < _FEW_OF_CLASS
    ]
    if rare:
        return [f"Few annotated cells, so that scores are uncertain: {', '.join(rare)}."]
    return []


def _find_imbalance(confusion: Confusion) -> list[str]:
    """Find many more missed cells than false positives, or the reverse."""
    missed = int(confusion.counts[:-1, -1].sum())
    false_positives = int(confusion.counts[-1, :-1].sum())
    total = int(confusion.counts[:-1].sum())
    if missed > total / 4 and missed > 3 * false_positives:
        return ["Many cells are missed and few are wrong: try a lower minimum score."]
    if false_positives > total / 4 and false_positives > 3 * missed:
        return [
            "There are many false positives and few missed cells: try a higher minimum score, and "
            "check whether some of them are cells that were not annotated."
        ]
    return []


def _find_overfitting(run: TrainingRun) -> list[str]:
    """Find a validation score that fell, or that never rose above its start."""
    places, scores = run.series(_SCORE)
    if len(scores) < 2:
        return []
    best = int(np.argmax(scores))
    if scores[best] - scores[-1] < _WORSE:
        return []
    if best == 0:
        return [
            f"Training made the model worse: AP50 on validation was {scores[0]:.3f} at first and "
            f"{scores[-1]:.3f} at the end; use the model it started from, or a lower learning rate."
        ]
    return [
        f"The model overfits: AP50 on validation was {scores[best]:.3f} after "
        f"{places[best]:g} steps and {scores[-1]:.3f} at the end; train less, or on more images."
    ]


def summarize_warnings(warnings: Sequence[str]) -> str:
    """Say in a few words how many warnings there are."""
    if not warnings:
        return ""
    return "One thing to note:" if len(warnings) == 1 else f"{len(warnings)} things to note:"
