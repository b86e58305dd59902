"""tools/draw_sample_data.py draws once, keeps what is there, and refuses to mix."""

import runpy
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "draw_sample_data.py"


@pytest.fixture
def draw(monkeypatch, capsys):
    """Return a function that runs the tool and returns what it printed."""

    def run(*arguments: str, status: int = 0) -> str:
        monkeypatch.setattr("sys.argv", ["draw_sample_data.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(TOOL), run_name="__main__")
        captured = capsys.readouterr()
        assert ended.value.code == status, captured.err
        return captured.err if status else captured.out

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
