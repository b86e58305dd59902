"""tools/web_demo.py: what it asks for, what it refuses, and that nothing stays after Ctrl-C."""

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import ModuleType

import pytest
import torch

from cellseg.cli import web
from cellseg.cli.running import build_parser
from cellseg.errors import CellsegError
from cellseg.file_locks import FolderLock
from cellseg.inference import Predictor

from ..inference.oracle import oracle_config

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / "configs" / "cell" / "mask-rcnn_r18_small-anchor.py")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """Return the module that does the tool's work."""
    return importlib.import_module("cellseg.cli.tasks.web")


def _parse(*words: str) -> argparse.Namespace:
    return build_parser("", web.add_arguments).parse_args([CONFIG, "weights.pth", *words])


def test_web_demo_without_gradio_says_how_to_install_it(tool, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "gradio" else find_spec(name)
    )
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(tool, "set_thread_counts", lambda: None)
    with pytest.raises(CellsegError, match="pip install gradio"):
        tool.run(_parse())


def test_web_demo_by_default_listens_on_loopback_only():
    args = _parse()
    assert (args.host, args.port, args.score_thr) == ("127.0.0.1", 7860, 0.5)


@pytest.mark.parametrize(
    "flags", [("--score-thr", "1.5"), ("--max-mb", "0"), ("--max-megapixels", "-1")]
)
def test_web_demo_with_impossible_limits_says_so(tool, tmp_path, flags):
    args = _parse(*flags)
    with pytest.raises(CellsegError, match=flags[0]):
        tool.build_service(args, tmp_path / "pages")


def test_web_demo_finds_cells_down_to_the_lowest_score_of_the_slider(tool, monkeypatch, tmp_path):
    made = []

    def build(config: str, checkpoint: str, **options) -> Predictor:
        made.append(options["score_thr"])
        return Predictor(oracle_config(), None, **options)

    monkeypatch.setattr(tool, "Predictor", build)
    for index, given in enumerate((0.5, 0.01)):
        args = _parse("--score-thr", str(given), "--device", "cpu")
        service = tool.build_service(args, tmp_path / f"pages{index}")
        assert service.limits.max_bytes == 64 * 2**20
    assert made == [0.05, 0.01]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_web_demo_when_interrupted_then_it_ends_cleanly_and_leaves_no_file(tmp_path, name):
    pytest.importorskip("gradio", reason="Gradio is not installed")
    cfg = oracle_config()
    cfg.custom_imports = dict(imports=["oracle"], allow_failed_imports=False)
    cfg.dump(tmp_path / "config.py")
    torch.save({"state_dict": {}, "meta": {}}, tmp_path / "weights.pth")
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "tools" / "web_demo.py"),
            str(tmp_path / "config.py"),
            str(tmp_path / "weights.pth"),
            *("--port", "0", "--device", "cpu"),
        ],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "inference")]),
            "TMPDIR": str(tmp_path / "tmp"),
            "OMP_NUM_THREADS": "1",
        },
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = next(line for line in process.stdout if line.startswith("Open "))
        assert urllib.request.urlopen(line.split()[1], timeout=60).status == 200
        assert list((tmp_path / "tmp").glob("cellseg-web-*"))
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out) == (0, "The page is closed.\n"), err
    assert "Traceback" not in err
    assert list((tmp_path / "tmp").glob("cellseg-web-*")) == []
    assert not (tmp_path / ".gradio").exists()


def test_web_demo_on_the_network_then_a_password_or_the_lack_of_it_is_asked_for(
    tool, tmp_path, monkeypatch
):
    monkeypatch.setattr("sys.stdin", None)
    args = _parse("--host", "0.0.0.0")
    assert tool.read_password(args, is_local=True) is None
    with pytest.raises(
        CellsegError, match=r"--host 0\.0\.0\.0 .*--password-file FILE.*--no-password"
    ):
        tool.read_password(args, is_local=False)
    args = _parse("--host", "0.0.0.0", "--no-password")
    assert tool.read_password(args, is_local=False) is None
    (tmp_path / "password").write_text("secret\nnot this\n")
    args = _parse("--password-file", str(tmp_path / "password"))
    assert tool.read_password(args, is_local=False) == "secret"
    for content in ("", "\n", None):
        path = tmp_path / "other"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)
        with pytest.raises(CellsegError, match="other"):
            tool.read_password(_parse("--password-file", str(path)), is_local=True)


def test_web_demo_at_start_then_what_killed_servers_left_is_removed(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "_SETTLED_S", -1.0)
    for name in ("cellseg-web-old", "cellseg-web-held", "other"):
        (tmp_path / name / "pages").mkdir(parents=True)
        (tmp_path / name / "pages" / "a.png").write_bytes(b"image")
    (tmp_path / "cellseg-web-link").symlink_to(tmp_path / "other")
    holder = FolderLock(tmp_path / "cellseg-web-held" / tool._LOCK_NAME)
    assert holder.take()
    tool.remove_leftovers(tmp_path)
    assert sorted(path.parent.parent.name for path in tmp_path.rglob("a.png")) == [
        "cellseg-web-held",
        "other",
    ]
    holder.release()
    monkeypatch.setattr(tool, "_SETTLED_S", 100.0)
    tool.remove_leftovers(tmp_path)  # it may just be starting
    assert (tmp_path / "cellseg-web-held" / "pages" / "a.png").exists()
