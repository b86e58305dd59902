import sys
from pathlib import Path

import pytest

from cellseg.errors import CellDataError
from cellseg.images import open_image
from cellseg.images.kinds import is_readable_name


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


@pytest.mark.parametrize("name", ["notes.txt", "slide.czi", "volume.nd2", "none", "a.dcm"])
@pytest.mark.parametrize("has_openslide", [True, False])
def test_file_of_an_unknown_kind_does_not_ask_for_openslide(
    tmp_path, monkeypatch, name, has_openslide
):
    if has_openslide:
        pytest.importorskip("openslide")
    else:
        monkeypatch.setitem(sys.modules, "openslide", None)
    path = tmp_path / name
    path.write_bytes(b"neither image nor slide")
    with pytest.raises(CellDataError, match=rf"{name}: is an unknown kind of file; save") as caught:
        open_image(path)
    assert "OpenSlide" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["a.tif", "b.TIFF", "c.btf", "d.ome.btf", "e.tf8", "f.qptiff", "g.webp", "h.mrxs"]
)
def test_names_that_a_folder_run_takes(name):
    assert is_readable_name(Path(name))


@pytest.mark.parametrize("name", ["a.txt", "b.czi", "tif", "c.json", "d.tif.xml"])
def test_names_that_a_folder_run_leaves_out(name):
    assert not is_readable_name(Path(name))
