"""Outline masks along pixel edges, exactly: filling an outline gives back the very same pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellseg.structures.cell_masks import CellMasks

_BLOCK_CELLS = 2000  # outlined together, to bound memory
# An edge runs along +x, +y, -x or -y, with the cell on its left if y is drawn upwards.
_STEPS = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])
_CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])  # of a pixel, where its edges start


class Polygon(NamedTuple):
    """One piece of a cell: a closed ring (K, 2) of x, y pixel corners, and its holes.

    The first position is not repeated. Rings are simple; the exterior has positive area
    (counterclockwise with y upwards, RFC 7946's right-hand rule), holes have negative area.
    """

    exterior: NDArray[np.int64]
    holes: list[NDArray[np.int64]]


class _Edges(NamedTuple):
    """Unit edges between cell and background: owner, start corner x and y, direction, vertex."""

    owners: NDArray[np.int64]
    corners: NDArray[np.int64]
    directions: NDArray[np.int64]
    vertices: NDArray[np.int64]
    strides: NDArray[np.int64]


def outline_masks(masks: CellMasks) -> Iterator[list[Polygon]]:
    """Outline masks along pixel edges.

    Args:
        masks: N masks of one image.

    Yields:
        For each mask its pieces; several where pixels meet at corners only or not at all, none for
        an empty mask.
    """
    for begin in range(0, len(masks), _BLOCK_CELLS):
        block = masks[np.arange(begin, min(begin + _BLOCK_CELLS, len(masks)))]
        rings: list[list[NDArray[np.int64]]] = [[] for _ in range(len(block))]
        for owner, ring in _trace(_find_edges(block)):
            rings[owner].append(ring)
        yield from (_nest(own) for own in rings)


def _find_edges(masks: CellMasks) -> _Edges:
    """Find the unit edges of masks, in an array where each mask has a margin of one pixel."""
    pixels, boxes = masks.draw_columns()
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    strides = heights + 2
    sizes = (widths + 2) * strides
    offsets = np.cumsum(sizes) - sizes
    areas = widths * heights
    owners = np.repeat(np.arange(len(masks)), areas)[pixels]
    places = (np.arange(len(pixels)) - np.repeat(np.cumsum(areas) - areas, areas))[pixels]
    columns, rows = np.divmod(places, heights[owners])
    spots = offsets[owners] + (columns + 1) * strides[owners] + rows + 1
    padded = np.zeros(int(sizes.sum()), dtype=bool)
    padded[spots] = True
    own_strides = strides[owners]
    corners = np.stack((columns + boxes[owners, 0], rows + boxes[owners, 1]), axis=1)
    parts = []
    for direction, (dx, dy) in enumerate(((0, -1), (1, 0), (0, 1), (-1, 0))):
        open_side = np.flatnonzero(~padded[spots + dx * own_strides + dy])
        shift = _CORNERS[direction]
        parts.append(
            (
                owners[open_side],
                corners[open_side] + shift,
                np.full(len(open_side), direction),
                spots[open_side] + shift[0] * own_strides[open_side] + shift[1],
                own_strides[open_side],
            )
        )
    return _Edges(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _trace(edges: _Edges) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Link edges into simple rings; yields the owner and the corners (K, 2) of each."""
    if not len(edges.owners):
        return
    successors = _link(edges).tolist()
    seen = bytearray(len(successors))
    order: list[int] = []
    begins = []
    for first in range(len(successors)):
        if seen[first]:
            continue
        begins.append(len(order))
        edge = first
        while not seen[edge]:
            seen[edge] = 1
            order.append(edge)
            edge = successors[edge]
    path = np.array(order)
    starts = np.array(begins)
    loops = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(path)))
    vertices = edges.vertices[path]
    # A vertex that a loop passes twice pinches it; such loops are cut into simple ones.
    by_vertex = np.lexsort((vertices, loops))
    again = np.diff(vertices[by_vertex]) == 0
    again &= np.diff(loops[by_vertex]) == 0
    pinched = set(loops[by_vertex[1:][again]].tolist())
    corners, directions = edges.corners[path], edges.directions[path]
    owners = edges.owners[path[starts]].tolist()
    for loop, (begin, end) in enumerate(zip(begins, [*begins[1:], len(path)], strict=True)):
        if loop in pinched:
            for ring in _cut_loop(corners[begin:end]):
                yield owners[loop], ring
        else:
            own = directions[begin:end]
            turns = own != np.concatenate((own[-1:], own[:-1]))
            yield owners[loop], corners[begin:end][turns]


def _link(edges: _Edges) -> NDArray[np.int64]:
    """Find the edge that follows each edge; where two could, the one around the same pixel."""
    table = np.full((int(edges.vertices.max() + edges.strides.max()) + 2, 4), -1, dtype=np.int32)
    table[edges.vertices, edges.directions] = np.arange(len(edges.owners))
    steps = _STEPS[edges.directions]
    ends = edges.vertices + steps[:, 0] * edges.strides + steps[:, 1]
    following = np.full(len(ends), -1, dtype=np.int64)
    for turn in (1, 0, 3):  # left, straight on, right
        missing = np.flatnonzero(following < 0)
        following[missing] = table[ends[missing], (edges.directions[missing] + turn) % 4]
    return following


def _cut_loop(corners: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Cut a loop into simple rings where it passes a corner twice; leave out collinear points."""
    rings = []
    path: list[tuple[int, int]] = []
    place: dict[tuple[int, int], int] = {}
    for corner in [*map(tuple, corners.tolist()), tuple(corners[0].tolist())]:
        if corner in place:
            cut = place[corner]
            rings.append(np.array(path[cut:]))
            for dropped in path[cut:]:
                del place[dropped]
            del path[cut:]
        place[corner] = len(path)
        path.append(corner)
    simple = []
    for ring in rings:
        ahead = np.roll(ring, -1, axis=0) - ring
        simple.append(ring[(ahead != np.roll(ahead, 1, axis=0)).any(axis=1)])
    return simple


def _nest(rings: list[NDArray[np.int64]]) -> list[Polygon]:
    """Give each hole to the exterior around it."""
    if len(rings) == 1:
        return [Polygon(rings[0], [])]
    exteriors = [ring for ring in rings if _signed_area(ring) > 0]
    pieces = [Polygon(ring, []) for ring in exteriors]
    for hole in (ring for ring in rings if _signed_area(ring) < 0):
        around = [piece for piece in pieces if _contains(piece.exterior, hole)]
        min(around, key=lambda piece: _signed_area(piece.exterior)).holes.append(hole)
    return pieces


def _signed_area(ring: NDArray[np.int64]) -> float:
    """Compute the area of a ring, positive if it runs counterclockwise with y upwards."""
    x, y = ring.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _contains(exterior: NDArray[np.int64], hole: NDArray[np.int64]) -> bool:
    """Return whether the background pixel at the hole's lowest corner lies inside the exterior."""
    corner = hole[np.lexsort((hole[:, 0], hole[:, 1]))[0]]  # leftmost of the top row
    x, y = corner + 0.5
    x1, y1 = exterior.T
    x2, y2 = np.roll(exterior, -1, axis=0).T
    crossed = (np.minimum(y1, y2) < y) & (y < np.maximum(y1, y2)) & (x1 > x) & (x1 == x2)
    return bool(crossed.sum() % 2)
