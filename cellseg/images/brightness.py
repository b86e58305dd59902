"""How bright an image is, by a few parts of it: stained tissue is light, fluorescence is dark."""

from __future__ import annotations

import numpy as np

from cellseg.images.image_source import ImageSource

_GRID = 5
_PART_PX = 64


def measure_brightness(source: ImageSource) -> float:
    """Measure the median gray level of an image, which is that of its background.

    Args:
        source: The image, open.

    Returns:
        The median of 5 x 5 parts of up to 64 x 64 pixels that are spread over it, 0 to 255. Parts
        of a single value, such as what a slide scanner left out, count only where all are so.
    """
    width, height = min(source.width, _PART_PX), min(source.height, _PART_PX)
    xs = np.linspace(0, source.width - width, _GRID).astype(int).tolist()
    ys = np.linspace(0, source.height - height, _GRID).astype(int).tolist()
    parts = [source.read(x, y, width, height).mean(axis=2) for y in ys for x in xs]
    seen = [part for part in parts if part.min() < part.max()]
    return float(np.median(seen or parts))
