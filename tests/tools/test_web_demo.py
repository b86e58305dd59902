"""tools/web_demo.py: what it asks for, what it refuses, and what stays after Ctrl-C and kills."""

import argparse
import http.client
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch

from cellseg.cli import web
from cellseg.cli.running import build_parser
from cellseg.errors import CellsegError
from cellseg.inference import Predictor

from ..inference.oracle import oracle_config

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / "configs" / "cell" / "mask-rcnn_r18_small-anchor.py")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """Return the module that does the tool's work."""
    return importlib.import_module("cellseg.cli.tasks.web")


def _parse(*words: str) -> argparse.Namespace:
    return build_parser("", web.add_tool_arguments).parse_args([CONFIG, "weights.pth", *words])


def test_web_demo_without_its_packages_says_how_to_install_them(tool, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find_spec(name)
    )
    with pytest.raises(CellsegError, match="pip install starlette uvicorn"):
        tool.run(_parse())


def test_web_demo_by_default_listens_on_loopback_only():
    args = _parse()
    assert (args.host, args.port, args.score_thr) == ("127.0.0.1", 7860, 0.5)


def test_web_when_images_are_named_then_they_are_given_and_others_said_to_be_absent(
    tool, monkeypatch, tmp_path
):
    monkeypatch.setattr(tool, "Predictor", lambda *_, **options: Predictor(oracle_config(), None))
    parser = build_parser("", web.add_arguments)
    (tmp_path / "images").mkdir()
    for name in ("b.png", "a.tif"):
        (tmp_path / "images" / name).write_bytes(b"")
    keep = ["--keep", str(tmp_path / "keep")]
    service = tool.build_service(parser.parse_args([str(tmp_path / "images"), *keep]))
    assert [image.name for image in service.store.given.values()] == ["a", "b"]
    service.close()
    with pytest.raises(CellsegError, match="no such file"):
        tool.build_service(parser.parse_args([str(tmp_path / "absent.tif"), *keep]))


@pytest.mark.parametrize(
    "flags",
    [("--score-thr", "1.5"), ("--max-mb", "0"), ("--max-gb", "nan"), ("--max-megapixels", "-1")],
)
def test_web_demo_with_impossible_limits_says_so(tool, tmp_path, flags):
    args = _parse(*flags)
    with pytest.raises(CellsegError, match=flags[0]):
        tool.build_finder(args)


def test_web_demo_finds_cells_down_to_the_lowest_score_of_the_slider(tool, monkeypatch, tmp_path):
    made = []

    def build(config: str, checkpoint: str, **options) -> Predictor:
        made.append(options["score_thr"])
        return Predictor(oracle_config(), None, **options)

    monkeypatch.setattr(tool, "Predictor", build)
    for index, given in enumerate((0.5, 0.01)):
        args = _parse("--score-thr", str(given), "--device", "cpu")
        args.keep = tmp_path / f"keep{index}"
        service = tool.build_service(args)
        assert service.limits.max_bytes == 2**30
        service.close()
    assert made == [0.05, 0.01]


def _start(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Start the tool with a model that sees perfectly; its process, and the page's address."""
    cfg = oracle_config()
    cfg.custom_imports = dict(imports=["oracle"], allow_failed_imports=False)
    cfg.dump(folder / "config.py")
    torch.save({"state_dict": {}, "meta": {}}, folder / "weights.pth")
    (folder / "tmp").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "tools" / "web_demo.py"),
            str(folder / "config.py"),
            str(folder / "weights.pth"),
            *("--port", "0", "--device", "cpu"),
        ],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "inference")]),
            "TMPDIR": str(folder / "tmp"),
            "OMP_NUM_THREADS": "1",
        },
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = next((line for line in process.stdout if line.startswith("Open ")), "")
    if not line:
        process.kill()
        pytest.fail(process.communicate()[1][-2000:])
    return process, line.split()[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_web_demo_when_interrupted_then_it_ends_cleanly_and_what_was_done_stays(tmp_path, name):
    pytest.importorskip("uvicorn", reason="the extra web is not installed")
    process, address = _start(tmp_path)
    try:
        assert urllib.request.urlopen(address, timeout=60).status == 200
        assert (tmp_path / "cellseg-web" / ".in_use").exists()
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert out == "The page is closed; what was done is kept in cellseg-web.\n"
    assert "Traceback" not in err
    assert not (tmp_path / "cellseg-web" / ".in_use").exists()
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.slow
def test_web_demo_when_killed_at_any_time_then_every_answered_step_is_there_again(tmp_path):
    pytest.importorskip("uvicorn", reason="the extra web is not installed")
    image = np.full((64, 64, 3), 255, np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    cookie, path, saved = f"cellseg={'t' * 32}", "", 0
    for kill_after_s in (0.3, 0.7, 1.1):
        process, address = _start(tmp_path)

        def call(path: str, body: bytes | None = None, address: str = address) -> dict:
            headers = {"Cookie": cookie, "x-cellseg": "1"}
            request = urllib.request.Request(f"{address}api/images{path}", body, headers)
            return json.load(urllib.request.urlopen(request, timeout=60))

        try:
            path = path or "/" + call("?name=a.png", (tmp_path / "a.png").read_bytes())["key"]
            found = call(f"{path}/cells")
            assert saved <= len(found["cells"]) <= saved + 1  # one may not have been answered
            saved, revision = len(found["cells"]), found["revision"]
            timer = threading.Timer(kill_after_s, process.kill)
            timer.start()
            with suppress(OSError, http.client.HTTPException, ValueError):
                while True:
                    left = saved % 50
                    points = [[left, 0], [left + 9, 0], [left + 9, 9], [left, 9]]
                    edit = {"do": "draw", "label": 0, "points": points, "revision": revision}
                    revision = call(f"{path}/edit", json.dumps(edit).encode())["revision"]
                    saved += 1
        finally:
            process.kill()
            process.communicate()
    assert saved > 5


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


def test_web_demo_when_another_server_uses_the_folder_then_words_say_so(tool, tmp_path):
    first = tool.take_folder(tmp_path / "keep")
    if os.name == "posix":
        assert (tmp_path / "keep").stat().st_mode & 0o077 == 0
    with pytest.raises(CellsegError, match=r"Another `cellseg web` .*--keep"):
        tool.take_folder(tmp_path / "keep")
    first.release()
    tool.take_folder(tmp_path / "keep").release()
    (tmp_path / "file").write_text("")
    with pytest.raises(CellsegError, match="--keep"):
        tool.take_folder(tmp_path / "file")


@pytest.mark.parametrize(("is_idle", "codes"), [(True, []), (False, [0])])
def test_page_when_ended_while_the_network_computes_then_the_process_ends_at_once(
    tool: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_idle: bool,
    codes: list[int],
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(tool.os, "_exit", ended.append)
    monkeypatch.setattr(tool, "serve", lambda _: is_idle)
    monkeypatch.setattr(tool.signal, "signal", lambda *_: None)
    assert tool.run(argparse.Namespace(keep=tmp_path / "keep")) == 0
    assert ended == codes
