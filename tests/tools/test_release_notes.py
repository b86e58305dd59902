"""A tag, the version and the changelog say the same."""

import subprocess
import sys
from pathlib import Path

import pytest

import cellseg

ROOT = Path(__file__).resolve().parents[2]


def run(tag: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "tools" / "release_notes.py", tag]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_notes_when_the_tag_is_the_version_then_are_its_section() -> None:
    done = run(f"v{cellseg.__version__}")
    assert done.returncode == 0, done.stderr
    assert "### " in done.stdout
    assert "\n## " not in done.stdout


@pytest.mark.parametrize("tag", ["v9.9.9", "0.2.0"])
def test_notes_when_the_tag_is_another_then_one_sentence(tag: str) -> None:
    done = run(tag)
    assert done.returncode == 1
    assert done.stderr.startswith("error: The tag is")
