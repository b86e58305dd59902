"""Paste box-sized mask predictions into an image, straight to run-length encodings.

The pixels are those of mmdet's paste-and-threshold on a CPU, sampled by the same arithmetic, but
only within each box's own window: nothing of the size of all masks times the image ever exists.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from cellseg.structures.rle import RLE, encode_columns

MAX_SAMPLES = 1 << 20
"""Pixels that are sampled at once; bounds the memory of the sampling grid (8 bytes a pixel)."""

MAX_PENDING = 1 << 23
"""Sampled pixels that wait on the device for a common transfer, one byte each."""


def paste_and_encode(
    masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float
) -> list[RLE]:
    """Paste mask probabilities into their boxes, threshold them, and encode the masks.

    Masks of similar size are sampled together, and what was sampled goes to the CPU in one
    transfer (in several past `MAX_PENDING` pixels).

    Args:
        masks: (N, h, w) probabilities within each box; N may be 0.
        boxes: (N, 4) x1, y1, x2, y2 in pixels; may reach outside the image, where they are cut off.
        height: Image height in pixels.
        width: Image width in pixels.
        threshold: A pixel is foreground from this probability on.

    Returns:
        N RLEs of the size of the image; an empty list without masks.
    """
    windows = find_windows(boxes.detach().cpu().float(), height, width).numpy()
    rles: list[RLE] = [RLE(size=[height, width], counts="")] * len(windows)
    with torch.no_grad(), torch.autocast(masks.device.type, enabled=False):
        for inds, pixels in _sample_windows(masks.float(), boxes.float(), windows, threshold):
            encoded = encode_columns(pixels, windows[inds], height, width)
            for index, rle in zip(inds.tolist(), encoded, strict=True):
                rles[index] = rle
    return rles


def find_windows(boxes: Tensor, height: int, width: int) -> Tensor:
    """Find the pixels that mmdet samples for each box: the box and a margin of one pixel.

    Args:
        boxes: (N, 4) float x1, y1, x2, y2 in pixels.
        height: Image height in pixels.
        width: Image width in pixels.

    Returns:
        (N, 4) int64 x1, y1, x2, y2 in pixels inside the image, x2 and y2 exclusive; without area
        where a box lies outside of it.
    """
    limits = boxes.new_tensor([width, height])
    boxes = boxes.nan_to_num(nan=0.0)
    starts = torch.minimum((boxes[:, :2].floor() - 1).clamp(min=0), limits)
    stops = torch.minimum(boxes[:, 2:].ceil() + 1, limits)
    return torch.cat([starts, torch.maximum(starts, stops)], dim=1).long()


def _sample_windows(
    masks: Tensor, boxes: Tensor, windows: NDArray[np.int64], threshold: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Yield mask indices (n,) and the pixels of their windows, column after column."""
    sizes = _round_up(windows[:, 2:] - windows[:, :2])  # (N, 2) as columns, rows
    order = np.lexsort((sizes[:, 1], sizes[:, 0]))
    on_device = torch.from_numpy(order).to(masks.device)
    masks, boxes = masks[on_device, None], boxes[on_device]  # (N, 1, h, w), (N, 4)
    corners = torch.from_numpy(windows[order, :2]).to(masks.device)
    pending: list[Tensor] = []
    first, num_pending = 0, 0
    for begin, end in _group_sizes(sizes[order]):
        group = slice(begin, end)
        columns, rows = sizes[order[begin]].tolist()
        pending += _sample_group(
            masks[group], boxes[group], corners[group], columns, rows, threshold
        )
        num_pending += (end - begin) * columns * rows
        if num_pending >= MAX_PENDING or end == len(order):
            inds = order[first:end]
            yield inds, _cut_out(pending, windows[inds], sizes[inds])
            pending, first, num_pending = [], end, 0


def _round_up(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Round sizes up to four steps an octave, so that few different ones are left."""
    steps = 2 ** np.maximum(np.log2(np.maximum(sizes, 1)).astype(np.int64) - 2, 2)
    return -(-sizes // steps) * steps


def _group_sizes(sizes: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Cut sorted sizes (N, 2) into ranges of equal ones that may be sampled at once."""
    for begin, end in _equal_ranges(sizes):
        most = max(MAX_SAMPLES // max(int(sizes[begin].prod()), 1), 1)
        for first in range(begin, end, most):
            yield first, min(first + most, end)


def _equal_ranges(sizes: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Cut sorted sizes (N, 2) into ranges of equal ones."""
    changes = np.flatnonzero((np.diff(sizes, axis=0) != 0).any(axis=1)) + 1
    bounds = pairwise([0, *changes.tolist(), len(sizes)])
    return [(begin, end) for begin, end in bounds if begin < end]


def _sample_group(
    masks: Tensor, boxes: Tensor, corners: Tensor, columns: int, rows: int, threshold: float
) -> Iterator[Tensor]:
    """Sample windows of one padded size; yield flat (n * columns * rows,) bool, y fastest.

    A single window that is too large is sampled strip after strip.
    """
    xs = _normalize(corners[:, :1], columns, boxes[:, 0::2])  # (n, columns)
    ys = _normalize(corners[:, 1:], rows, boxes[:, 1::2])  # (n, rows)
    strip = columns if len(masks) > 1 else max(MAX_SAMPLES // max(rows, 1), 1)
    for begin in range(0, columns, max(strip, 1)):
        part = xs[:, begin : begin + strip]
        shape = (*part.shape, rows)
        grid = torch.stack([part[:, :, None].expand(shape), ys[:, None].expand(shape)], dim=3)
        yield (F.grid_sample(masks, grid, align_corners=False) >= threshold).flatten()


def _normalize(starts: Tensor, number: int, spans: Tensor) -> Tensor:
    """Place pixel centers (n, number) in a box's span, -1 to 1, by mmdet's own arithmetic."""
    centers = (starts + torch.arange(number, device=starts.device)).float() + 0.5
    places = (centers - spans[:, :1]) / (spans[:, 1:] - spans[:, :1]) * 2 - 1
    return places.masked_fill(places.isinf(), 0)  # a box without width or height


def _cut_out(
    sampled: list[Tensor], windows: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Fetch sampled pixels and drop those that only pad a window."""
    pixels = torch.cat(sampled).cpu().numpy() if sampled else np.zeros(0, dtype=bool)
    spans = windows[:, 2:] - windows[:, :2]
    parts, begin = [], 0
    for first, last in _equal_ranges(sizes):
        columns, rows = sizes[first].tolist()
        end = begin + (last - first) * columns * rows
        inside_x = np.arange(columns) < spans[first:last, :1]  # (n, columns)
        inside_y = np.arange(rows) < spans[first:last, 1:]  # (n, rows)
        inside = inside_x[:, :, None] & inside_y[:, None]
        parts.append(pixels[begin:end].reshape(inside.shape)[inside])
        begin = end
    return np.concatenate(parts)
