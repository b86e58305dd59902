"""Resize images of very different sizes without shrinking cells away or blowing them up."""

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmdet.datasets.transforms import Resize
from mmdet.registry import TRANSFORMS


def limited_size(
    height: int,
    width: int,
    scale: tuple[int, int],
    factor_range: tuple[float, float] = (1.0, 2.5),
    jitter: float = 1.0,
) -> tuple[int, int]:
    """Compute the size that `LimitedResize` gives an image.

    Args:
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        scale: Goal for width and height, in pixels; the longer side goes to the larger of both.
        factor_range: Smallest and largest factor before jitter.
        jitter: A factor on top.

    Returns:
        Height and width in pixels, at least 1 each.
    """
    factor = jitter * min(max(max(scale) / max(height, width), factor_range[0]), factor_range[1])
    return max(round(height * factor), 1), max(round(width * factor), 1)


@TRANSFORMS.register_module()
class LimitedResize(BaseTransform):
    """Resize the longer side to a goal, by a factor within limits.

    MMDetection's `Resize` to 1024 px enlarges an image of 33 px 31 times and shrinks one of 2500 px
    until its lymphocytes have 5 px. Here the factor stays within `factor_range`: with (1, 2.5),
    images longer than the goal keep their own resolution, and small ones grow 2.5 times at most.

    Required and modified keys are those of mmdet's `Resize`, the aspect ratio kept.

    Args:
        scale: Goal for width and height, in pixels; the longer side goes to the larger of both.
        factor_range: Smallest and largest factor before jitter.
        ratio_range: A random factor on top, drawn evenly from here in logarithms.

    Raises:
        ValueError: If a range is not two positive numbers in order.
    """

    def __init__(
        self,
        scale: tuple[int, int],
        factor_range: tuple[float, float] = (1.0, 2.5),
        ratio_range: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        """Check and keep the limits."""
        for low, high in (factor_range, ratio_range):
            if not 0 < low <= high:
                raise ValueError(
                    "LimitedResize needs ranges of two positive numbers in order, not "
                    f"{factor_range} and {ratio_range}."
                )
        self.scale = scale
        self.factor_range = factor_range
        self.ratio_range = ratio_range

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize image, boxes and masks of an entry."""
        height, width = results["img"].shape[:2]
        size = limited_size(height, width, self.scale, self.factor_range, self._draw())
        resized: dict[str, Any] = Resize(scale=size[::-1], keep_ratio=False).transform(results)
        resized["keep_ratio"] = True
        return resized

    @cache_randomness
    def _draw(self) -> float:
        """Draw the jitter, from numpy's seed."""
        return float(np.exp(np.random.uniform(*np.log(self.ratio_range))))

    def __repr__(self) -> str:
        """Return the call that builds this transform."""
        return (
            f"{type(self).__name__}(scale={self.scale}, factor_range={self.factor_range}, "
            f"ratio_range={self.ratio_range})"
        )
