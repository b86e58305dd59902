"""Turn label maps and box-sized crops into COCO run-length encodings, and back.

A run-length encoding (RLE) is `{'size': [height, width], 'counts': str}` as COCO compresses it:
the lengths of alternating background and foreground runs, counted column after column.
Everything here works on the runs of all cells at once and never makes a full-size bitmap; what can
be done with runs is in `runs.py`.
"""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellseg.structures.runs import (
    Runs,
    join_touching,
    measure_runs,
)

_MOST_DIGITS = 12  # of five bits each, so that a number fits into 64 bits
BLOCK_MASKS = 4096  # decoded together where there may be very many, to bound memory


class RLE(TypedDict):
    """One mask in COCO's compressed form; `size` is [height, width] in pixels."""

    size: list[int]
    counts: str


def encode_crop(crop: NDArray[np.bool_], x0: int, y0: int, height: int, width: int) -> RLE:
    """Encode one crop placed in an image.

    Args:
        crop: (h, w) bool; may be empty and may reach outside the image, where it is cut off.
        x0: Image column of the crop's first column, in pixels; may be negative.
        y0: Image row of the crop's first row, in pixels; may be negative.
        height: Image height in pixels.
        width: Image width in pixels.

    Returns:
        The RLE of the full-size mask.
    """
    return encode_crops([crop], [x0], [y0], height, width)[0]


def encode_crops(
    crops: Sequence[NDArray[np.bool_]], x0s: ArrayLike, y0s: ArrayLike, height: int, width: int
) -> list[RLE]:
    """Encode many crops placed in one image.

    Args:
        crops: N arrays (h_i, w_i) bool; each may be empty or reach outside the image.
        x0s: (N,) integer image columns of the crops' first columns, in pixels.
        y0s: (N,) integer image rows of the crops' first rows, in pixels.
        height: Image height in pixels.
        width: Image width in pixels.

    Returns:
        N RLEs in the order of the crops; an empty list without crops.
    """
    runs = crops_to_runs(crops, x0s, y0s, height, width)
    return encode_runs(runs, len(crops), height, width)


def crops_to_runs(
    crops: Sequence[NDArray[np.bool_]], x0s: ArrayLike, y0s: ArrayLike, height: int, width: int
) -> Runs:
    """Find the runs of many crops placed in one image; arguments as for `encode_crops`."""
    boxes = np.zeros((len(crops), 4), dtype=np.int64)
    columns = []
    places = zip(np.asarray(x0s).tolist(), np.asarray(y0s).tolist(), strict=True)
    for index, (crop, (x0, y0)) in enumerate(zip(crops, places, strict=True)):
        left, top = max(x0, 0), max(y0, 0)
        right = max(min(x0 + crop.shape[1], width), left)
        bottom = max(min(y0 + crop.shape[0], height), top)
        if right > left and bottom > top:
            boxes[index] = left, top, right, bottom
            columns.append(crop[top - y0 : bottom - y0, left - x0 : right - x0].T.ravel())
    pixels = np.concatenate(columns) if columns else np.zeros(0, dtype=bool)
    return join_touching(_runs_of_columns(pixels, boxes, height))


def encode_columns(
    pixels: NDArray[np.bool_], boxes: ArrayLike, height: int, width: int
) -> list[RLE]:
    """Encode many crops whose pixels lie one after another in a single array.

    This is the fast form of `encode_crops` for code that samples all crops at once.

    Args:
        pixels: (T,) bool, for each box in turn its pixels column after column (y runs fastest).
        boxes: (N, 4) integer x1, y1, x2, y2 in pixels, x2 and y2 exclusive, all inside the image;
            T is the sum of their areas. A box may be empty and N may be 0.
        height: Image height in pixels.
        width: Image width in pixels.

    Returns:
        N RLEs in the order of the boxes.

    Raises:
        ValueError: If a box leaves the image or the areas do not sum up to T.
    """
    boxes = np.asarray(boxes, dtype=np.int64).reshape(-1, 4)
    sizes = boxes[:, 2:] - boxes[:, :2]  # (N, 2) as w, h
    outside = (boxes[:, :2] < 0).any() or (boxes[:, 2:] > (width, height)).any()
    if outside or (sizes < 0).any():
        raise ValueError(f"Boxes must lie inside the {height} x {width} image; clip them first.")
    if sizes.prod(axis=1).sum() != len(pixels):
        raise ValueError(f"The boxes do not hold the {len(pixels)} pixels that came with them.")
    runs = _runs_of_columns(np.asarray(pixels, dtype=bool), boxes, height)
    return encode_runs(join_touching(runs), len(boxes), height, width)


def encode_label_map(
    label_map: NDArray[np.integer], ids: ArrayLike | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], list[RLE]]:
    """Encode every cell of a label map in one pass.

    Args:
        label_map: (H, W) integer; 0 is background, each positive value one cell, in one piece or
            several. Values need not be contiguous. Negative values belong to no cell.
        ids: Encode only these cells; all that occur when None. An id that does not occur gets an
            empty mask, area 0 and the box 0, 0, 0, 0.

    Returns:
        The ids (N,) ascending without repeats, their tight boxes (N, 4) as x1, y1, x2, y2 in pixels
        with x2 and y2 exclusive, their areas (N,) in pixels, and their N RLEs. N may be 0.

    Raises:
        ValueError: If label_map is not a two-dimensional integer array.
    """
    wanted = None if ids is None else np.unique(np.asarray(ids, dtype=np.int64))
    wanted, runs = find_runs(label_map, wanted)
    height, width = label_map.shape
    boxes, areas = measure_runs(runs, len(wanted), height)
    return wanted, boxes, areas, encode_runs(runs, len(wanted), height, width)


def measure_label_map(
    label_map: NDArray[np.integer], ids: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Measure cells of a label map in one pass, without encoding them.

    Args:
        label_map: (H, W) integer; 0 is background, each positive value one cell.
        ids: (N,) the cells to measure, in any order; an id may come twice or not occur.

    Returns:
        Tight boxes (N, 4) as x1, y1, x2, y2 in pixels, x2 and y2 exclusive, and areas (N,) in
        pixels, in the order of ids; zeros for an id that does not occur. N may be 0.
    """
    wanted, order = np.unique(np.asarray(ids, dtype=np.int64), return_inverse=True)
    # Row after row, unlike an RLE: that is how the pixels lie in memory, so x and y change places.
    _, runs = find_runs(label_map.T, wanted)
    boxes, areas = measure_runs(runs, len(wanted), label_map.shape[1])
    return boxes[:, [1, 0, 3, 2]][order], areas[order]


def decode_runs(rles: Sequence[RLE]) -> Runs:
    """Read the foreground runs of all masks, without a pixel drawn.

    Args:
        rles: N masks; counts may be str or bytes.

    Returns:
        The runs of all masks; the owner of a run is the index of its mask.

    Raises:
        ValueError: If counts are cut off, are not an RLE, or hold a negative length.
    """
    owners, places, counts, edges = _read_counts(rles)
    foreground = (places % 2 == 1) & (counts > 0)
    starts = (edges - counts)[foreground]
    return Runs(owners[foreground], starts, edges[foreground])


def count_covered(rles: Sequence[RLE]) -> NDArray[np.int64]:
    """Count the pixels that each RLE encodes, foreground and background.

    Args:
        rles: N masks; counts may be str or bytes.

    Returns:
        (N,) pixels; height times width of the image for a mask that is whole.
    """
    owners, _, counts, _ = _read_counts(rles)
    return np.bincount(owners, weights=counts, minlength=len(rles)).astype(np.int64)


def read_lengths(counts: str | bytes) -> NDArray[np.int64]:
    """Read the lengths (K,) of one mask's runs, background first.

    Raises:
        ValueError: If counts are cut off, are not an RLE, or hold a negative length.
    """
    return _read_counts([RLE(size=[], counts=counts)])[2]  # type: ignore[typeddict-item]


def _read_counts(rles: Sequence[RLE]) -> tuple[NDArray[np.int64], ...]:
    """Read the counts of all masks: owner, place in its mask, length, and where it ends, (K,)."""
    raw = [rle["counts"] for rle in rles]
    texts = [text.encode("ascii") if isinstance(text, str) else bytes(text) for text in raw]
    joined = b"".join(texts)
    if not joined:
        return tuple(np.zeros(0, dtype=np.int64) for _ in range(4))
    stops = np.cumsum([len(text) for text in texts])
    if any(text and (text[-1] - 48) & 32 for text in texts):
        raise ValueError("its counts are cut off.")
    deltas, last_characters = _read_base32(joined)
    owners = np.searchsorted(stops, last_characters, side="right")
    lengths = np.bincount(owners, minlength=len(rles))
    firsts = np.cumsum(lengths) - lengths
    places = np.arange(len(deltas)) - firsts[owners]
    counts = deltas.copy()
    for parity in (1, 2):  # the first count stands alone; odd and even ones are summed apart
        chain = np.flatnonzero((places > 0) & (places % 2 == parity % 2))
        sums = np.cumsum(deltas[chain])
        heads = places[chain] == parity
        before = (sums - deltas[chain])[heads]
        counts[chain] = sums - before[np.cumsum(heads) - 1]
    if counts.min() < 0:
        raise ValueError("it holds a run of negative length.")
    edges = np.cumsum(counts)
    edges -= (edges - counts)[firsts][owners] if len(firsts) else 0
    return owners, places, counts, edges


def measure_rles(rles: Sequence[RLE]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Measure masks of one image without decoding them.

    pycocotools 2.0.11 cannot: given a list of more than 255 masks its `area` overflows.

    Args:
        rles: N masks of one size.

    Returns:
        Tight boxes (N, 4) as x1, y1, x2, y2 in pixels, x2 and y2 exclusive, and areas (N,) in
        pixels; zeros for an empty mask. N may be 0.
    """
    boxes = np.zeros((len(rles), 4), dtype=np.int64)
    areas = np.zeros(len(rles), dtype=np.int64)
    for begin in range(0, len(rles), BLOCK_MASKS):
        block = rles[begin : begin + BLOCK_MASKS]
        own = slice(begin, begin + len(block))
        boxes[own], areas[own] = measure_runs(
            decode_runs(block), len(block), int(block[0]["size"][0])
        )
    return boxes, areas


def _runs_of_columns(pixels: NDArray[np.bool_], boxes: NDArray[np.int64], height: int) -> Runs:
    """Find the runs of each column of each box; see `encode_columns`."""
    full = np.flatnonzero((boxes[:, 3] > boxes[:, 1]) & (boxes[:, 2] > boxes[:, 0]))
    x1, y1, x2, y2 = boxes[full].T
    if not len(full):
        return Runs(*(np.zeros(0, dtype=np.int64) for _ in Runs._fields))
    widths = x2 - x1
    column_heights = np.repeat(y2 - y1, widths)  # one entry a column of a box
    column_ends = np.cumsum(column_heights)
    column_firsts = column_ends - column_heights
    opens, closes = pixels.copy(), pixels.copy()
    opens[1:] &= ~pixels[:-1]
    opens[column_firsts] = pixels[column_firsts]
    closes[:-1] &= ~pixels[1:]
    closes[column_ends - 1] = pixels[column_ends - 1]
    starts, ends = np.flatnonzero(opens), np.flatnonzero(closes) + 1
    columns = np.searchsorted(column_firsts, starts, side="right") - 1
    column_xs = np.arange(len(column_firsts)) + np.repeat(x1 - np.cumsum(widths) + widths, widths)
    shift = (column_xs * height + np.repeat(y1, widths) - column_firsts)[columns]
    return Runs(np.repeat(full, widths)[columns], starts + shift, ends + shift)


def check_label_map(label_map: NDArray[np.generic]) -> None:
    """Raise ValueError unless a label map is a two-dimensional integer array."""
    if label_map.ndim != 2 or label_map.dtype.kind not in "iu":
        raise ValueError(
            "A label map must be a two-dimensional integer array, "
            f"not {label_map.ndim}-dimensional {label_map.dtype}."
        )


def find_runs(
    label_map: NDArray[np.integer], wanted: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], Runs]:
    """Find the runs of cells of a label map in one pass.

    Args:
        label_map: (H, W) integer; 0 is background, each positive value one cell.
        wanted: (N,) ids, ascending without repeats; every positive one when None.

    Returns:
        The ids (N,), and their runs with the index into the ids as the owner.

    Raises:
        ValueError: If label_map is not a two-dimensional integer array.
    """
    check_label_map(label_map)
    flat = label_map.T.reshape(-1)
    cuts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate(([0], cuts))[: len(flat)]
    ends = np.concatenate((cuts, [len(flat)]))[: len(flat)]
    values = flat[starts]
    cell = values > 0
    values, starts, ends = values[cell].astype(np.int64), starts[cell], ends[cell]
    ids = np.unique(values) if wanted is None else wanted
    owners = np.searchsorted(ids, values)
    if wanted is not None:
        found = owners < len(ids)
        found[found] = ids[owners[found]] == values[found]
        owners, starts, ends = owners[found], starts[found], ends[found]
    order = np.argsort(owners, kind="stable")
    return ids, Runs(owners[order], starts[order], ends[order])


def encode_runs(runs: Runs, num_masks: int, height: int, width: int) -> list[RLE]:
    """Write the runs of each mask as COCO's counts string, as pycocotools' rleToString does."""
    total = height * width
    run_counts = np.bincount(runs.owners, minlength=num_masks)
    lengths = 2 * run_counts + 1  # the closing background run may fall away below
    lasts = np.cumsum(lengths) - 1
    firsts = lasts - lengths + 1
    edges = np.full(lengths.sum(), total, dtype=np.int64)
    slots = 2 * np.arange(len(runs.owners)) + runs.owners  # each earlier mask adds its closing run
    edges[slots], edges[slots + 1] = runs.starts, runs.ends
    counts = np.diff(edges, prepend=0)
    counts[firsts] = edges[firsts]
    keep = np.ones(len(counts), dtype=bool)
    keep[lasts] = (counts[lasts] > 0) | (run_counts == 0)
    deltas = counts.copy()  # from the third on, a count is written less the one two before
    deltas[2:] -= counts[:-2]
    for place in range(3):
        heads = firsts[lengths > place] + place
        deltas[heads] = counts[heads]
    owners = np.repeat(np.arange(num_masks), lengths)[keep]
    text, text_lengths = _write_base32(deltas[keep])
    stops = np.cumsum(np.bincount(owners, weights=text_lengths, minlength=num_masks)).astype(int)
    begin, rles = 0, []
    for stop in stops.tolist():
        rles.append(RLE(size=[height, width], counts=text[begin:stop]))
        begin = stop
    return rles


def _write_base32(values: NDArray[np.int64]) -> tuple[str, NDArray[np.int64]]:
    """Write signed integers in COCO's text form, low five bits first.

    Returns:
        The texts of all values joined, and the length of each (N,) in characters.
    """
    magnitudes = np.where(values < 0, ~values, values)
    lengths = np.ones(len(values), dtype=np.int64)
    for bits in range(4, 64, 5):
        larger = magnitudes >= 1 << bits
        if not larger.any():
            break
        lengths += larger
    stops = np.cumsum(lengths)
    places = np.arange(lengths.sum()) - np.repeat(stops - lengths, lengths)
    digits = (np.repeat(values, lengths) >> (5 * places)) & 31
    digits |= 32  # more digits follow,
    digits[stops - 1] &= 31  # except after the last
    return (digits + 48).astype(np.uint8).tobytes().decode("ascii"), lengths


def _read_base32(text: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Read signed integers from COCO's text form.

    Returns:
        The values (N,) and the index (N,) of the last character of each.

    Raises:
        ValueError: If the text holds other characters, or more digits than a length can have.
    """
    digits = np.frombuffer(text, dtype=np.uint8).astype(np.int64) - 48
    if digits.min() < 0 or digits.max() > 63:
        raise ValueError("its counts hold characters that no RLE has.")
    lasts = np.flatnonzero((digits & 32) == 0)
    firsts = np.concatenate(([0], lasts[:-1] + 1))
    if (lasts - firsts).max() >= _MOST_DIGITS:
        raise ValueError(f"its counts hold a number of more than {_MOST_DIGITS} digits.")
    places = np.arange(len(digits)) - np.repeat(firsts, lasts - firsts + 1)
    values = np.add.reduceat((digits & 31) << (5 * places), firsts)
    negative = (digits[lasts] & 16) > 0
    values[negative] -= 1 << (5 * (lasts - firsts + 1)[negative])
    return values, lasts
