"""No help text costs an import of PyTorch, MMDetection or the like."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cellseg.cli.convert import FORMATS
from cellseg.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "mmdet", "mmengine", "mmcv", "cv2", "numpy", "scipy", "matplotlib", "skimage")
SCRIPT = f"""
import contextlib, io, json, runpy, sys
results = {{}}
for words in json.loads(sys.argv[1]):
    name, said = " ".join(words), io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            if words[0].endswith(".py"):
                sys.argv = words
                runpy.run_path(words[0], run_name="__main__")
            else:
                from cellseg.cli.main import main
                main(words[1:])
        except SystemExit as end:
            status = end.code
    found = [module for module in {HEAVY} if module in sys.modules]
    results[name] = [status, "usage: " in said.getvalue(), found]
print(json.dumps(results))
"""


def run_all(lines: list[list[str]]) -> dict[str, list]:
    """Run help after help in one process; what a later one finds imported, some earlier one was."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(lines)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    results: dict[str, list] = json.loads(done.stdout)
    return results


def list_tools() -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "tools").rglob("*.py"))]


@pytest.mark.parametrize("kind", ["commands", "formats", "tools"])
def test_help_when_asked_for_then_nothing_heavy_is_imported(kind: str) -> None:
    lines = {
        "commands": [["cellseg"], *(["cellseg", name] for name in COMMANDS)],
        "formats": [["cellseg", "convert", name] for name in FORMATS],
        "tools": [[path] for path in list_tools()],
    }[kind]
    results = run_all([[*line, "--help"] for line in lines])
    assert len(results) == len(lines)
    assert {name: r for name, r in results.items() if r != [0, True, []]} == {}
