"""Draw slides of any size tile by tile: a band of tissue across the top, glass below it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from cellseg.datasets.synthetic import draw_cell_image

BLOCK_PX = 1000
_TILE_PX = 512
_GLASS = 240


def write_slide(path: Path, side_px: int, tissue_share: float, cells_per_block: int) -> int:
    """Write a tiled TIFF of a square slide in B, G, R, as the sample data, a tile at a time.

    The tissue is one drawn block repeated; glass is bright with a little noise. As a band, tissue
    touches the same share of tiles whatever the size of the slide.

    Args:
        path: The file.
        side_px: Height and width in pixels.
        tissue_share: Share of the height that is tissue.
        cells_per_block: Cells in a block of BLOCK_PX x BLOCK_PX.

    Returns:
        How many cells are drawn; one that the edge of a block cuts counts as one.
    """
    block, label_maps = draw_cell_image(
        np.random.default_rng(0), BLOCK_PX, BLOCK_PX, cells_per_block
    )
    labels = np.sum(list(label_maps.values()), axis=0)
    rng = np.random.default_rng(1)
    glass = (_GLASS + rng.integers(-2, 3, (_TILE_PX, _TILE_PX, 3))).astype(np.uint8)
    tissue_px = round(side_px * tissue_share)

    def tiles() -> Iterator[NDArray[np.uint8]]:
        for top in range(0, side_px, _TILE_PX):
            rows = np.arange(top, top + _TILE_PX)
            for left in range(0, side_px, _TILE_PX):
                tile = glass.copy()
                filled = int(np.count_nonzero(rows < tissue_px))
                columns = np.arange(left, left + _TILE_PX)
                tile[:filled] = block[np.ix_(rows[:filled] % BLOCK_PX, columns % BLOCK_PX)]
                yield tile

    tifffile.imwrite(
        path,
        tiles(),
        shape=(side_px, side_px, 3),
        dtype=np.uint8,
        tile=(_TILE_PX, _TILE_PX),
        compression="zlib",
        compressionargs={"level": 1},
        photometric="rgb",
    )
    return sum(
        len(np.unique(labels[: min(BLOCK_PX, tissue_px - top), : min(BLOCK_PX, side_px - left)]))
        - 1
        for top in range(0, tissue_px, BLOCK_PX)
        for left in range(0, side_px, BLOCK_PX)
    )
