"""All images together take no more than they may, and leave some of the disk to others."""

from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the extra web is not installed")

from cellseg.web.disk_space import DiskSpace
from cellseg.web.guard import RefusedError

MORE_THAN_ANY_DISK = 2**70


def test_upload_when_all_together_would_be_too_much_then_refused(tmp_path: Path) -> None:
    space = DiskSpace(tmp_path / "keep", max_bytes=1000, least_free=0)
    space.check_upload(1000)  # the folder is made with the first one
    for name, size in (("uploads/a/image", 500), ("corrections/steps", 300)):
        path = tmp_path / "keep" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(size))
    space.check_upload(200)
    with pytest.raises(RefusedError, match="--max-gb") as refused:
        space.check_upload(201)
    assert refused.value.status == 507
    (tmp_path / "keep" / "uploads" / "a" / "image").unlink()
    space.check_upload(700)


def test_upload_when_the_disk_would_be_too_full_then_refused(tmp_path: Path) -> None:
    DiskSpace(tmp_path, least_free=0).check_upload(1)
    with pytest.raises(RefusedError, match="disk of the server") as refused:
        DiskSpace(tmp_path, least_free=MORE_THAN_ANY_DISK).check_upload(0)
    assert refused.value.status == 507
    with pytest.raises(RefusedError, match="disk of the server"):
        DiskSpace(tmp_path, MORE_THAN_ANY_DISK, 0).check_upload(2**60)


def test_step_when_the_disk_is_nearly_full_then_refused(tmp_path: Path) -> None:
    DiskSpace(tmp_path, max_bytes=0, least_free=0).check_step()
    with pytest.raises(RefusedError, match="nearly full") as refused:
        DiskSpace(tmp_path, least_free=MORE_THAN_ANY_DISK).check_step()
    assert refused.value.status == 507
