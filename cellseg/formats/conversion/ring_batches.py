"""Draw many small outlines at once: one by one, a few dozen pixels each, takes far longer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellseg.formats.conversion.annotations import Drawing, UnusableAnnotationError
from cellseg.formats.conversion.drawing import Frame, Ring, find_frame, read_ring, trim

_AT_ONCE = 256  # outlines
_MOST_PLACES = 2**19  # pixels, and crossings of outline and pixel rows, that are handled at once
_LARGEST = 2**16  # of these for one outline; larger ones are drawn one by one


class RingBatches:
    """Draw the annotations of one image, small outlines ahead of being asked for.

    Args:
        shapes: The annotations as a format writes them.
        find_ring: Returns the ring of an annotation that is a single one; None for others.
        draw_one: Draws any annotation alone in an image of a height and width in pixels.
    """

    def __init__(
        self,
        shapes: Sequence[Any],
        find_ring: Callable[[Any], Ring | None],
        draw_one: Callable[[Any, int, int], Drawing],
    ) -> None:
        """Keep the annotations; see the class."""
        self._shapes, self._find_ring, self._draw_one = shapes, find_ring, draw_one
        self._size = (-1, -1)
        self._tried = range(0)
        self._drawn: dict[int, Drawing] = {}

    def draw(self, index: int, height: int, width: int) -> Drawing:
        """Draw one annotation, exactly as `draw_one` does."""
        if index not in self._tried or self._size != (height, width):
            self._tried = range(index, min(index + _AT_ONCE, len(self._shapes)))
            self._size, self._drawn = (height, width), {}
            self._draw_small()
        drawing = self._drawn.pop(index, None)
        return drawing or self._draw_one(self._shapes[index], height, width)

    def _draw_small(self) -> None:
        """Draw the small outlines among those that come next."""
        batch: list[_PlacedRing] = []
        places = 0
        for index in self._tried:
            placed = self._place(index)
            if placed is None:
                continue
            if places + placed.cost > _MOST_PLACES:
                self._drawn |= _draw_batch(batch)
                batch, places = [], 0
            batch.append(placed)
            places += placed.cost
        self._drawn |= _draw_batch(batch)

    def _place(self, index: int) -> _PlacedRing | None:
        """Find the frame of an outline; None for what is not one small ring, or is faulty."""
        try:
            ring = self._find_ring(self._shapes[index])
            points = read_ring(ring) if ring is not None else np.zeros((0, 2))
            if len(points) < 3:
                return None
            placed = _PlacedRing(index, points, find_frame(points, *self._size))
        except UnusableAnnotationError:
            return None  # `draw_one` says it when the annotation is asked for
        return placed if 0 < placed.cost <= _LARGEST else None


class _PlacedRing(NamedTuple):
    """A ring (K, 2) of x, y in pixels of the image, and the part of the image that it lies in."""

    place: int
    points: NDArray[np.float64]
    frame: Frame

    @property
    def cost(self) -> int:
        """Return how many pixels, or crossings of outline and rows, there can be at most."""
        height, width = self.frame.height, self.frame.width
        return height * max(width + 1, len(self.points)) if width else 0


def _draw_batch(rings: Sequence[_PlacedRing]) -> dict[int, Drawing]:
    """Draw rings; those that cover no pixel are left out."""
    drawn: dict[int, Drawing] = {}
    for ring, mask in zip(rings, _fill(rings) if rings else (), strict=True):
        try:
            crop = trim(mask, ring.frame.x0, ring.frame.y0)
        except UnusableAnnotationError:
            continue
        drawn[ring.place] = Drawing(crop, ring.frame.changes)
    return drawn


def _fill(rings: Sequence[_PlacedRing]) -> list[NDArray[np.bool_]]:
    """Fill each ring in its frame as `drawing.fill_ring` does: sums of crossings along the rows.

    All frames stand in one long row of places. A frame has a column more than pixels, for what
    crosses right of them, so that each of its rows adds up to 0 and leaves the next one alone.
    """
    counts = np.array([len(ring.points) for ring in rings])
    frames = np.array([ring.frame[:4] for ring in rings])
    heights, widths = frames[:, 0], frames[:, 1] + 1
    ends = np.cumsum(heights * widths)
    own = np.repeat(np.arange(len(rings)), counts)  # the ring of each corner
    xs, ys = np.concatenate([ring.points for ring in rings]).T
    xs, ys = xs - frames[own, 2], ys - frames[own, 3]
    ahead = np.arange(1, len(own) + 1)
    stops_at = np.cumsum(counts)
    ahead[stops_at - 1] = stops_at - counts
    starts = np.minimum(np.maximum(np.ceil(ys - 0.5), 0), heights[own]).astype(np.int64)
    edges = np.flatnonzero(starts != starts[ahead])
    first = np.minimum(starts[edges], starts[ahead[edges]])
    spans = np.abs(starts[ahead[edges]] - starts[edges])
    edge = np.repeat(edges, spans)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(spans) - spans - first, spans)
    x1, y1, x2, y2, ring = xs[edge], ys[edge], xs[ahead[edge]], ys[ahead[edge]], own[edge]
    x = x1 + (row + 0.5 - y1) * ((x2 - x1) / (y2 - y1))
    column = np.minimum(np.maximum(np.ceil(x - 0.5), 0), widths[ring] - 1).astype(np.int64)
    places = (ends - heights * widths)[ring] + row * widths[ring] + column
    steps = np.bincount(places, np.where(y2 > y1, 1.0, -1.0), int(ends[-1]))
    inside = np.cumsum(steps) != 0  # whole numbers, which float64 adds exactly
    parts = np.split(inside, ends[:-1])
    return [
        part.reshape(height, width)[:, :-1]
        for part, height, width in zip(parts, heights.tolist(), widths.tolist(), strict=True)
    ]
