"""Stain jitter: the same tissue as another laboratory's haematoxylin and eosin would show it.

Light that passes a stain is absorbed in proportion to the amount of stain, so that in optical
density, the logarithm of the intensity, an image is a mixture of a few stain colors. Changing the
amounts changes the colors as staining and scanning do, which brightness and hue changes do not.
See Ruifrok and Johnston, Quantification of histochemical staining by color deconvolution
(Anal. Quant. Cytol. Histol. 23, 2001), for the colors, and Tellez et al., Whole-Slide Mitosis
Detection in H&E Breast Histology (https://arxiv.org/abs/1808.05896), for the augmentation.
"""

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmdet.registry import TRANSFORMS
from numpy.typing import NDArray

# Optical density in red, green and blue of haematoxylin, of eosin and of a third stain that takes
# up what these two do not explain; the numbers of Ruifrok and Johnston, as in scikit-image.
RGB_FROM_HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
_BGR_FROM_HED = RGB_FROM_HED[:, ::-1]
_HED_FROM_BGR = np.linalg.inv(_BGR_FROM_HED)
# Black absorbs as much as the darkest grey value above it, as its logarithm is not finite.
_LOG_INTENSITY = np.log(np.maximum(np.arange(256), 1) / 255).astype(np.float32)


@TRANSFORMS.register_module()
class StainJitter(BaseTransform):
    """Scale and shift the amount of each stain of an H&E image, by random amounts of their own.

    Every stain's amount s becomes `scale * s + shift`, in one matrix product over the logarithms of
    the pixels. Required and modified key: `img` (H, W, 3) uint8 in the order B, G, R.

    Args:
        scale_range: Scales are drawn evenly from 1 - scale_range to 1 + scale_range.
        shift_range: Shifts are drawn evenly from -shift_range to shift_range, in natural units of
            optical density: 0.05 makes white up to 7 % darker in one channel.
        prob: The share of images to change.

    Raises:
        ValueError: If a range is negative, scale_range is 1 or more, or prob is no probability.
    """

    def __init__(
        self, scale_range: float = 0.15, shift_range: float = 0.05, prob: float = 1.0
    ) -> None:
        """Check and keep the ranges."""
        if not 0 <= scale_range < 1 or shift_range < 0 or not 0 <= prob <= 1:
            raise ValueError(
                "StainJitter needs 0 <= scale_range < 1, shift_range >= 0 and 0 <= prob <= 1, not "
                f"{scale_range}, {shift_range} and {prob}."
            )
        self.scale_range = scale_range
        self.shift_range = shift_range
        self.prob = prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change the colors of an image, or leave it as it is.

        Raises:
            ValueError: If the image is not (H, W, 3) uint8.
        """
        image = results["img"]
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f"StainJitter got {image.dtype} {image.shape} for {results.get('img_path')}; put "
                "it before anything that makes the image other than (H, W, 3) uint8."
            )
        changes, scales, shifts = self._draw()
        if changes:
            results["img"] = change_stains(image, scales, shifts)
        return results

    @cache_randomness
    def _draw(self) -> tuple[bool, NDArray[np.float64], NDArray[np.float64]]:
        """Draw whether to change the image, and three scales and shifts, from numpy's seed."""
        scales = np.random.uniform(1 - self.scale_range, 1 + self.scale_range, size=3)
        shifts = np.random.uniform(-self.shift_range, self.shift_range, size=3)
        return bool(np.random.random() < self.prob), scales, shifts

    def __repr__(self) -> str:
        """Return the call that builds this transform."""
        return (
            f"{type(self).__name__}(scale_range={self.scale_range}, "
            f"shift_range={self.shift_range}, prob={self.prob})"
        )


def change_stains(
    image: NDArray[np.uint8], scales: NDArray[np.floating], shifts: NDArray[np.floating]
) -> NDArray[np.uint8]:
    """Scale and shift the amounts of haematoxylin, eosin and the third stain.

    Args:
        image: (H, W, 3) in the order B, G, R.
        scales: (3,) factors of the amounts.
        shifts: (3,) additions to the amounts, in natural units of optical density.

    Returns:
        (H, W, 3) in the order B, G, R.
    """
    if not image.size:
        return image
    # log I = -amounts @ M; so log I' = log I @ (M^-1 diag(scales) M) - shifts @ M
    mixing = _HED_FROM_BGR @ np.diag(scales) @ _BGR_FROM_HED
    offset = np.log(255) - np.asarray(shifts) @ _BGR_FROM_HED
    logs = cv2.LUT(np.ascontiguousarray(image), _LOG_INTENSITY)
    logs = cv2.transform(logs, np.column_stack((mixing.T, offset)))
    # within 0 to 255 before rounding: a lower end of -1 gives 0
    intensity = cv2.exp(np.clip(logs, -1.0, np.float32(np.log(255)), out=logs))
    rounded: NDArray[np.uint8] = np.rint(intensity, out=intensity).astype(np.uint8)
    return rounded
