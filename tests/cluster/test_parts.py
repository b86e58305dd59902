import zipfile

import numpy as np
import pytest

from cellseg.cluster.parts import PartStore, cut_rest
from cellseg.errors import CellsegError
from cellseg.inference.predictor import TileCells
from cellseg.structures.cells import Cells
from tests.inference.oracle import draw_label_map
from tests.robustness.crafted import describe_npy, make_npy, zip_zeros

NAMES = ("round", "odd")


@pytest.fixture
def found() -> TileCells:
    """Cells of two tiles of an image of 300 x 280 pixels, as after moving them there."""
    parts = []
    for tile, seed in ((2, 0), (5, 1)):
        label_map = draw_label_map(200, seed=seed)
        count = len(np.unique(label_map)) - 1
        scores = np.random.default_rng(seed).random(count).astype(np.float32)
        cells = Cells.from_label_map(label_map, np.arange(count) % 2, NAMES, scores=scores)
        parts.append((tile, cells.offset_to(70, 90, 300, 280)))
    return TileCells(parts, 7, 3)


def test_part_when_written_then_read_back_exactly(tmp_path, found) -> None:
    store = PartStore(tmp_path / "image" / "state", NAMES)
    store.write((4, 9), found, 300, 280)
    again = store.read([(4, 9)])
    assert (again.num_tiles, again.num_background) == (7, 3)
    assert [tile for tile, _ in again.parts] == [2, 5]
    for (_, cells), (_, before) in zip(again.parts, found.parts, strict=True):
        for name in ("boxes", "scores", "labels"):
            one, two = getattr(cells, name), getattr(before, name)
            assert one.dtype == two.dtype
            np.testing.assert_array_equal(one, two)
        assert cells.rles == before.rles
        assert cells.class_names == NAMES


def test_part_when_there_is_no_cell_then_its_tiles_still_count(tmp_path) -> None:
    store = PartStore(tmp_path / "image" / "state", NAMES)
    store.write((0, 2), TileCells([], 4, 4), 300, 280)
    assert store.read([(0, 2)]) == TileCells([], 4, 4)


def test_part_when_it_is_cut_off_then_the_error_names_it(tmp_path, found) -> None:
    store = PartStore(tmp_path / "image" / "state", NAMES)
    store.write((0, 2), found, 300, 280)
    (path,) = store.folder.iterdir()
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CellsegError, match=f"{path}.*remove the file and run"):
        store.read([(0, 2)])


@pytest.mark.parametrize("content", [describe_npy("(-4,)"), make_npy("(" * 100)])
def test_part_when_it_is_crafted_then_the_error_names_it(tmp_path, content) -> None:
    path = tmp_path / "00000000-00000001.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("facts.npy", content)
    with pytest.raises(CellsegError, match=r"00000001\.npz: .*run the same command again"):
        PartStore(tmp_path, NAMES).read([(0, 1)])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("lengths", lambda values: values + 1),
        ("labels", lambda values: values + 2),
        ("scores", lambda values: values * np.nan),
        ("boxes", lambda values: values[:-1]),
        ("counts", lambda values: values[:0]),
        ("ends", lambda values: values[::-1]),
    ],
)
def test_part_when_its_arrays_do_not_agree_then_the_error_names_it(
    tmp_path, found, name, change
) -> None:
    store = PartStore(tmp_path, NAMES)
    store.write((0, 1), found, 300, 280)
    path = tmp_path / "00000000-00000001.npz"
    arrays = dict(np.load(path))
    np.savez(path, **{**arrays, name: change(arrays[name])})
    with pytest.raises(CellsegError, match=r"00000001\.npz: "):
        store.read([(0, 1)])


def test_part_when_it_is_packed_then_not_unpacked(tmp_path) -> None:
    (tmp_path / "00000000-00000001.npz").write_bytes(zip_zeros("facts.npy", 2**24))
    with pytest.raises(CellsegError, match="it is packed"):
        PartStore(tmp_path, NAMES).read([(0, 1)])


def test_list_parts_when_some_overlap_then_the_later_are_left_out(tmp_path) -> None:
    store = PartStore(tmp_path / "image" / "state", NAMES)
    assert store.list_parts() == []
    for part in ((0, 3), (2, 5), (3, 6), (9, 12)):
        store.write(part, TileCells(), 10, 10)
    assert store.list_parts() == [(0, 3), (3, 6), (9, 12)]
    store.remove()
    assert not (tmp_path / "image").exists()


@pytest.mark.parametrize(
    ("num_batches", "done", "most", "parts"),
    [
        (10, [], 4, [(0, 3), (3, 7), (7, 10)]),
        (10, [(2, 5)], 10, [(0, 2), (5, 10)]),
        (6, [(0, 6)], 2, []),
        (0, [], 2, []),
        (5, [(4, 5)], 1, [(0, 1), (1, 2), (2, 3), (3, 4)]),
    ],
)
def test_cut_rest_when_parts_are_done_then_only_the_gaps_are_cut(
    num_batches, done, most, parts
) -> None:
    assert cut_rest(num_batches, done, most) == parts
