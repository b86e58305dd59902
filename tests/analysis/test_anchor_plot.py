"""The anchor figure names the configs and their recall."""

import numpy as np

from cellseg.analysis.anchor_plot import draw_anchor_recall
from cellseg.analysis.anchor_recall import AnchorGrid, AnchorSetting, best_ious
from cellseg.structures.cells import Cells


def test_draw_anchor_recall_when_two_configs_are_compared_then_both_are_named() -> None:
    corners = np.random.default_rng(0).uniform(0, 80, (30, 2))
    boxes = np.concatenate((corners, corners + 12), axis=1)
    cells = [Cells(boxes, None, np.zeros(30), None, 100, 100)]
    settings = [
        AnchorSetting(name, (AnchorGrid(np.array([[-s, -s, s, s]]) / 2.0, (4, 4)),), None, 32)
        for name, s in (("fits", 12), ("too large", 64))
    ]
    ious = [best_ious(cells, setting) for setting in settings]
    figure = draw_anchor_recall(settings, cells, ious, ["cell", "absent"])
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[0].startswith("fits: 100.0% at 0.5")
    assert texts[1].startswith("too large: 0.0% at 0.5")
    labels = [tick.get_text() for tick in figure.axes[3].get_xticklabels()]
    assert labels == ["cell\n(30 cells)", "absent\n(0 cells)"]
    figure.canvas.draw()
