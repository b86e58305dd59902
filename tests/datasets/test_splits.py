"""Folds: the same in every run, every class in each, a patient on one side."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellseg.datasets.splits import assign_folds, read_groups
from cellseg.errors import CellDataError


def _presence(rows):
    return np.array(rows, dtype=bool)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_assign_folds_when_classes_are_frequent_then_in_every_fold(data):
    num_folds = data.draw(st.integers(2, 5))
    num_images = data.draw(st.integers(num_folds, 40))
    rates = data.draw(st.lists(st.sampled_from([0.03, 0.2, 0.6, 1.0]), min_size=1, max_size=4))
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    presence = rng.random((num_images, len(rates))) < rates
    names = [f"image{i}" for i in range(num_images)]
    assigned = assign_folds(names, presence, num_folds)
    assert set(assigned.folds) == set(range(num_folds))
    for k in range(len(rates)):
        covered = {fold for fold in range(num_folds) if presence[assigned.folds == fold, k].any()}
        is_uncovered = presence[:, k].any() and len(covered) < num_folds
        assert is_uncovered == (k in assigned.uncovered)
    if len(rates) == 1 and presence.sum() >= num_folds:
        assert assigned.uncovered == ()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.booleans()] * 3), min_size=2, max_size=7))
def test_assign_folds_when_some_spread_exists_then_found(rows):
    presence = _presence(rows)
    wanted = presence.sum(axis=0) >= 2
    exists = any(
        all(
            len({f for f, has in zip(folds, column, strict=True) if has}) == 2
            for column in presence[:, wanted].T
        )
        for folds in itertools.product(range(2), repeat=len(rows))
    )
    uncovered = assign_folds([str(i) for i in range(len(rows))], presence, 2).uncovered
    assert exists == (not set(uncovered) & set(np.flatnonzero(wanted)))


@pytest.mark.parametrize(
    ("num_folds", "rows"),
    [
        # Placing images one by one, rarest class first, misses a class here.
        (2, ["011", "100", "000", "001", "010", "100"]),
        (3, ["000", "011", "011", "100", "000", "110", "000"]),
        # Evening the folds' sizes would take a fold's last image of a class here.
        (2, ["100", "010", "100", "111", "110", "011"]),
        (2, ["0111", "0110", "1000", "0001", "0100", "1101", "1000", "0001"]),
    ],
)
def test_assign_folds_when_spread_is_tight_then_still_found(num_folds, rows):
    presence = _presence([[int(digit) for digit in row] for row in rows])
    names = [str(index) for index in range(len(rows))]
    too_rare = np.flatnonzero(presence.sum(axis=0) < num_folds)
    assert assign_folds(names, presence, num_folds).uncovered == tuple(too_rare)


def test_assign_folds_when_a_class_is_in_as_many_images_as_folds_then_one_each():
    presence = np.zeros((60, 2), dtype=bool)
    presence[:, 0] = True
    presence[[3, 17, 18, 19, 59], 1] = True
    assigned = assign_folds([f"{i:03}" for i in range(60)], presence, 5)
    assert sorted(assigned.folds[presence[:, 1]]) == [0, 1, 2, 3, 4]
    assert np.bincount(assigned.folds).tolist() == [12] * 5
    assert assigned.uncovered == ()


def test_assign_folds_when_order_changes_then_folds_of_names_do_not():
    rng = np.random.default_rng(0)
    names = [f"image{i}" for i in range(30)]
    presence = rng.random((30, 3)) < 0.3
    folds = dict(zip(names, assign_folds(names, presence, 4).folds, strict=True))
    order = rng.permutation(30)
    shuffled = [names[i] for i in order]
    again = assign_folds(shuffled, presence[order], 4).folds
    assert folds == dict(zip(shuffled, again, strict=True))


def test_assign_folds_when_rare_class_then_reported():
    presence = _presence([[1, 1], [1, 0], [1, 0], [1, 0]])
    assert assign_folds("abcd", presence, 3).uncovered == (1,)
    assert assign_folds("abcd", np.zeros((4, 2), bool), 2).uncovered == ()


def test_assign_folds_when_groups_then_each_on_one_side():
    names = [f"image{i}" for i in range(40)]
    groups = {name: f"patient{i % 9}" for i, name in enumerate(names)}
    presence = np.random.default_rng(1).random((40, 3)) < 0.5
    assigned = assign_folds(names, presence, 3, groups)
    for patient in set(groups.values()):
        assert (
            len({f for f, n in zip(assigned.folds, names, strict=True) if groups[n] == patient})
            == 1
        )
    assert assigned.uncovered == ()
    assert np.ptp(np.bincount(assigned.folds)) <= 5


@pytest.mark.parametrize("num_folds", [1, 5])
def test_assign_folds_when_folds_do_not_fit_then_error(num_folds):
    with pytest.raises(ValueError, match="folds"):
        assign_folds("abcd", np.ones((4, 1), bool), num_folds)


@pytest.mark.parametrize(
    ("file_name", "text"),
    [
        ("g.csv", "image,patient\na,p1\n\nb,p2\n"),
        ("g.txt", "a\tp1\nb\tp2"),
        ("g.json", '{"a": "p1", "b": "p2"}'),
    ],
)
def test_read_groups_when_csv_tsv_or_json_then_same(tmp_path, file_name, text):
    path = tmp_path / file_name
    path.write_text(text)
    groups = read_groups(path)
    assert (groups["a"], groups["b"]) == ("p1", "p2")


@pytest.mark.parametrize(
    ("file_name", "text"),
    [
        ("g.csv", "a,p1,x\n"),
        ("g.csv", "a,p1\na,p2\n"),
        ("g.csv", f"a,{'p' * 200_000}\n"),
        ("g.csv", 'a,"p1\nb,p2\n'),
        ("g.json", '{"a": null}'),
        ("g.json", '{"a": ["p1"]}'),
        ("g.json", "[1]"),
        ("g.json", "{"),
    ],
)
def test_read_groups_when_malformed_then_error_names_file(tmp_path, file_name, text):
    path = tmp_path / file_name
    path.write_text(text)
    with pytest.raises(CellDataError, match=rf"{file_name}: "):
        read_groups(path)
    with pytest.raises(CellDataError, match="absent"):
        read_groups(tmp_path / "absent.csv")
