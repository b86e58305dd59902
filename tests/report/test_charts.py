"""Places of lines and bars in the report's charts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cellseg.report.charts import Series, draw_lines, draw_size_bands
from cellseg.scoring.outcomes import SizeBand

AXES = ("x", "y")
numbers = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20))
def test_draw_lines_when_values_are_drawn_then_all_lie_inside_the_axes(points) -> None:
    xs, ys = zip(*points, strict=True)
    chart = draw_lines("t", [Series("a", "accent", xs, ys)], AXES, "s")
    for x, y in chart.lines[0].places:
        assert chart.left - 0.1 <= x <= chart.right + 0.1
        assert chart.top - 0.1 <= y <= chart.bottom + 0.1
    for ticks, low, high in (
        (chart.x_ticks, chart.left, chart.right),
        (chart.y_ticks, chart.top, chart.bottom),
    ):
        assert all(low - 0.1 <= tick.place <= high + 0.1 for tick in ticks)
    assert len(chart.y_ticks) >= 2


def test_draw_lines_when_ranges_are_given_then_corners_meet_corners() -> None:
    series = Series("a", "accent", [0, 1], [0, 1], dash=5, dot=(0.5, 0.5), note="n")
    chart = draw_lines("t", [series], AXES, "s", (0.0, 1.0), (0.0, 1.0))
    (line,) = chart.legend
    assert line.places == [(chart.left, chart.bottom), (chart.right, chart.top)]
    assert line.dot == ((chart.left + chart.right) / 2, (chart.top + chart.bottom) / 2)
    assert line.dash == 1
    assert [tick.label for tick in chart.y_ticks] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]


def test_draw_lines_when_series_are_empty_or_faint_then_the_legend_leaves_them_out() -> None:
    faint = Series("", "accent", [0, 1], [3, 2], faint=True)
    chart = draw_lines("t", [faint, Series("a", "accent", [], [])], AXES, "s")
    assert len(chart.lines) == 1
    assert chart.legend == []
    assert draw_lines("t", [], AXES, "s").lines == []


def test_draw_size_bands_when_a_band_is_empty_then_it_has_no_bar_and_no_dot() -> None:
    bands = [SizeBand(2, 10, 20, 5), SizeBand(10, 30, 0, 0), SizeBand(30, 40, 4, 4)]
    chart = draw_size_bands("t", bands, [("a", "class-0", bands)], "s")
    assert [tick.label for tick in chart.x_ticks] == ["2", "10", "30", "40"]
    heights = [bar.height / (chart.bottom - chart.top) for bar in chart.bars]
    assert np.allclose(heights, [0.25, 0, 1])
    assert len(chart.lines[0].places) == 1  # the third band has too few cells for a dot
    assert all(bar.high <= bar.low for bar in chart.bars)
