"""Colors of classes on the page."""

import re

from cellseg.visualization.chart_colors import choose_chart_colors


def test_choose_chart_colors_when_a_color_is_pale_or_dark_then_it_is_seen_on_both_pages() -> None:
    for raw, light, dark in choose_chart_colors([(255, 255, 255), (0, 0, 0), (255, 225, 25)], 5):
        assert all(re.fullmatch(r"#[0-9a-f]{6}", color) for color in (raw, light, dark))
        assert light != "#ffffff"
        assert dark != "#000000"
    assert len(choose_chart_colors([], 3)) == 3
