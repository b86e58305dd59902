"""Notice that red and blue of stained tissue are read the wrong way round.

Hematoxylin, which nuclei take, holds back much more red than blue; eosin, around them, hardly
differs. So the darker part of a tissue is bluer than the lighter one, whatever the tint of the
scanner, and redder where the channels are swapped. Brown stains (DAB) hold back blue most, and
swapped hematoxylin green most; images on dark ground, and gray ones, are not checked.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from cellseg.errors import CellDataError
from cellseg.images.kinds import open_stored
from cellseg.images.opening import open_image

_MOST_IMAGES = 20
_FEWEST_VOTES = 3
_SIDE_PX = 1024  # of the part that is measured, in the middle of the image
_THUMBNAIL_PX = 256
_LEAST_DENSITY = 0.05  # stained at all: 11% of the light held back
_MOST_GROUND_DENSITY = 0.6  # the light half of a stained section lets a quarter through
_LEAST_TINT = 0.03
_FEWEST_PX = 100
_MOST_PX = 100_000_000


def measure_blue_shift(image_bgr: NDArray[np.uint8]) -> float:
    """Measure how much bluer the dark part of stained tissue is than its light part.

    Args:
        image_bgr: (H, W, 3) uint8 as B, G, R.

    Returns:
        The optical density of red less that of blue which the darkest fifth has more than the
        light half, as a share of all that it has more; positive in stained tissue, negative if red
        and blue are swapped, nan where the image does not look like stained tissue either way.
    """
    step = max(1, max(image_bgr.shape[:2]) // _THUMBNAIL_PX)
    pixels = image_bgr[::step, ::step].reshape(-1, 3).astype(np.float64)
    density = -np.log10((pixels + 1) / 256)
    total = density.mean(axis=1)
    is_stained = total > _LEAST_DENSITY
    if np.count_nonzero(is_stained) < _FEWEST_PX:
        return math.nan
    density, total = density[is_stained], total[is_stained]
    light = density[total <= np.quantile(total, 0.5)].mean(axis=0)
    blue, green, red = density[total >= np.quantile(total, 0.8)].mean(axis=0) - light
    all_of_it = abs(blue) + abs(green) + abs(red)
    if light.max() > _MOST_GROUND_DENSITY or all_of_it == 0:
        return math.nan
    if green < min(blue, red) or (blue > green and blue > red):
        return math.nan
    return float((red - blue) / all_of_it)


def warn_of_swapped_array(image_bgr: NDArray[np.uint8]) -> bool:
    """Warn where red and blue of an array look swapped.

    Args:
        image_bgr: (H, W, 3) uint8, taken as B, G, R.

    Returns:
        Whether they do.
    """
    is_swapped = measure_blue_shift(image_bgr) < -_LEAST_TINT
    if is_swapped:
        print_log(
            "Red and blue of the array look swapped: the dark parts of stained tissue are redder "
            "than the light ones. Arrays are taken as R, G, B; give channel_order='bgr' for one "
            "that comes from OpenCV.",
            "current",
            logging.WARNING,
        )
    return is_swapped


def count_swapped(paths: Sequence[Path], image_format: Mapping[str, Any]) -> tuple[int, int, int]:
    """Count images whose red and blue look swapped, among up to 20 spread over a list.

    Args:
        paths: Image files. Those whose channels `channel_order` does not concern are left out.
        image_format: As for `open_image`.

    Returns:
        How many look swapped, how many look right, and how many were opened.
    """
    step = max(1, math.ceil(len(paths) / _MOST_IMAGES))
    shifts = []
    for path in paths[::step]:
        with suppress(CellDataError, OSError, ValueError):
            with open_stored(path) as stored:
                if not stored.may_be_bgr:
                    continue
            with open_image(path, image_format) as source:
                if source.height * source.width > _MOST_PX:
                    continue
                height, width = min(source.height, _SIDE_PX), min(source.width, _SIDE_PX)
                x, y = (source.width - width) // 2, (source.height - height) // 2
                shifts.append(measure_blue_shift(source.read(x, y, width, height)))
    swapped = sum(shift < -_LEAST_TINT for shift in shifts)
    return swapped, sum(shift > _LEAST_TINT for shift in shifts), len(shifts)


def warn_of_swapped_channels(
    paths: Sequence[Path], image_format: Mapping[str, Any], option: str
) -> None:
    """Warn, once in a process, where most images of a set contradict the channel order.

    Args:
        paths: Image files.
        image_format: As for `open_image`; its channel_order is the one to check.
        option: How to set it; {order} stands for the other order.
    """
    if len(paths) >= _FEWEST_VOTES:
        _warn_once(tuple(paths), json.dumps(dict(image_format), sort_keys=True), option)


@lru_cache(maxsize=64)
def _warn_once(paths: tuple[Path, ...], image_format: str, option: str) -> None:
    """Count and warn; train and val data of the same folder ask for the same."""
    options = json.loads(image_format)
    swapped, right, opened = count_swapped(paths, options)
    if swapped < _FEWEST_VOTES or 2 * swapped <= opened or swapped < 3 * right:
        return
    order = options.get("channel_order", "rgb")
    other = "rgb" if order == "bgr" else "bgr"
    print_log(
        f"Red and blue seem to be swapped in {swapped} of {opened} images looked at in "
        f"{_common_folder(paths)}: dark tissue is brown in place of blue. They are read as "
        f"channel_order={order}; if the tissue should be pink and purple, set "
        f"{option.format(order=other)}.",
        "current",
        logging.WARNING,
    )


def _common_folder(paths: Sequence[Path]) -> str:
    """Name the folder that all paths lie in, the first one's where there is none."""
    try:
        return os.path.commonpath([path.parent for path in paths])
    except ValueError:  # relative ones beside absolute ones, or on another drive
        return str(paths[0].parent)
