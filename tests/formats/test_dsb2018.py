import numpy as np
import pytest
from PIL import Image

from cellseg.errors import CellDataError
from cellseg.formats.dsb2018 import read_dsb2018

RGBA = np.random.default_rng(0).integers(0, 255, (20, 30, 4), dtype=np.uint8)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes an image folder with masks given as slices."""

    def call(name, *cells, shape=(20, 30)):
        for kind in ("images", "masks"):
            (tmp_path / "data" / name / kind).mkdir(parents=True)
        Image.fromarray(RGBA, "RGBA").save(tmp_path / "data" / name / "images" / f"{name}.png")
        for number, cell in enumerate(cells):
            mask = np.zeros(shape, np.uint8)
            if cell is not None:
                mask[cell] = 255
            Image.fromarray(mask).save(tmp_path / "data" / name / "masks" / f"{number}.png")
        return tmp_path / "data"

    return call


def test_dsb2018_when_converted_then_a_nucleus_a_mask(write, run, read):
    folder = write("a1", np.s_[2:5, 3:6], np.s_[4:8, 5:9], None)
    report = run(read_dsb2018(folder))
    np.testing.assert_array_equal(read("a1/image.tif"), RGBA[..., :3])
    assert np.bincount(read("a1/class1.tif").ravel())[1:].tolist() == [9, 15]
    assert report.cells == {"nucleus": 2}
    assert [loss.reason for loss in report.losses] == [
        "covers no pixel",
        "pixels lost to a smaller cell",
    ]


def test_dsb2018_mask_of_another_size_is_refused(write, run):
    folder = write("a", np.s_[2:5, 3:6], shape=(9, 9))
    with pytest.raises(CellDataError, match=r"0\.png: is 9 x 9 pixels but its image is 20 x 30"):
        run(read_dsb2018(folder))


def test_dsb2018_when_parts_are_missing_or_truncated_then_they_are_named(write, run):
    folder = write("good", np.s_[2:5, 3:6])
    write("torn", np.s_[2:5, 3:6])
    torn = folder / "torn" / "masks" / "0.png"
    torn.write_bytes(torn.read_bytes()[:-30])
    write("bare")
    (folder / "none").mkdir()
    source = read_dsb2018(folder)
    with pytest.raises(CellDataError, match="bare: the folder has no masks\n.*none: .*no image"):
        run(source)
    report = run(source, skip_bad=True)
    assert report.written == 1
    assert "torn" in report.losses[-1].reason


def test_dsb2018_of_no_folder_or_an_empty_one_is_refused(tmp_path, run):
    with pytest.raises(CellDataError, match="no such folder"):
        read_dsb2018(tmp_path / "absent")
    with pytest.raises(CellDataError, match="No annotated image was found"):
        run(read_dsb2018(tmp_path))


def test_dsb2018_when_systems_left_hidden_files_then_not_read(write, run):
    folder = write("a", np.s_[2:5, 3:6])
    for name in ("images/._a.png", "masks/._0.png", "masks/.DS_Store"):
        (folder / "a" / name).write_bytes(b"\0\5\26\7")
    (folder / "@eaDir").mkdir()
    assert run(read_dsb2018(folder)).cells == {"nucleus": 1}
