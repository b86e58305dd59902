"""COCO run-length encoding of crops and label maps, against pycocotools."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from cellseg.structures import rle as rle_module
from cellseg.structures.rle import (
    count_covered,
    decode_runs,
    encode_columns,
    encode_crop,
    encode_crops,
    encode_label_map,
    measure_label_map,
    measure_rles,
)
from cellseg.structures.runs import paint_runs

KNOWN_COUNTS = "nWW14W<3M3N2O0O2O000O10000O100001N100000O0100O2N2LjfZ4"


def coco_encode(mask: np.ndarray) -> dict:
    """Encode a full mask with pycocotools, counts as str."""
    coded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(coded["size"]), "counts": coded["counts"].decode()}


def place(crop: np.ndarray, x0: int, y0: int, height: int, width: int) -> np.ndarray:
    """Draw a crop in an empty image, pixel by pixel."""
    mask = np.zeros((height, width), dtype=bool)
    for y, x in np.argwhere(crop):
        if 0 <= y + y0 < height and 0 <= x + x0 < width:
            mask[y + y0, x + x0] = True
    return mask


def shapes(max_side: int):
    return st.tuples(st.integers(1, max_side), st.integers(1, max_side))


quick = settings(max_examples=60, deadline=None)
crops = hnp.arrays(bool, st.tuples(st.integers(0, 6), st.integers(0, 6)))
placed_crops = st.tuples(crops, st.integers(-5, 12), st.integers(-5, 12))
label_maps = hnp.arrays(
    np.int64, shapes(14), elements=st.sampled_from([0, 0, 1, 2, 7, 70_000, 2**31 + 5, -3])
)


@quick
@given(shape=shapes(12), placed=st.lists(placed_crops, max_size=5))
def test_encode_crops_when_placed_anywhere_then_equals_pycocotools(shape, placed):
    boxed = [np.asarray(part) for part, _, _ in placed]
    coded = encode_crops(boxed, [x for _, x, _ in placed], [y for _, _, y in placed], *shape)
    assert coded == [coco_encode(place(crop, x, y, *shape)) for crop, x, y in placed]
    assert coded == [encode_crop(crop, x, y, *shape) for crop, x, y in placed]
    assert all(type(one["counts"]) is str for one in coded)


def test_encode_crop_when_the_image_has_no_pixel_then_equals_pycocotools():
    coded = encode_crop(np.ones((2, 2), dtype=bool), 0, 0, 0, 4)
    assert coded == coco_encode(np.zeros((0, 4)))


@quick
@given(label_map=label_maps)
def test_encode_label_map_when_ids_are_any_then_equals_one_mask_at_a_time(label_map):
    ids, boxes, areas, rles = encode_label_map(label_map)
    assert ids.tolist() == sorted({int(v) for v in label_map.flat if v > 0})
    for cell, box, area, coded in zip(ids, boxes, areas, rles, strict=True):
        mask = label_map == cell
        ys, xs = np.nonzero(mask)
        assert coded == coco_encode(mask)
        assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        measured = measure_rles([coded])
        assert area == mask.sum() == measured[1][0]
        assert measured[0][0].tolist() == box.tolist()


@quick
@given(label_map=label_maps, ids=st.lists(st.sampled_from([1, 2, 5, 7, 70_000]), max_size=5))
def test_measure_label_map_when_ids_repeat_or_are_absent_then_equals_the_rles(label_map, ids):
    boxes, areas = measure_label_map(label_map, ids)
    coded = [coco_encode(label_map == cell) for cell in ids]
    assert boxes.tolist() == measure_rles(coded)[0].tolist()
    assert areas.tolist() == [int(coco_mask.area(one)) for one in coded]


def test_encode_label_map_when_ids_are_given_then_only_these_and_absent_ones_empty():
    label_map = np.array([[1, 1, 0], [0, 9, 9]], dtype=np.int32)
    ids, boxes, areas, rles = encode_label_map(label_map, ids=[9, 4, 9])
    assert ids.tolist() == [4, 9]
    assert boxes.tolist() == [[0, 0, 0, 0], [1, 1, 3, 2]]
    assert areas.tolist() == [0, 2]
    assert rles == [coco_encode(label_map == 4), coco_encode(label_map == 9)]


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (4, 0), (3, 5)])
def test_encode_label_map_when_there_is_no_cell_then_all_empty(shape):
    ids, boxes, areas, rles = encode_label_map(np.zeros(shape, dtype=np.uint16))
    assert (ids.shape, boxes.shape, areas.shape, rles) == ((0,), (0, 4), (0,), [])
    assert [part.shape for part in measure_rles(rles)] == [(0, 4), (0,)]


@pytest.mark.parametrize("bad", [np.zeros((2, 2)), np.zeros(4, dtype=int)])
def test_encode_label_map_when_not_an_integer_map_then_says_so(bad):
    with pytest.raises(ValueError, match="two-dimensional integer"):
        encode_label_map(bad)


@quick
@given(mask=hnp.arrays(bool, shapes(14)))
def test_decode_runs_when_coded_by_pycocotools_then_paints_the_mask(mask):
    runs = decode_runs([coco_encode(mask)])
    assert np.array_equal(paint_runs(runs, np.zeros(1), *mask.shape), mask)


@quick
@given(seed=st.integers(0, 1000))
def test_encode_crop_when_image_is_large_then_long_counts_survive(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(500, 3000, size=2)
    crop = rng.random((40, 30)) < 0.7
    x0, y0 = rng.integers(0, width - 30), rng.integers(0, height - 40)
    coded = encode_crop(crop, x0, y0, height, width)
    assert measure_rles([coded])[1] == crop.sum()
    full = coco_mask.decode(coded)
    assert np.array_equal(full[y0 : y0 + 40, x0 : x0 + 30], crop)
    assert full.sum() == crop.sum()


@quick
@given(label_map=label_maps)
def test_decode_runs_when_cells_do_not_overlap_then_inverts_encode_label_map(label_map):
    ids, _, _, rles = encode_label_map(label_map)
    got = paint_runs(decode_runs(rles), np.zeros(len(rles)), *label_map.shape)
    assert np.array_equal(np.concatenate(([0], ids))[got], np.where(label_map > 0, label_map, 0))


def test_encode_columns_when_a_box_leaves_the_image_then_says_so():
    with pytest.raises(ValueError, match="clip them first"):
        encode_columns(np.ones(4, dtype=bool), [[3, 0, 5, 2]], 4, 4)
    with pytest.raises(ValueError, match="4 pixels"):
        encode_columns(np.ones(4, dtype=bool), [[0, 0, 1, 2]], 4, 4)


@quick
@given(values=st.lists(st.integers(-(2**40), 2**40), min_size=1))
def test_base32_when_values_are_any_then_reads_what_it_wrote(values):
    text, _ = rle_module._write_base32(np.array(values))
    assert rle_module._read_base32(text.encode())[0].tolist() == values


def test_encode_label_map_when_given_the_known_cell_then_gives_the_known_vector(real_data: Path):
    folder = real_data / "hw3" / "train" / "hw3_official_sample"
    label_map = tifffile.imread(folder / "class2.tif").astype(np.int32)
    ids, _, _, rles = encode_label_map(label_map)
    assert rles[ids.tolist().index(10)] == {"size": [397, 482], "counts": KNOWN_COUNTS}


def test_encode_label_map_when_the_nest_is_dense_then_equals_pycocotools(real_data: Path):
    folder = real_data / "hw3" / "train" / "hgsc_nest_1500"
    label_map = tifffile.imread(folder / "class2.tif").astype(np.int32)
    ids, boxes, areas, rles = encode_label_map(label_map)
    assert np.array_equal([coco_mask.area(coded) for coded in rles], areas)
    for measured, expected in zip(measure_rles(rles), (boxes, areas), strict=True):
        assert np.array_equal(measured, expected)
    assert rles[::40] == [coco_encode(label_map == cell) for cell in ids[::40]]


def test_count_covered_when_masks_are_whole_or_cut_short_then_says_so() -> None:
    label_map = np.zeros((7, 9), dtype=np.int32)
    label_map[2:4, 3:6], label_map[6, 8] = 1, 2
    rles = encode_label_map(label_map)[3]
    assert count_covered(rles).tolist() == [63, 63]
    short = {"size": [7, 9], "counts": "04"}
    assert count_covered([short, rles[0]]).tolist() == [4, 63]
    assert count_covered([]).tolist() == []


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (":Kcb0", "negative length"),  # 10, -5 and 595
        ("P" * 12 + "0", "more than 12 digits"),
        ("04P", "cut off"),
        ("0 4", "characters that no RLE has"),
        ("0é4", "ascii"),
    ],
)
def test_decode_runs_when_counts_are_damaged_then_says_so(counts: str, message: str) -> None:
    sound = encode_label_map(np.ones((20, 30), dtype=np.int32))[3]
    damaged = {"size": [20, 30], "counts": counts}
    for rles in ([damaged], [damaged, *sound]):
        with pytest.raises(ValueError, match=message):
            decode_runs(rles)
