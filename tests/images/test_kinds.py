import sys

import pytest

from cellseg.errors import CellDataError
from cellseg.images import open_image


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.tif", None, "no such file"),
        ("bad.png", b"", "cannot be decoded"),
        ("bad.tif", b"II*\x00rubbish", "bad.tif"),
        ("slide.mrxs", b"x", "OpenSlide cannot read it"),
        ("notes.txt", b"x", "unknown kind of file"),
    ],
)
def test_open_image_of_a_bad_file_names_it(tmp_path, name, content, message):
    if "OpenSlide" in message:
        pytest.importorskip("openslide")
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CellDataError, match=message):
        open_image(path)


def test_open_slide_without_openslide_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openslide", None)
    path = tmp_path / "slide.mrxs"
    path.write_bytes(b"x")
    with pytest.raises(CellDataError, match="the extra slides"):
        open_image(path)
