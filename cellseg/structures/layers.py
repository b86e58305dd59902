"""Layers of label maps as OpenCV and Pillow move them: int32 ids without rounding."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

CHANNELS_OF_SHORT_PATH = (1, 3, 4)


def as_layers(layers: NDArray) -> NDArray[np.int32]:
    """Check label maps (L, H, W) and hold them as int32, without a copy where they are."""
    if layers.ndim != 3 or layers.dtype.kind not in "iu":
        raise ValueError(
            "Layers must be a three-dimensional integer array, "
            f"not {layers.ndim}-dimensional {layers.dtype}."
        )
    if layers.dtype == np.int32:
        return layers
    if layers.size and layers.max() > np.iinfo(np.int32).max:
        raise ValueError("An id does not fit into int32; renumber the cells of that layer.")
    return layers.astype(np.int32)


def as_bytes(layer: NDArray[np.int32]) -> NDArray[np.uint8]:
    """View (H, W) int32 as (H, W, 4) uint8, which OpenCV and Pillow move without rounding."""
    return np.ascontiguousarray(layer).view(np.uint8).reshape(*layer.shape, 4)


def from_bytes(layer: NDArray[np.uint8]) -> NDArray[np.int32]:
    """View (H, W, 4) uint8 as the (H, W) int32 it was made of."""
    return np.ascontiguousarray(layer).view(np.int32)[..., 0]


def warp_layer(
    layer: NDArray[np.int32], warp: Callable[[NDArray], NDArray], num_masks: int
) -> NDArray[np.int32]:
    """Warp a layer, nearest-neighbor, to the pixels that N bitmaps as N channels would get.

    OpenCV 5 rounds source positions differently for 8-bit images of 1, 3 or 4 channels than for
    all others; OpenCV 4 does not. Four bytes a pixel take the first path, one int32 the second.

    Args:
        layer: (H, W) ids.
        warp: A nearest-neighbor warp with a border of 0, of (H, W) int32 or (H, W, 4) uint8.
        num_masks: How many channels the bitmaps would have.

    Returns:
        (H, W) ids.
    """
    if num_masks in CHANNELS_OF_SHORT_PATH:
        return from_bytes(warp(as_bytes(layer)))
    return warp(np.ascontiguousarray(layer))
