"""Commands that may not write what they want to: one sentence that names the file, no half file.

The limit on the size of a file stands for a full disk: writing fails in the middle, as it does
there.
"""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.robustness.kills import TRAINING, find_half_files, make_environment, make_inputs

pytest.importorskip("resource", reason="Windows has no such limits")

pytestmark = pytest.mark.slow
MODEL = ("--model", "nuclei-cc0")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with images."""
    folder = tmp_path_factory.mktemp("full_disk")
    make_inputs(folder)
    return folder


def run_limited(folder: Path, most_bytes: int, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command that can write no file beyond a size."""
    import resource  # of Unix only

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    return subprocess.run(
        [sys.executable, "-B", "-m", "cellseg", *words],
        cwd=folder, env=make_environment(), capture_output=True, text=True, timeout=600,
        preexec_fn=limit, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("most_bytes", "named", "words"),
    [
        (20_000, "{out}", ("draw-sample-data", "{out}", "--size", "128")),
        (2_000, "{out}", ("convert", "coco", "coco.json", "data/sample/train", "{out}")),
        (2_000, "{out}", ("convert", "to-coco", "data/sample/train", "{out}/coco.json")),
        (500, "{out}", ("predict", "data/sample/train", "--out", "{out}", *MODEL)),
        (
            500,
            "{out}",
            ("predict", "data/sample/train", "--out", "{out}", "--format", "geojson", *MODEL),
        ),
        (
            1_000_000,
            "epoch_1.pth",
            ("train", "mask-rcnn_r18_small-anchor_demo", "--work-dir", "{out}", "--cfg-options")
            + TRAINING,
        ),
    ],
    ids=["draw", "convert", "to-coco", "predict", "predict-geojson", "train"],
)
def test_command_when_a_file_cannot_be_written_then_a_sentence_names_it_and_nothing_is_half(
    inputs: Path, tmp_path: Path, most_bytes: int, named: str, words: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    done = run_limited(inputs, most_bytes, *(word.format(out=out) for word in words))
    said = done.stdout + done.stderr
    assert done.returncode == 1, said[-2000:]
    assert "Traceback" not in said, said[-2000:]
    start = "failed: " if words[0] == "predict" else "error: "  # the other images are predicted
    errors = [line for line in said.splitlines() if line.startswith(start)]
    assert len(errors) == (6 if words[0] == "predict" else 1), said[-2000:]
    for line in errors:
        assert named.format(out=out) in line
        assert os.strerror(errno.EFBIG) in line
    assert list(find_half_files(tmp_path)) == []
    assert [path for path in tmp_path.rglob("*.part") if path.exists()] == []
