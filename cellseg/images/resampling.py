"""An image at another pixel size than its own."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from cellseg.images.image_source import ImageSize, ImageSource


class ResampledSource(ImageSource):
    """Another source at a different pixel size; regions that overlap get the same pixels.

    Args:
        source: What is read.
        factor: Pixels of the source per pixel of the result; below 1 enlarges.
    """

    def __init__(self, source: ImageSource, factor: float) -> None:
        """Keep the source; see the class."""
        self._source = source
        self._factor = factor
        self.height, self.width = resampled_size(source, factor)
        self.downsample = source.downsample * factor
        self.channels, self.levels = source.channels, source.levels
        self.pixel_size_note = source.pixel_size_note
        if source.pixel_size_um is not None:
            self.pixel_size_um = source.pixel_size_um * factor
        if source.pixel_size_xy_um is not None:
            x_um, y_um = source.pixel_size_xy_um
            self.pixel_size_xy_um = x_um * factor, y_um * factor

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read the region with bilinear interpolation, blurred first when made smaller."""
        factor, source = self._factor, self._source
        sigma = max((factor - 1) / 2, 0.0)
        margin = int(np.ceil(3 * sigma)) + 2
        x1, y1 = (max(int(start * factor) - margin, 0) for start in (x, y))
        x2 = min(int(np.ceil((x + width) * factor)) + margin, source.width)
        y2 = min(int(np.ceil((y + height) * factor)) + margin, source.height)
        region = source.read(x1, y1, x2 - x1, y2 - y1)
        if sigma > 0:
            region = cv2.GaussianBlur(region, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        shift = (factor - 1) / 2  # pixel centers lie at half-integers
        matrix = np.array(
            [[factor, 0, x * factor + shift - x1], [0, factor, y * factor + shift - y1]]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(
            region, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )

    def close(self) -> None:
        """Close the source."""
        self._source.close()


def resampled_size(size: ImageSize | ImageSource, factor: float) -> ImageSize:
    """Compute the size of an image of which factor x factor pixels become one."""
    return ImageSize(max(round(size.height / factor), 1), max(round(size.width / factor), 1))
