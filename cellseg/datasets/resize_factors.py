"""By which factors a pipeline resizes images, read off its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cellseg.datasets.transforms_resize import limited_size


class FactorRange(NamedTuple):
    """Smallest and largest factor; both alike where nothing is drawn at random."""

    low: float
    high: float


def find_resize_factors(
    pipeline: Sequence[Mapping[str, Any]], height: int, width: int
) -> FactorRange | None:
    """Find by which factor a pipeline resizes an image of some size.

    Args:
        pipeline: The transforms' settings, in order.
        height: Of the image, in pixels.
        width: Of the image, in pixels.

    Returns:
        The factors; 1 where nothing resizes; None where a transform is not understood, or changes
        the aspect ratio.
    """
    low = high = 1.0
    size = (float(height), float(width))
    for step in pipeline:
        name = str(step["type"]).rpartition(".")[2]
        if name == "RandomCrop":
            size = _crop(size, step)
        elif name.endswith("Resize"):
            found = _read_factors(name, step, size)
            if found is None:
                return None
            low, high = low * found.low, high * found.high
            size = (size[0] * found.low, size[1] * found.low)
    return FactorRange(low, high)


def find_constant_factor(pipeline: Sequence[Mapping[str, Any]]) -> float | None:
    """Find the one factor that a pipeline resizes every image by; None where it depends on them."""
    found = {find_resize_factors(pipeline, *size) for size in ((300, 500), (900, 700))}
    factors = found.pop()
    if found or factors is None or factors.low != factors.high:
        return None
    return factors.low


def _crop(size: tuple[float, float], step: Mapping[str, Any]) -> tuple[float, float]:
    """Return the size after a crop of pixels; other kinds of crops leave it."""
    crop = step.get("crop_size")
    if step.get("crop_type", "absolute") != "absolute" or not isinstance(crop, Sequence):
        return size
    return min(size[0], crop[0]), min(size[1], crop[1])


def _read_factors(
    name: str, step: Mapping[str, Any], size: tuple[float, float]
) -> FactorRange | None:
    """Read the factors of one transform that resizes; None where it is not understood."""
    scale = step.get("scale")
    if name == "LimitedResize" and scale is not None:
        limits = step.get("factor_range", (1.0, 2.5))
        height = limited_size(round(size[0]), round(size[1]), scale, limits)[0]
        factor = height / round(size[0])
        low, high = step.get("ratio_range", (1.0, 1.0))
        return FactorRange(factor * low, factor * high)
    if name not in ("Resize", "RandomResize") or not step.get("keep_ratio", False):
        return None
    low, high = step.get("ratio_range", (1.0, 1.0)) if name == "RandomResize" else (1.0, 1.0)
    fixed = _read_factor(step.get("scale_factor"), scale, size)
    return None if fixed is None else FactorRange(fixed * low, fixed * high)


def _read_factor(scale_factor: Any, scale: Any, size: tuple[float, float]) -> float | None:
    """Compute the factor of mmcv's resize, the aspect ratio kept; None where that is unclear."""
    if isinstance(scale_factor, int | float):
        return float(scale_factor)
    if isinstance(scale, int):
        scale = (scale, scale)
    is_size = isinstance(scale, Sequence) and len(scale) == 2
    if scale_factor is not None or not is_size or not all(isinstance(n, int) for n in scale):
        return None
    return min(max(scale) / max(size), min(scale) / min(size))
