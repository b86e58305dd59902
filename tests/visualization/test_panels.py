"""Panels and captions."""

import numpy as np
import pytest

from cellseg.visualization.panels import (
    CaptionEntry,
    draw_caption,
    join_panels,
    resize_for_display,
)

ENTRIES = [CaptionEntry(f"class {k}: {k}00", (10 * k, 0, 0)) for k in range(6)]


@pytest.mark.parametrize(
    ("side", "limits", "scale"),
    [(100, (300, None), 3), (100, (9999, None), 4), (900, (300, 450), 0.5), (400, (300, 500), 1)],
)
def test_resize_for_display_when_limits_are_given_then_keeps_them(side, limits, scale) -> None:
    shown, found = resize_for_display(np.zeros((side // 2, side, 3), dtype=np.uint8), *limits)
    assert found == scale
    assert shown.shape == (round(side // 2 * scale), round(side * scale), 3)


def test_draw_caption_when_narrow_then_breaks_lines() -> None:
    wide, narrow = draw_caption("title", ENTRIES, 900), draw_caption("title", ENTRIES, 200)
    assert wide.shape[1] == 900
    assert narrow.shape[1] == 200
    assert narrow.shape[0] > 2 * wide.shape[0]
    assert draw_caption("title", [], 5).shape[1] == 5


def test_join_panels_when_captions_differ_in_height_then_images_stay_level() -> None:
    image = np.full((50, 200, 3), 77, dtype=np.uint8)
    joined = join_panels([(image, "a", []), (image, "b", ENTRIES)])
    assert joined.shape[1] > 400
    assert (joined[-50:, :200] == 77).all()
    assert (joined[-50:, -200:] == 77).all()
