"""Put images side by side under small captions. Everything here is RGB."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cellseg.palette import Color

_PAPER: Color = (255, 255, 255)
_INK: Color = (30, 30, 30)
_GAP_PX = 8


@dataclass(frozen=True)
class CaptionEntry:
    """One class in a caption: a swatch of its color and what is said of it."""

    text: str
    color: Color


def resize_for_display(
    image: NDArray[np.uint8], min_side_px: int = 0, max_side_px: int | None = None
) -> tuple[NDArray[np.uint8], float]:
    """Enlarge a small image, and shrink a large one, so that outlines on it can be seen.

    Args:
        image: (H, W, 3) uint8.
        min_side_px: Enlarge until the longer side has at least this many pixels, at most 4 times.
        max_side_px: Shrink until the longer side has at most this many pixels; None for never.

    Returns:
        The image (h, w, 3) uint8 and its scale, 1 where it was left as it is.
    """
    longer = max(image.shape[:2])
    scale = min(max(min_side_px / longer, 1.0), 4.0)
    if max_side_px is not None:
        scale = min(scale, max_side_px / longer)
    if scale == 1.0:
        return image, scale
    height, width = (max(round(side * scale), 1) for side in image.shape[:2])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=method), scale


def draw_caption(title: str, entries: Sequence[CaptionEntry], width: int) -> NDArray[np.uint8]:
    """Draw a caption that breaks its lines to fit a width.

    Args:
        title: What the panel shows.
        entries: What is said of each class; may be empty.
        width: In pixels.

    Returns:
        (h, width, 3) uint8, as high as the lines need.
    """
    font_px = int(np.clip(width / 50, 13, 30))
    line_px, margin = round(1.45 * font_px), round(0.4 * font_px)
    font = ImageFont.load_default(font_px)
    lines: list[list[tuple[float, str, Color | None]]] = [[]]
    x = float(margin)
    parts: list[tuple[str, Color | None]] = [(title, None)]
    for text, color in parts + [(entry.text, entry.color) for entry in entries]:
        length = font.getlength(text) + 2 * margin + (0 if color is None else font_px)
        if lines[-1] and x + length > width:
            lines.append([])
            x = float(margin)
        lines[-1].append((x, text, color))
        x += length
    strip = Image.new("RGB", (width, line_px * len(lines) + margin), _PAPER)
    pen = ImageDraw.Draw(strip)
    for row, line in enumerate(lines):
        y = row * line_px + margin // 2
        for left, text, color in line:
            indent = 0
            if color is not None:
                swatch = (left, y + font_px // 4, left + 0.75 * font_px, y + font_px)
                pen.rectangle(swatch, fill=color, outline=_INK)
                indent = font_px
            pen.text((left + indent, y), text, font=font, fill=_INK)
    return np.asarray(strip)


def join_panels(
    panels: Sequence[tuple[NDArray[np.uint8], str, Sequence[CaptionEntry]]],
) -> NDArray[np.uint8]:
    """Join panels of one height from left to right, each under its caption.

    Args:
        panels: At least one (image (h, w, 3), title, entries), all of one height.

    Returns:
        (H, W, 3) uint8.
    """
    captions = [draw_caption(title, entries, image.shape[1]) for image, title, entries in panels]
    caption_height = max(caption.shape[0] for caption in captions)
    columns: list[NDArray[np.uint8]] = []
    for caption, (image, _, _) in zip(captions, panels, strict=True):
        if columns:
            columns.append(_paper(caption_height + image.shape[0], _GAP_PX))
        below = _paper(caption_height - caption.shape[0], image.shape[1])
        columns.append(np.concatenate([caption, below, image], axis=0))
    return np.concatenate(columns, axis=1)


def _paper(height: int, width: int) -> NDArray[np.uint8]:
    """Make an empty piece (height, width, 3)."""
    return np.full((height, width, 3), _PAPER, dtype=np.uint8)
