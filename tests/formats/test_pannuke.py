import pickle
from pathlib import Path

import numpy as np
import pytest

from cellseg.errors import CellDataError
from cellseg.formats.pannuke import CLASSES, read_pannuke


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a fold of three patches, changed by the caller."""

    def call(change=lambda images, masks: None, together=False):
        images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(float)
        masks = np.zeros((3, 16, 16, 6))
        masks[..., 5] = 1
        masks[0, 2:5, 3:6, 0], masks[0, 8:10, 3:6, 0], masks[0, 2:5, 9:12, 4] = 4, 17, 5
        masks[2, 1:3, 1:3, 1] = 200
        change(images, masks)
        for kind, array in (("images", images), ("masks", masks)):
            folder = tmp_path / "Fold 1" / ("fold1" if together else f"{kind}/fold1")
            folder.mkdir(parents=True, exist_ok=True)
            np.save(folder / f"{kind}.npy", array)
        return tmp_path / "Fold 1"

    return call


@pytest.mark.parametrize("together", [True, False])
def test_pannuke_when_converted_then_a_folder_a_patch(write, run, read, tmp_path, together):
    report = run(read_pannuke(write(together=together)))
    assert report.classes == CLASSES
    assert report.cells == {"neoplastic": 2, "epithelial": 1, "inflammatory": 1}
    assert report.written == 3
    expected = np.zeros((16, 16), int)
    expected[2:5, 3:6], expected[8:10, 3:6] = 1, 2
    np.testing.assert_array_equal(read("fold1_00000/class1.tif"), expected)
    assert read("fold1_00000/image.tif").dtype == np.uint8
    assert not list((tmp_path / "out" / "fold1_00001").glob("class*.tif"))
    assert report.losses == []


def test_pannuke_values_that_are_none_are_refused(write, run):
    def spoil(images, masks):
        images[1, 0, 0, 0] = 256

    with pytest.raises(CellDataError, match=r"images\.npy \[1\]: pixels are not whole numbers"):
        run(read_pannuke(write(spoil)))

    def spoil_masks(images, masks):
        masks[2, 0, 0, 3] = -1

    with pytest.raises(CellDataError, match=r"masks\.npy \[2\], dead: label values"):
        run(read_pannuke(write(spoil_masks)))


def test_pannuke_pickle_is_never_read(write, tmp_path):
    folder = write()
    np.save(folder / "masks" / "fold1" / "masks.npy", np.array([{}], dtype=object))
    with pytest.raises(CellDataError, match=r"masks\.npy: cannot be read as an array"):
        read_pannuke(folder)
    canary = tmp_path / "canary"
    (folder / "masks" / "fold1" / "masks.npy").write_bytes(pickle.dumps(Touch(canary)))
    with pytest.raises(CellDataError, match=r"masks\.npy: cannot be read as an array"):
        read_pannuke(folder)
    assert not canary.exists()


@pytest.mark.parametrize("kept", [0, 50, 3000])
def test_pannuke_when_truncated_then_refused(write, kept):
    folder = write()
    path = folder / "masks" / "fold1" / "masks.npy"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CellDataError, match=r"masks\.npy: cannot be read as an array"):
        read_pannuke(folder)


def test_pannuke_of_other_shapes_is_refused(write):
    folder = write()
    np.save(folder / "masks" / "fold1" / "masks.npy", np.zeros((2, 16, 16, 6)))
    with pytest.raises(CellDataError, match=r"has shape \(2, 16, 16, 6\)"):
        read_pannuke(folder)


def test_pannuke_without_masks_or_images_is_refused(tmp_path, write, run):
    with pytest.raises(CellDataError, match=r"holds no masks\.npy"):
        read_pannuke(tmp_path)
    folder = write()
    (folder / "images" / "fold1" / "images.npy").unlink()
    with pytest.raises(CellDataError, match=r"masks\.npy has no images\.npy"):
        run(read_pannuke(folder))


@pytest.mark.parametrize("kind", ["V4", "S2", "datetime64[s]"])
def test_pannuke_arrays_that_hold_no_numbers_are_refused(tmp_path, kind):
    np.save(tmp_path / "images.npy", np.zeros((1, 4, 4, 3)))
    np.save(tmp_path / "masks.npy", np.zeros((1, 4, 4, 6), kind))
    with pytest.raises(CellDataError, match=r"masks\.npy: holds .*, not numbers"):
        read_pannuke(tmp_path)
