"""Files are whole or not there."""

import errno
import os
import stat
from pathlib import Path

import pytest

from cellseg.fileio import read_text, write_atomically


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\0\xff", b"\0\xff"),
        ("µm\n", "µm\n".encode()),
        (lambda file: file.write(b"called"), b"called"),
        ("", b""),
    ],
)
def test_write_when_content_is_of_any_kind_then_the_file_holds_it(
    tmp_path: Path, content: object, expected: bytes
) -> None:
    path = tmp_path / "deep" / "er" / "file.bin"
    assert write_atomically(str(path), content) == path
    assert path.read_bytes() == expected
    assert [entry.name for entry in path.parent.iterdir()] == ["file.bin"]


def test_write_when_it_fails_halfway_then_the_old_file_stays_and_nothing_else(
    tmp_path: Path,
) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def stop(file) -> None:
        file.write(b"new, but not")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, stop)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_write_when_a_reader_holds_the_old_file_then_it_reads_it_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_atomically(path, "old")
    with path.open() as reader:
        write_atomically(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_write_when_the_umask_is_set_then_the_file_has_its_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = write_atomically(tmp_path / "file.txt", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_write_when_the_folder_is_a_file_then_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write_atomically(tmp_path / "file" / "inside.txt", "x")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes among its files")
def test_read_text_when_a_pipe_or_device_is_named_then_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match="is no regular file"):
            read_text(path)
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "absent")
    (tmp_path / "text").write_text("words")
    assert read_text(tmp_path / "text") == "words"


def test_write_when_the_disk_is_full_then_the_error_names_the_file(tmp_path: Path) -> None:
    def fail(file: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(tmp_path / "big.bin", fail)
    assert caught.value.filename == str(tmp_path / "big.bin")
    assert list(tmp_path.iterdir()) == []
