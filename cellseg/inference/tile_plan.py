"""How an image is cut into tiles, and which tiles go through the network together."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cellseg.errors import CellsegError
from cellseg.images import ImageSource
from cellseg.inference.tiles import Tile, check_range, is_background, make_tile_grid

_STRIDE = 64  # of the coarsest feature level: tiles moved by it look the same to the network
LEAST_TILE_PX = 512
_LARGEST_INPUT_PX = 2048  # that a tile becomes by this least side
_LARGEST_SCALE = 64.0


@dataclass(frozen=True)
class TileOptions:
    """How large images are cut.

    Attributes:
        tile_px: Side of a tile in image pixels; when None, the side of the network's input, at
            least 512, or less where that would become more than 2048 there. Where the scale allows,
            it is rounded up to whole strides of the network, so that a tile is resized just as the
            whole image is. Images up to twice this are predicted whole.
        overlap_px: Least overlap of tiles, more than the largest cell; a quarter of a tile, up to
            128, when None.
        scale: Pixels of the network's input per image pixel. When None, tiles are shown as they
            are (1.0), whole images at the size the test pipeline gives them.
        whole: True predicts every image whole, False every image tiled, None by size.
        batch_size: Tiles that go through the network together.
        skip_background: Whether flat tiles, with no cell to be seen, are skipped.
    """

    tile_px: int | None = None
    overlap_px: int | None = None
    scale: float | None = None
    whole: bool | None = None
    batch_size: int = 2
    skip_background: bool = True

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            CellsegError: If one makes no sense, so that it is said before an image is read.
        """
        check_range("The side of a tile", self.tile_px, 1)
        check_range("The overlap of tiles", self.overlap_px, 0)
        check_range("The scale", self.scale, 0, _LARGEST_SCALE, open_end=True)
        check_range("The batch size", self.batch_size, 1)


@dataclass(frozen=True)
class TilePlan:
    """The tiles of one image; a single one that covers it means that it is predicted whole.

    Attributes:
        tiles: Row after row.
        batches: Indices into tiles, each in one batch; batches in the order of their first tiles.
        scale: The factor that tiles are resized by; None for the test pipeline's own way.
    """

    tiles: tuple[Tile, ...]
    batches: tuple[tuple[int, ...], ...]
    scale: float | None


def plan_tiles(
    height: int, width: int, options: TileOptions, input_size: tuple[int, int]
) -> TilePlan:
    """Cut an image as the options say; the same way in every process.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        options: How images are cut.
        input_size: Height and width of the network's input, in pixels.

    Returns:
        The plan.

    Raises:
        CellsegError: If the image cannot be tiled as the options say.
    """
    tile_px, overlap_px, align_px = _choose_sides(options, input_size)
    longest = max(height, width)
    whole = longest <= 2 * tile_px if options.whole is None else options.whole
    try:
        if whole:
            tiles = make_tile_grid(height, width, longest, 0)
        else:
            tiles = make_tile_grid(height, width, tile_px, overlap_px, align_px)
    except ValueError as error:
        raise CellsegError(str(error)) from error
    scale = options.scale or (1.0 if len(tiles) > 1 else None)
    return TilePlan(tuple(tiles), group_tiles(tiles, options.batch_size), scale)


def check_tiling(options: TileOptions, input_size: tuple[int, int]) -> None:
    """Raise CellsegError if no image could be tiled as the options say."""
    if options.whole is not True:
        plan_tiles(1, 1, replace(options, whole=False), input_size)


def _choose_sides(options: TileOptions, input_size: tuple[int, int]) -> tuple[int, int, int]:
    """Choose the tiles' side, overlap and alignment, in image pixels."""
    scale = options.scale or 1.0
    least_px = min(LEAST_TILE_PX, math.ceil(_LARGEST_INPUT_PX / scale))
    tile_px = options.tile_px or max(math.ceil(max(input_size) / scale), least_px)
    overlap_px = min(tile_px // 4, 128) if options.overlap_px is None else options.overlap_px
    align = _STRIDE / scale
    align_px = round(align) if abs(align - round(align)) < 1e-9 and align >= 1 else 1
    return math.ceil(tile_px / align_px) * align_px, overlap_px, align_px


def group_tiles(tiles: Sequence[Tile], batch_size: int) -> tuple[tuple[int, ...], ...]:
    """Group tiles of equal size into batches.

    Tiles at the right and lower border may be smaller than the others. Beside those they would be
    padded, and the detector's limits would be set for the larger ones: the cells found would depend
    on the batch size.

    Args:
        tiles: The tiles of one image; may be empty.
        batch_size: Most tiles in a batch.

    Returns:
        Indices into tiles, as `TilePlan.batches`.
    """
    alike: dict[tuple[int, int], list[int]] = {}
    for index, tile in enumerate(tiles):
        alike.setdefault((tile.height, tile.width), []).append(index)
    return tuple(
        sorted(
            tuple(group[begin : begin + batch_size])
            for group in alike.values()
            for begin in range(0, len(group), batch_size)
        )
    )


def read_tiles(
    source: ImageSource,
    plan: TilePlan,
    batches: Sequence[tuple[int, ...]],
    skip_background: bool,
    num_readers: int = 1,
) -> Iterator[tuple[tuple[int, ...], list[NDArray[np.uint8] | None]]]:
    """Read batches of tiles in order, some of them ahead, in threads.

    Args:
        source: The image.
        plan: Its tiles.
        batches: The batches that are wanted, as in `TilePlan.batches`.
        skip_background: Whether tiles without a cell to be seen are left out; a single tile that
            covers the image never is.
        num_readers: Threads, and batches that are read before they are asked for.

    Yields:
        Each batch with its tiles, (h, w, 3) uint8 B, G, R; None for a tile that is left out.
    """
    can_skip = skip_background and len(plan.tiles) > 1

    def read(batch: tuple[int, ...]) -> list[NDArray[np.uint8] | None]:
        images = []
        for index in batch:
            tile = plan.tiles[index]
            image = source.read(tile.x1, tile.y1, tile.width, tile.height)
            images.append(None if can_skip and is_background(image) else image)
        return images

    waiting: deque[Future[list[NDArray[np.uint8] | None]]] = deque()
    with ThreadPoolExecutor(num_readers) as readers:
        try:
            for number, batch in enumerate(batches):
                ahead = batches[number + len(waiting) : number + num_readers + 1]
                waiting += [readers.submit(read, later) for later in ahead]
                yield batch, waiting.popleft().result()
        finally:
            readers.shutdown(cancel_futures=True)  # after an error, no more is read
