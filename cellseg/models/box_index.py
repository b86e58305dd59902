"""A spatial index of boxes: which of N boxes may overlap a query, without an N x M matrix.

Boxes are grouped by the binary orders of magnitude of their widths and heights. Each group lies in
a uniform grid of its own, sorted by the grid cell of the top left corner. What may overlap a query
is then a rectangle of grid cells a group, and each row of such a rectangle is one run of the sorted
boxes. Everything is plain torch, without a loop over boxes. Where the boxes lie on a GPU, the host
waits for it three times to build an index, and twice a block of pairs.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

MAX_PAIRS = 1 << 18
"""Pairs that one block may hold, unless a single query has more; bounds the memory of a block."""

MAX_RUNS = 1 << 18
"""Runs of sorted boxes that are listed at once, unless a single query has more."""

_GPU_BLOCK = 8
"""Blocks on a GPU are so many times as large: each one makes the host wait, and memory is ample."""

_MIN_EXPONENT, _NUM_EXPONENTS = -4, 20  # widths and heights of 2^-5 to 2^15 px are told apart
_BOXES_PER_CELL = 8
_MAX_CELLS_PER_SIDE = 1024


class _Grids(NamedTuple):
    """One uniform grid for each of G groups of boxes; first axis of the pairs is x, then y."""

    origins: Tensor  # (G, 2) float64, smallest corner
    box_sizes: Tensor  # (G, 2) float64, largest width and height
    cell_sizes: Tensor  # (G, 2) float64
    shapes: Tensor  # (G, 2) int64, columns and rows
    offsets: Tensor  # (G,) int64, number of cells in the groups before


class BoxIndex:
    """Find the boxes that may overlap others.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels, finite; N may be 0. A box without area overlaps
            nothing and is never found.
    """

    def __init__(self, boxes: Tensor) -> None:
        """Sort the boxes into their grids."""
        boxes = _in_float64(boxes)
        corners = boxes[:, :2]
        sizes = boxes[:, 2:4] - corners
        inds = (sizes > 0).all(dim=1).nonzero().squeeze(1)
        corners, sizes = corners[inds], sizes[inds]
        groups, num_groups = _group_by_size(sizes)
        self._grids = _lay_grids(corners, sizes, groups, num_groups)
        cells = self._grids.offsets[groups] + _cells_of(corners, groups, self._grids)
        num_cells = int(self._grids.shapes.prod(dim=1).sum())
        cells, order = cells.sort()
        self._order = inds[order]
        # Searched, not counted: bincount waits for a GPU twice.
        self._starts = torch.searchsorted(cells, torch.arange(num_cells + 1, device=cells.device))

    def find_pairs(self, queries: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield every pair of a query and a box that overlap, and some that only come near.

        Args:
            queries: (M, 4) x1, y1, x2, y2 in pixels, finite; M may be 0.

        Yields:
            Blocks of query indices (P,) and box indices (P,), int64. Queries ascend from block to
            block and within one, and all pairs of a query are in the same block, so that P is at
            most `MAX_PAIRS` (eight times that on a GPU), or the number of boxes if that is more.
        """
        if not len(self._order) or not len(queries):
            return
        size = _GPU_BLOCK if queries.is_cuda else 1
        lows, highs = self._find_windows(_in_float64(queries))  # (M, G, 2) each
        spans = (highs - lows + 1).clamp(min=0)
        num_rows = torch.where(spans[..., 0] > 0, spans[..., 1], 0)  # (M, G)
        num_runs = num_rows.sum(dim=1).tolist()
        for first, last in _split(num_runs, MAX_RUNS * size):
            ends = [0, *itertools.accumulate(num_runs[first:last])]
            owners, starts, lengths = self._list_runs(
                lows[first:last], highs[first:last], num_rows[first:last], ends[-1]
            )
            num_pairs = lengths.new_zeros(last - first).index_add_(0, owners, lengths).tolist()
            for begin, end in _split(num_pairs, MAX_PAIRS * size):
                chosen = slice(ends[begin], ends[end])
                total = sum(num_pairs[begin:end])
                run_inds, slots = _expand(starts[chosen], lengths[chosen], total)
                query_inds = owners[chosen].index_select(0, run_inds) + first
                box_inds = self._order.index_select(0, slots)
                yield query_inds.to(queries.device), box_inds.to(queries.device)

    def _find_windows(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Find the first and last grid column and row (M, G, 2) where a query's partners start."""
        grids = self._grids
        lows, highs = queries[:, None, :2], queries[:, None, 2:4]  # (M, 1, 2)
        slack = grids.box_sizes * 1e-6 + lows.abs() * 1e-9  # outweighs every rounding below
        lows = (lows - grids.box_sizes - slack - grids.origins) / grids.cell_sizes
        highs = (highs - grids.origins) / grids.cell_sizes
        limits = (grids.shapes - 1).double()
        lows = torch.minimum(lows.floor().clamp(min=0), limits + 1)
        highs = torch.minimum(highs.floor(), limits).clamp(min=-1)
        return lows.long(), highs.long()

    def _list_runs(
        self, lows: Tensor, highs: Tensor, num_rows: Tensor, total: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """List owner, start and length (R,) of the runs of sorted boxes in each window row."""
        num_groups = num_rows.shape[1]
        windows, rows = _expand(lows[..., 1].flatten(), num_rows.flatten(), total)
        owners = windows // num_groups
        groups = windows - owners * num_groups
        row_cells = self._grids.offsets[groups] + rows * self._grids.shapes[groups, 0]
        starts = self._starts[row_cells + lows[..., 0].flatten()[windows]]
        ends = self._starts[row_cells + highs[..., 0].flatten()[windows] + 1]
        return owners, starts, ends - starts


def _in_float64(boxes: Tensor) -> Tensor:
    """Return boxes in float64, on the CPU where their device has none (Apple's MPS)."""
    return (boxes.cpu() if boxes.device.type == "mps" else boxes).double()


def _group_by_size(sizes: Tensor) -> tuple[Tensor, int]:
    """Number the groups (N,) of boxes with the same binary exponents of width and height.

    Returns:
        The group of each box, and how many groups there are.
    """
    exponents = torch.frexp(sizes).exponent.long() - _MIN_EXPONENT
    exponents = exponents.clamp(0, _NUM_EXPONENTS - 1)
    codes = exponents[:, 0] * _NUM_EXPONENTS + exponents[:, 1]
    present = codes.new_zeros(_NUM_EXPONENTS**2).index_fill_(0, codes, 1)
    numbers = present.cumsum(0)
    return (numbers - 1)[codes], int(numbers[-1])


def _lay_grids(corners: Tensor, sizes: Tensor, groups: Tensor, num_groups: int) -> _Grids:
    """Choose each group's grid: cells of half a box or more, and of about eight boxes each."""
    counts = groups.new_zeros(num_groups).index_add_(0, groups, torch.ones_like(groups))
    values = torch.cat([corners, -corners, sizes], dim=1)  # (N, 6)
    largest = values.new_full((num_groups, 6), -torch.inf)
    largest.scatter_reduce_(0, groups[:, None].expand_as(values), values, "amax")
    origins, box_sizes = -largest[:, 2:4], largest[:, 4:]
    extents = largest[:, :2] - origins
    sides = (extents.prod(dim=1) * _BOXES_PER_CELL / counts).sqrt()
    cell_sizes = torch.maximum(box_sizes / 2, sides[:, None])
    cell_sizes = torch.maximum(cell_sizes, extents / _MAX_CELLS_PER_SIDE)
    shapes = (extents / cell_sizes).floor().long() + 1
    num_cells = shapes.prod(dim=1)
    return _Grids(origins, box_sizes, cell_sizes, shapes, num_cells.cumsum(0) - num_cells)


def _cells_of(corners: Tensor, groups: Tensor, grids: _Grids) -> Tensor:
    """Number the grid cell (N,) of each corner within its group, row after row."""
    places = (corners - grids.origins[groups]) / grids.cell_sizes[groups]
    columns, rows = places.floor().long().unbind(dim=1)
    return rows * grids.shapes[groups, 0] + columns


def _expand(starts: Tensor, lengths: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """Spell out ranges: the range's index and the value of each of their members, total in all."""
    range_inds = torch.repeat_interleave(
        torch.arange(len(lengths), device=lengths.device), lengths, output_size=total
    )
    shifts = starts - (lengths.cumsum(0) - lengths)
    places = torch.arange(total, device=lengths.device)
    return range_inds, shifts.index_select(0, range_inds) + places


def _split(costs: Sequence[int], budget: int) -> list[tuple[int, int]]:
    """Cut costs into consecutive ranges within a budget; a dearer item stands alone."""
    bounds, begin, spent = [], 0, 0
    for index, cost in enumerate(costs):
        if index > begin and spent + cost > budget:
            bounds.append((begin, index))
            begin, spent = index, 0
        spent += cost
    return [*bounds, (begin, len(costs))]
