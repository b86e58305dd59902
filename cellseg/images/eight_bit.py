"""Turn the values that an image file stores into 8-bit blue, green, red: the one place for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellseg.errors import CellDataError

DEFAULT_MAX_PIXELS = 2**28
"""Largest declared height x width that is decoded whole, in pixels (16384 x 16384)."""

_FORMAT_KEYS = {"channel_order", "intensity_range", "max_pixels"}
_SWAP, _KEEP = (2, 1, 0), (0, 1, 2)


def check_image_format(image_format: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options that say how an image file is to be read, and fill in the defaults.

    Args:
        image_format: Any of `channel_order`, `intensity_range`, `max_pixels`.

    Returns:
        All three options.

    Raises:
        ValueError: If an option is unknown or has a value that makes no sense.
    """
    unknown = set(image_format) - _FORMAT_KEYS
    if unknown:
        raise ValueError(
            f"Unknown image_format keys {sorted(unknown)}; use {sorted(_FORMAT_KEYS)}."
        )
    order = image_format.get("channel_order", "rgb")
    if order not in ("rgb", "bgr"):
        raise ValueError(f"channel_order must be 'rgb' or 'bgr', not {order!r}.")
    intensity_range = image_format.get("intensity_range")
    if intensity_range is not None:
        _check_range(intensity_range)
    max_pixels = image_format.get("max_pixels", DEFAULT_MAX_PIXELS)
    return {"channel_order": order, "intensity_range": intensity_range, "max_pixels": max_pixels}


def check_intensity_range(path: str | Path, is_8bit: bool, intensity_range: Any) -> None:
    """Refuse an image that is not 8 bit where nothing says how to map it.

    Args:
        path: The image, for the message.
        is_8bit: Whether the file holds 8-bit values.
        intensity_range: The option of the image format; None where it is not set.

    Raises:
        CellDataError: If the image is not 8 bit and there is no range.
    """
    if not is_8bit and intensity_range is None:
        raise CellDataError(
            f"{path}: the image is not 8 bit; say how to map it, with intensity_range=(low, high) "
            "or intensity_range=dict(percentile=(0.5, 99.5))."
        )


def to_8bit_bgr(
    values: NDArray[Any], limits: tuple[float, float] | None = None, stores_bgr: bool = False
) -> NDArray[np.uint8]:
    """Turn stored values into 8-bit blue, green, red.

    Args:
        values: (H, W, 1) gray or (H, W, 3) in the order that is stored.
        limits: The values that become 0 and 255; None for uint8 values, which stay as they are.
        stores_bgr: Whether that order is blue, green, red already.

    Returns:
        (H, W, 3) uint8 in the order B, G, R; gray is repeated.
    """
    pixels = values if limits is None else map_to_8bit(values, *limits)
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    return order_channels(pixels, _KEEP if stores_bgr else _SWAP)


def find_limits(values: NDArray[Any], intensity_range: Any) -> tuple[float, float]:
    """Settle which stored values become 0 and 255.

    Args:
        values: The image's values, or a sample of them; of any shape.
        intensity_range: (low, high), or dict(percentile=(low, high)) of the values.

    Returns:
        The two values.
    """
    if isinstance(intensity_range, Mapping):
        low, high = np.percentile(values, intensity_range["percentile"])
    else:
        low, high = intensity_range
    return float(low), float(high)


def map_to_8bit(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Stretch values linearly so that low and high become 0 and 255; clip what is outside."""
    if high <= low:
        return np.zeros(values.shape, dtype=np.uint8)
    precise = np.float64 if values.dtype.itemsize > 2 else np.float32
    scaled = (np.clip(values.astype(precise), low, high) - low) * (255 / (high - low))
    return np.rint(scaled).astype(np.uint8)


def order_channels(values: NDArray[Any], order: tuple[int, int, int]) -> NDArray[Any]:
    """Copy channels (H, W, 3) one by one, which is three times as fast as all at once."""
    if order == _KEEP and values.flags.c_contiguous:
        return values
    ordered = np.empty(values.shape, dtype=values.dtype)
    for target, source in enumerate(order):
        ordered[..., target] = values[..., source]
    return ordered


def _check_range(intensity_range: Any) -> None:
    """Raise ValueError unless the option is (low, high) or dict(percentile=(low, high))."""
    limits = intensity_range
    is_percentile = isinstance(intensity_range, Mapping)
    if is_percentile:
        limits = intensity_range.get("percentile") if len(intensity_range) == 1 else None
    try:
        low, high = (float(limit) for limit in limits)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    inside = low >= 0 and high <= 100 if is_percentile else np.isfinite([low, high]).all()
    if not (low < high and inside):
        raise ValueError(
            "intensity_range must be (low, high) with low < high, or dict(percentile=(low, high)) "
            f"with 0 <= low < high <= 100, not {intensity_range!r}."
        )
