"""The data figure is drawn for any data set."""

from typing import Any

import numpy as np
import pytest

from cellseg.analysis.data_plot import draw_data_report
from cellseg.analysis.data_report import describe_data
from cellseg.structures.rle import encode_label_map


def make_info(name: str, num_cells: int) -> dict[str, Any]:
    """Make an entry with cells in a row."""
    layer = np.kron(np.arange(10) * (np.arange(10) <= num_cells), np.ones((9, 9), dtype=int))
    ids, boxes, areas, rles = encode_label_map(layer)
    keys = ("label_id", "bbox", "area", "mask")
    rows = zip(ids.tolist(), boxes.tolist(), areas.tolist(), rles, strict=True)
    instances = [
        {"bbox_label": 0, "ignore_flag": 0, "layer": 0, **dict(zip(keys, row, strict=True))}
        for row in rows
    ]
    return {
        "img_name": name,
        "height": 9,
        "width": 90,
        "label_paths": ["class1.tif"],
        "instances": instances,
    }


@pytest.mark.parametrize("counts", [[], [0], [3, 0, 9]])
@pytest.mark.parametrize("palette", [[], [(255, 0, 0), (0, 255, 0)]])
def test_draw_data_report_when_data_is_small_or_empty_then_drawn(
    counts: list[int], palette: list[tuple[int, int, int]]
) -> None:
    infos = [make_info(f"{number}", count) for number, count in enumerate(counts)]
    parts = {"fold 0": list(range(len(counts)))} if counts else {}
    image = np.full((9, 90, 3), 200, dtype=np.uint8)
    facts = describe_data(infos, ["cell", "absent"], lambda info: image, parts)
    figure = draw_data_report(facts, palette)
    figure.canvas.draw()
    assert len(figure.axes) == 9
    assert [a.get_title() for a in figure.axes[3:6]] == ["Sizes", "Areas", "Aspects"]
    assert figure.get_suptitle() == f"{len(counts)} images, {sum(counts)} cells"
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == [sum(counts), 0]


def test_draw_data_report_when_a_color_is_pale_then_its_line_is_darkened() -> None:
    yellow = (255, 245, 25)
    facts = describe_data(
        [make_info("a", 5)], ["cell"], lambda info: np.full((9, 90, 3), 200, dtype=np.uint8)
    )
    for axes in draw_data_report(facts, [yellow]).axes[3:6]:
        (line,) = axes.patches
        assert sum(line.get_edgecolor()[:3]) < 0.75 * sum(yellow) / 255
