"""The benchmark of scoring runs on small images, and its ways agree."""

import sys
from pathlib import Path

import numpy as np
import pytest
import scoring
from frame import describe_machine

from cellseg.scoring.matching import match_cells, overlap_label_maps


def test_command_when_quick_then_writes_the_table_and_says_what_is_extrapolated(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    out = tmp_path / "scoring.md"
    monkeypatch.setattr(sys, "argv", ["scoring.py", "--quick", "--out", str(out)])
    scoring.main()
    text = out.read_text()
    rows = [line for line in text.splitlines() if line.startswith(("| drawn", "| 2 images"))]
    assert [row.count("|") for row in rows] == [6] * 5
    assert "drawn, 80 cells: loop over pairs whose boxes overlap, extrapolated" in rows[0]
    assert "extrapolated from that of the first 60\ncells" in text
    assert describe_machine() in text
    assert "extrapolated from that of the first 60" in capsys.readouterr().out


def test_loop_when_run_to_its_end_then_finds_the_pairs_that_matching_finds() -> None:
    images = scoring.make_images(None, True)
    found = scoring.match_by_loop(images.gt, images.pred, images.num_cells)
    matches = match_cells(overlap_label_maps(images.gt, images.pred)[0])
    assert found == len(matches.ious) > 60
    assert scoring.pq_of_maps(images.gt, images.gt) == 1.0
    assert np.count_nonzero(images.gt) > 0
