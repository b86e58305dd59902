"""Overlapping tiles over an image, and which of them hold nothing but background."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from cellseg.errors import CellsegError

# A 64 px block whose brightness varies less than this, after averaging noise away, holds no cell.
_FLAT_RANGE = 14.0
_AVERAGED_PX = 4
_BLOCK_PX = 16  # in averaged pixels, so 64 px of the tile


class Tile(NamedTuple):
    """A region of an image and the part of it that the tile answers for.

    All sides are in pixels, x2 and y2 exclusive. The cores (core_x1 ...) of a grid's tiles cover
    the image without overlap: inside the image they end in the middle of the overlaps.
    """

    x1: int
    y1: int
    x2: int
    y2: int
    core_x1: float
    core_y1: float
    core_x2: float
    core_y2: float

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.x2 - self.x1

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.y2 - self.y1


def make_tile_grid(
    height: int, width: int, tile_px: int, overlap_px: int, align_px: int = 1
) -> list[Tile]:
    """Cover an image with overlapping tiles, row after row.

    Tiles start at multiples of align_px: a network of stride 64 sees a cell the same way in the
    tile and in the whole image only if the tile is moved by whole strides. The last tile of a row
    or column is therefore up to align_px narrower than the others.

    Args:
        height: Image height in pixels.
        width: Image width in pixels.
        tile_px: Side of a tile in pixels.
        overlap_px: Least overlap of neighboring tiles in pixels; more than the largest cell.
        align_px: Tile origins are multiples of this many pixels.

    Returns:
        The tiles; one tile, smaller than tile_px, for a small image.

    Raises:
        ValueError: If the image is empty, or the tiles cannot advance by align_px.
    """
    if height < 1 or width < 1:
        raise ValueError(f"An image of {height} x {width} pixels cannot be cut into tiles.")
    if align_px < 1 or overlap_px < 0 or tile_px - overlap_px < align_px:
        raise ValueError(
            f"Tiles of {tile_px} px with {overlap_px} px overlap cannot advance by steps of "
            f"{align_px} px; take larger tiles or less overlap."
        )
    spans_x = _cut_axis(width, tile_px, overlap_px, align_px)
    spans_y = _cut_axis(height, tile_px, overlap_px, align_px)
    return [
        Tile(x1, y1, x2, y2, core_x1, core_y1, core_x2, core_y2)
        for y1, y2, core_y1, core_y2 in spans_y
        for x1, x2, core_x1, core_x2 in spans_x
    ]


def _cut_axis(
    length: int, tile_px: int, overlap_px: int, align_px: int
) -> list[tuple[int, int, float, float]]:
    """Cut one axis into (start, end, core start, core end), all in pixels."""
    if length <= tile_px:
        return [(0, length, 0.0, float(length))]
    step = (tile_px - overlap_px) // align_px * align_px
    last = math.ceil((length - tile_px) / align_px) * align_px
    origins = [*range(0, last, step), last]
    ends = [min(origin + tile_px, length) for origin in origins]
    seams = [(end + origin) / 2 for end, origin in zip(ends, origins[1:], strict=False)]
    return list(zip(origins, ends, [0.0, *seams], [*seams, float(length)], strict=True))


def check_range(
    name: str, value: float | None, low: float, high: float = math.inf, open_end: bool = False
) -> None:
    """Check an option that a user gave.

    Args:
        name: What it is called in the error.
        value: Its value; None passes.
        low: The least value allowed, or with open_end the one it must exceed.
        high: The greatest value allowed; infinity itself is not.
        open_end: Whether low itself is refused.

    Raises:
        CellsegError: If the value is outside, or not a number.
    """
    if value is None:
        return
    if not low <= value <= high or math.isinf(value) or (open_end and value == low):
        least = "more than" if open_end else "at least"
        most = "" if math.isinf(high) else f" and at most {high:g}"
        raise CellsegError(f"{name} must be {least} {low:g}{most}, not {value}.")


def is_background(tile: NDArray[np.uint8], flat_range: float = _FLAT_RANGE) -> bool:
    """Return whether a tile is flat at all sampled places, so that it surely holds no cell.

    Noise is averaged away over 4 x 4 pixels; then no block of 64 x 64 pixels may vary in any
    channel by flat_range grey levels or more. Uneven light passes as flat, a cell of 8 px does not.

    Args:
        tile: (h, w, 3) uint8 of any channel order; h and w may be 0.
        flat_range: Difference of grey levels that is still flat; 0 calls no tile background.

    Returns:
        Whether the network may skip the tile.
    """
    if tile.size == 0:
        return True
    rows, columns = (max(side // _AVERAGED_PX, 1) for side in tile.shape[:2])
    small = cv2.resize(tile, (columns, rows), interpolation=cv2.INTER_AREA)
    block = np.ones((_BLOCK_PX, _BLOCK_PX), dtype=np.uint8)
    spread = cv2.subtract(cv2.dilate(small, block), cv2.erode(small, block))
    return bool(spread.max() < flat_range)
