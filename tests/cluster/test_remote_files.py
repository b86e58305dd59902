"""Images from a real HTTP server and a real S3-compatible one, both on the loopback interface."""

import functools
import http.server
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cellseg.cluster.remote_files import drop_copy, fetched, list_remote_images
from cellseg.errors import CellsegError

CONTENT = {"a.tif": b"first" * 1000, "b.tif": b"second" * 2000}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "served"
    folder.mkdir()
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def http_url(folder: Path) -> Iterator[str]:
    pytest.importorskip("aiohttp", reason="the extra remote is not installed")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def s3_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of moto's server, a process of its own."""
    pytest.importorskip("s3fs", reason="the extra remote is not installed")
    pytest.importorskip("moto", reason="moto, the S3-compatible server, is not installed")
    import s3fs

    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    address = next(line.split()[-1] for line in process.stderr if "Running on" in line)
    threading.Thread(target=process.stderr.read, daemon=True).start()
    for name, value in (
        ("AWS_ENDPOINT_URL", address),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    store = s3fs.S3FileSystem()
    store.mkdir("slides")
    for name, content in CONTENT.items():
        store.pipe_file(f"slides/{name}", content)
    yield "s3://slides"
    s3fs.S3FileSystem.clear_instance_cache()
    process.terminate()
    process.wait()


def read_through(image, scratch: Path) -> bytes:
    with fetched(image, scratch, 1.0) as here:
        assert (here.name, here.url) == (image.name, image.url)
        return here.path.read_bytes()


def test_url_when_http_then_it_is_copied_and_the_copy_goes(http_url, tmp_path) -> None:
    scratch = tmp_path / "scratch"
    images = list_remote_images([f"{http_url}/{name}" for name in CONTENT])
    assert [image.name for image in images] == ["a", "b"]
    assert [read_through(image, scratch) for image in images] == list(CONTENT.values())
    assert [path.name for path in scratch.rglob("*.tif")] == ["b.tif"]  # one at a time
    drop_copy()
    assert list(scratch.rglob("*.tif")) == []


def test_url_when_the_file_changes_then_so_does_the_image(http_url, folder) -> None:
    url = f"{http_url}/a.tif"
    (before,) = list_remote_images([url])
    (folder / "a.tif").write_bytes(b"other")
    (after,) = list_remote_images([url])
    assert before.describe_state() != after.describe_state()


def test_url_when_the_copy_is_too_large_then_one_sentence_and_no_file(http_url, tmp_path) -> None:
    (image,) = list_remote_images([f"{http_url}/b.tif"])
    with (
        pytest.raises(CellsegError, match=r"b.tif is larger than .* give more with --scratch-gb"),
        fetched(image, tmp_path, 1e-6),
    ):
        pass
    assert list(tmp_path.rglob("b.tif")) == [tmp_path / "served" / "b.tif"]


def test_url_when_nothing_is_there_then_one_sentence(http_url) -> None:
    with pytest.raises(CellsegError, match=r"none.tif cannot be read .*; check it"):
        list_remote_images([f"{http_url}/none.tif"])


def test_url_when_in_s3_then_globs_are_listed_and_copied(s3_bucket, tmp_path) -> None:
    images = list_remote_images([f"{s3_bucket}/*.tif"])
    assert [image.url for image in images] == ["s3://slides/a.tif", "s3://slides/b.tif"]
    assert [read_through(image, tmp_path) for image in images] == list(CONTENT.values())
    with pytest.raises(CellsegError, match="matches no file"):
        list_remote_images([f"{s3_bucket}/*.png"])
    drop_copy()


def test_urls_when_names_are_equal_then_they_are_refused(http_url, folder) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "a.tif").write_bytes(b"x")
    with pytest.raises(CellsegError, match="Several URLs would be written as a;"):
        list_remote_images([f"{http_url}/a.tif", f"{http_url}/deep/a.tif"])


def test_scratch_when_a_process_of_this_machine_is_gone_then_its_copies_are_removed(
    http_url, tmp_path
) -> None:
    from cellseg.cluster.remote_files import _Scratch

    drop_copy()
    _Scratch.folder = None
    host = socket.gethostname()
    own, elsewhere = (tmp_path / f"{name}-99999999" for name in (host, f"{host}-2"))
    same_number = tmp_path / f"{host}-{os.getpid()}"  # of a process before this one
    for left in (own, elsewhere, same_number):
        left.mkdir()
        (left / "old.tif").touch()
    (image,) = list_remote_images([f"{http_url}/a.tif"])
    read_through(image, tmp_path)
    assert not own.exists()
    assert (elsewhere / "old.tif").is_file()  # perhaps its process lives there
    assert [path.name for path in same_number.iterdir()] == ["a.tif"]
    drop_copy()


def test_urls_when_there_are_many_then_some_are_asked_for_at_a_time_with_signs_of_life(
    http_url, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(2, timeout=60)  # a request waits for another one
    answer = http.server.SimpleHTTPRequestHandler.do_HEAD

    def do_head(handler: http.server.SimpleHTTPRequestHandler) -> None:
        together.wait()
        answer(handler)

    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "do_HEAD", do_head)
    monkeypatch.setattr("cellseg.cluster.remote_files._EVERY_S", 0.0)
    lines: list[str] = []
    images = list_remote_images([f"{http_url}/{name}" for name in CONTENT], lines.append)
    assert [image.name for image in images] == ["a", "b"]
    assert "Looking up URLs: 2 of 2 done." in lines
    assert "Asking for the size and date of files: 2 of 2 done." in lines
