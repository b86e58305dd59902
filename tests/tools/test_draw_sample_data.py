"""tools/draw_sample_data.py draws once, keeps what is there, and refuses to mix."""

from pathlib import Path

import pytest


@pytest.fixture
def draw(run_tool):
    """Return a function that runs the tool and returns what it printed."""

    def run(*arguments: str, status: int = 0) -> str:
        return run_tool("draw_sample_data.py", *arguments).told(status)

    return run


def test_draw_sample_data_twice_draws_once(draw, tmp_path: Path):
    arguments = [str(tmp_path), "--train", "2", "--val", "1", "--size", "64", "--cells", "4"]
    assert "3 images, 3 drawn now" in draw(*arguments)
    assert "3 images, 0 drawn now" in draw(*arguments)
    assert len(list(tmp_path.glob("*/*/image.tif"))) == 3


def test_draw_sample_data_over_another_sample_ends_with_the_mend(draw, tmp_path: Path):
    draw(str(tmp_path), "--train", "1", "--val", "0", "--size", "64", "--cells", "4")
    words = [str(tmp_path), "--train", "1", "--val", "0", "--size", "64", "--cells", "5"]
    assert "Remove that folder, or choose another" in draw(*words, status=1)
