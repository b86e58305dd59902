"""Split images into folds that are the same in every run and hold every class.

Pure, save for `read_groups`. The split depends on image names, class presence and groups only,
never on the order in which images are listed.
"""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellseg.errors import CellDataError
from cellseg.fileio import read_text

_MAX_STEPS = 5_000


@dataclass(frozen=True)
class FoldAssignment:
    """Folds of N images, and the classes that could not be put into every fold.

    `folds` (N,) int64 from 0 on; `uncovered` holds class indices, empty when all is well.
    """

    folds: NDArray[np.int64]
    uncovered: tuple[int, ...]


def assign_folds(
    names: Sequence[str],
    presence: NDArray[np.bool_],
    num_folds: int,
    groups: Mapping[str, str] | None = None,
) -> FoldAssignment:
    """Assign each image to a fold.

    First every class is spread so that each fold holds it, by a backtracking search that finds
    such a spread if there is one, within a bound on its steps. Then the other images go where their
    rarest class, and then images in general, are fewest. Last the fold sizes are evened.

    Args:
        names: N unique image names.
        presence: (N, C) whether an image holds a class.
        num_folds: Number of folds, at least 2.
        groups: Group, such as a patient, of each image name; images of a group share a fold. None
            makes each image its own group.

    Returns:
        The folds. A class is `uncovered` if some fold lacks it although any image holds it.

    Raises:
        ValueError: If there are fewer groups than folds, or num_folds is less than 2.
    """
    if num_folds < 2:
        raise ValueError(f"num_folds must be 0 (no split) or at least 2, not {num_folds}.")
    group_of = [groups[name] if groups is not None else name for name in names]
    units = sorted(set(group_of), key=_shuffle_key)
    if len(units) < num_folds:
        raise ValueError(
            f"{len(units)} images or groups cannot fill {num_folds} folds; lower num_folds."
        )
    unit_index = {unit: index for index, unit in enumerate(units)}
    unit_of = np.array([unit_index[group] for group in group_of])  # (N,)
    unit_presence = np.zeros((len(units), presence.shape[1]), dtype=bool)  # (U, C)
    np.logical_or.at(unit_presence, unit_of, presence)
    sizes = np.bincount(unit_of, minlength=len(units))  # (U,)
    fold_of = _cover_classes(unit_presence, num_folds)
    _fill_folds(fold_of, unit_presence, sizes, num_folds)
    _even_sizes(fold_of, unit_presence, sizes, num_folds)
    lacking = (_count_classes(fold_of, unit_presence, num_folds) == 0).any(axis=0)
    uncovered = np.flatnonzero(lacking & presence.any(axis=0))
    return FoldAssignment(fold_of[unit_of], tuple(uncovered.tolist()))


def read_groups(path: str | Path) -> dict[str, str]:
    """Read which group, such as a patient, each image belongs to.

    Args:
        path: JSON object of image name to group, or a text file of `name,group` (or tab-separated)
            lines; a header line does no harm.

    Returns:
        Group by image name.

    Raises:
        CellDataError: If the file cannot be read, or lists an image with two groups.
    """
    path = Path(path)
    try:
        text = read_text(path, "utf-8-sig")
        pairs = list(json.loads(text).items()) if path.suffix == ".json" else _parse_rows(text)
    except (OSError, ValueError, AttributeError, RecursionError, csv.Error) as error:
        raise CellDataError(
            f"{path}: cannot be read as groups ({error}); write one 'name,group' line an image."
        ) from error
    groups: dict[str, str] = {}
    for name, group in pairs:
        if isinstance(group, bool) or not isinstance(group, str | int | float):
            raise CellDataError(
                f"{path}: the group of image {name!r:.200} is neither text nor a number."
            )
        if groups.setdefault(name, str(group)) != str(group):
            raise CellDataError(f"{path}: lists image {name!r} with two groups; keep one.")
    return groups


def _parse_rows(text: str) -> list[tuple[str, str]]:
    """Parse comma- or tab-separated lines of two fields; raise ValueError for another number."""
    first_line = text.split("\n", 1)[0]
    rows = csv.reader(text.splitlines(), delimiter="\t" if "\t" in first_line else ",", strict=True)
    pairs = []
    for number, row in enumerate(rows, start=1):
        if not any(field.strip() for field in row):
            continue
        if len(row) != 2:
            raise ValueError(f"line {number} has {len(row)} fields, not 2")
        pairs.append((row[0].strip(), row[1].strip()))
    return pairs


def _shuffle_key(name: str) -> tuple[str, str]:
    """Order names as if at random, yet the same in every run and on every machine."""
    return hashlib.sha256(name.encode()).hexdigest(), name


def _cover_classes(presence: NDArray[np.bool_], num_folds: int) -> NDArray[np.int64]:
    """Place some units so that each class that enough units hold lies in every fold.

    Args:
        presence: (U, C) whether a unit holds a class.
        num_folds: Number of folds.

    Returns:
        (U,) fold of each placed unit, -1 for the others. Where no complete spread is found within
        the bound, the best one met.
    """
    wanted = presence & (presence.sum(axis=0) >= num_folds)  # (U, C)
    fold_of = np.full(len(presence), -1, dtype=np.int64)
    best = fold_of.copy()
    best_missing = int(wanted.any(axis=0).sum()) * num_folds
    stack = [_next_moves(fold_of, wanted, num_folds)]
    placed: list[int] = []
    for _ in range(_MAX_STEPS):
        if best_missing == 0 or not stack:
            break
        if not stack[-1]:
            stack.pop()
            if placed:
                fold_of[placed.pop()] = -1
            continue
        unit, fold = stack[-1].pop()
        fold_of[unit] = fold
        placed.append(unit)
        counts = _count_classes(fold_of, wanted, num_folds)
        missing = int((counts[:, wanted.any(axis=0)] == 0).sum())
        if missing < best_missing:
            best, best_missing = fold_of.copy(), missing
        stack.append(_next_moves(fold_of, wanted, num_folds))
    return best


def _next_moves(
    fold_of: NDArray[np.int64], wanted: NDArray[np.bool_], num_folds: int
) -> list[tuple[int, int]]:
    """List the placements of the class with the least slack, the one to try first at the end.

    The list is empty when nothing is missing, or when some class can no longer be completed.
    """
    missing = _count_classes(fold_of, wanted, num_folds) == 0  # (F, C)
    missing[:, ~wanted.any(axis=0)] = False
    is_free = fold_of < 0
    slack = wanted[is_free].sum(axis=0) - missing.sum(axis=0)  # (C,)
    open_classes = np.flatnonzero(missing.any(axis=0))
    if len(open_classes) == 0 or slack[open_classes].min() < 0:
        return []
    tightest = open_classes[np.argmin(slack[open_classes])]
    fold = int(np.flatnonzero(missing[:, tightest])[0])
    units = np.flatnonzero(is_free & wanted[:, tightest])
    wasted = (wanted[units] & ~missing[fold]).sum(axis=1)
    return [(int(units[i]), fold) for i in np.argsort(wasted, kind="stable")[::-1]]


def _count_classes(
    fold_of: NDArray[np.int64], presence: NDArray[np.bool_], num_folds: int
) -> NDArray[np.int64]:
    """Count, as (F, C), the placed units of each fold that hold each class."""
    counts = np.zeros((num_folds, presence.shape[1]), dtype=np.int64)
    placed = fold_of >= 0
    np.add.at(counts, fold_of[placed], presence[placed].astype(np.int64))
    return counts


def _fill_folds(
    fold_of: NDArray[np.int64],
    presence: NDArray[np.bool_],
    sizes: NDArray[np.int64],
    num_folds: int,
) -> None:
    """Place the other units, rarest class first, where that class and then images are fewest."""
    totals = presence.sum(axis=0)
    never = np.iinfo(np.int64).max
    rarest = np.where(presence, totals, never).min(axis=1, initial=never)  # (U,)
    counts = _count_classes(fold_of, presence, num_folds)
    loads = np.bincount(fold_of[fold_of >= 0], sizes[fold_of >= 0], num_folds)
    for unit in np.lexsort((-sizes, rarest)):
        if fold_of[unit] >= 0:
            continue
        held = np.flatnonzero(presence[unit])
        order = [loads, counts[:, held[np.argmin(totals[held])]]] if len(held) else [loads]
        fold = int(np.lexsort(order)[0])
        fold_of[unit] = fold
        counts[fold] += presence[unit]
        loads[fold] += sizes[unit]


def _even_sizes(
    fold_of: NDArray[np.int64],
    presence: NDArray[np.bool_],
    sizes: NDArray[np.int64],
    num_folds: int,
) -> None:
    """Move units from the largest to the smallest fold while no class leaves a fold by that."""
    while True:
        loads = np.bincount(fold_of, sizes, num_folds)
        largest, smallest = int(np.argmax(loads)), int(np.argmin(loads))
        counts = _count_classes(fold_of, presence, num_folds)[largest]
        is_last = (presence & (counts == 1)).any(axis=1)
        movable = (fold_of == largest) & ~is_last & (sizes < loads[largest] - loads[smallest])
        if not movable.any():
            return
        fold_of[np.flatnonzero(movable)[-1]] = smallest
