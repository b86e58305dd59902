import numpy as np
import pytest
import tifffile
from PIL import Image

from cellseg.datasets.converters.label_folders import read_label_folders
from cellseg.datasets.tiff_io import CellDataError

LABELS = np.zeros((20, 30), np.uint16)
LABELS[2:5, 3:6], LABELS[10:14, 20:25] = 7, 900


def check(read, name="a/class1.tif"):
    np.testing.assert_array_equal(read(name), np.searchsorted([0, 7, 900], LABELS))


@pytest.mark.parametrize("ending", ["_masks.tif", "_cp_masks.png", "_masks.png"])
def test_cellpose_masks_beside_the_images_when_converted_then_cells(
    tmp_path, draw_picture, run, read, ending
):
    draw_picture(tmp_path / "data" / "a.tif")
    path = tmp_path / "data" / f"a{ending}"
    tifffile.imwrite(path, LABELS) if ending.endswith("tif") else Image.fromarray(LABELS).save(path)
    report = run(read_label_folders(tmp_path / "data"))
    check(read)
    assert report.cells == {"cell": 2}
    assert report.losses == []


def test_stardist_folders_when_converted_then_cells(tmp_path, draw_picture, run, read):
    draw_picture(tmp_path / "images" / "sub" / "a.tif")
    (tmp_path / "masks" / "sub").mkdir(parents=True)
    tifffile.imwrite(tmp_path / "masks" / "sub" / "a.tif", LABELS.astype(np.int32))
    report = run(read_label_folders(tmp_path / "images", tmp_path / "masks", "nucleus"))
    check(read, "sub_a/class1.tif")
    assert report.classes == ("nucleus",)


def test_masks_in_a_folder_below_the_images_are_no_images(tmp_path, draw_picture, run):
    draw_picture(tmp_path / "data" / "a.tif")
    (tmp_path / "data" / "masks").mkdir()
    tifffile.imwrite(tmp_path / "data" / "masks" / "a.tif", LABELS)
    assert run(read_label_folders(tmp_path / "data", tmp_path / "data" / "masks")).written == 1


def test_label_map_of_another_size_is_refused(tmp_path, draw_picture, run):
    draw_picture(tmp_path / "a.tif", (9, 9))
    tifffile.imwrite(tmp_path / "a_masks.tif", LABELS)
    with pytest.raises(CellDataError, match=r"a_masks\.tif: is 20 x 30 pixels but its image is 9"):
        run(read_label_folders(tmp_path))


def test_label_map_that_is_truncated_or_missing_is_named(tmp_path, draw_picture, run):
    for name in ("a", "b", "c"):
        draw_picture(tmp_path / "data" / f"{name}.tif")
    tifffile.imwrite(tmp_path / "data" / "a_masks.tif", LABELS)
    Image.fromarray(LABELS).save(tmp_path / "data" / "b_masks.png")
    damaged = tmp_path / "data" / "b_masks.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    source = read_label_folders(tmp_path / "data")
    with pytest.raises(CellDataError, match=r"c\.tif: the image has no annotation file"):
        run(source)
    report = run(source, skip_bad=True)
    assert report.written == 1
    assert [loss.kind for loss in report.losses] == ["image", "image"]


def test_folder_without_label_maps_is_refused(tmp_path, draw_picture):
    draw_picture(tmp_path / "a.tif")
    with pytest.raises(CellDataError, match="holds no file that ends in _cp_masks.tif"):
        read_label_folders(tmp_path)
