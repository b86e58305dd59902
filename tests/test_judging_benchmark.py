"""The benchmark of judging runs on small images, and its ways agree."""

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellseg.scoring.matching import match_cells, overlap_label_maps

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def judging(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what the benchmark defines."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return runpy.run_path(str(BENCHMARKS / "judging.py"), run_name="judging")


def test_command_when_quick_then_writes_the_table_and_says_what_is_estimated(
    judging: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    out = tmp_path / "judging.md"
    monkeypatch.setattr(sys, "argv", ["judging.py", "--quick", "--out", str(out)])
    judging["main"]()
    text = out.read_text()
    rows = [line for line in text.splitlines() if line.startswith(("| drawn", "| 2 images"))]
    assert [row.count("|") for row in rows] == [6] * 5
    assert "drawn, 80 cells: loop over pairs that may meet, estimated" in rows[0]
    assert "estimated from that of the first 60 cells" in text
    assert judging["describe_machine"]() in text
    assert "estimated from its first 60 cells" in capsys.readouterr().out


def test_loop_when_run_to_its_end_then_finds_the_pairs_that_matching_finds(
    judging: dict[str, Any],
) -> None:
    scenes = judging["make_scenes"](None, True)
    found = judging["match_by_loop"](scenes.gt, scenes.pred, scenes.num_cells)
    matches = match_cells(overlap_label_maps(scenes.gt, scenes.pred)[0])
    assert found == len(matches.ious) > 60
    assert judging["pq_of_maps"](scenes.gt, scenes.gt) == 1.0
    assert np.count_nonzero(scenes.gt) > 0
