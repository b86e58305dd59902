import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from cellseg.errors import CellDataError
from cellseg.formats.label_folders import read_label_folders

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


def test_what_cellpose_writes_besides_is_counted_and_left_out(tmp_path, draw_picture, run):
    data = tmp_path / "data"
    for name in ("a.tif", "b_flows.tif"):  # the second is an image, since it has masks
        draw_picture(data / name)
        tifffile.imwrite(data / name.replace(".tif", "_cp_masks.tif"), LABELS)
    extras = [
        *("a_flows.tif", "a_flows_cp_masks.tif", "a_dP_cp_masks.tif", "a_outlines_cp_masks.png"),
        *("a_cp_output_cp_masks.png", "a_cp_output.png", "a_seg.npy", "a_cp_outlines.txt"),
        *("a_rois.zip", "b_flows_flows.tif", "flows/a_flows_1.tif"),
    ]
    for name in extras:
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_bytes(b"whatever")
    report = run(read_label_folders(data))
    assert report.written == 2
    assert {(loss.kind, loss.reason) for loss in report.losses} == {
        ("file", "is neither an image nor its annotations")
    }
    assert sorted(loss.image for loss in report.losses) == sorted(str(data / n) for n in extras)
    assert "11 files   is neither an image nor its annotations" in report.to_text()


def test_what_cellpose_writes_besides_is_no_label_map_either(tmp_path, draw_picture, run):
    draw_picture(tmp_path / "images" / "a.tif")
    (tmp_path / "masks").mkdir()
    for name in ("a_cp_masks.tif", "a_flows.tif", "a_outlines_cp_masks.png"):
        tifffile.imwrite(tmp_path / "masks" / name, LABELS)
    report = run(read_label_folders(tmp_path / "images", tmp_path / "masks"))
    assert (report.written, len(report.losses)) == (1, 2)


def test_image_that_is_only_named_like_an_extra_is_missed(tmp_path, draw_picture):
    for name in ("a.tif", "a_masks.tif", "c_flows.tif"):
        draw_picture(tmp_path / name)
    losses = read_label_folders(tmp_path).losses
    assert [(loss.image[-11:], loss.kind) for loss in losses] == [("c_flows.tif", "image")]


def test_masks_in_pickles_only_are_refused_with_the_mend(tmp_path, draw_picture):
    draw_picture(tmp_path / "a.tif")
    (tmp_path / "a_seg.npy").touch()
    with pytest.raises(CellDataError, match=r"_seg\.npy.*save the masks from Cellpose as PNG"):
        read_label_folders(tmp_path)


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


@pytest.mark.parametrize("ids", [[255] * 6, [1, 2] * 3])
def test_labels_that_stand_for_many_cells_are_warned_of_and_can_be_split(
    tmp_path, draw_picture, run, read, ids
):
    draw_picture(tmp_path / "data" / "a.tif")
    labels = np.zeros((20, 30), np.uint8)
    for place, number in enumerate(ids):
        labels[3:7, 5 * place : 5 * place + 3] = number
    Image.fromarray(labels).save(tmp_path / "data" / "a_masks.png")
    report = run(read_label_folders(tmp_path / "data"))
    assert [loss.kind for loss in report.losses] == ["warning"]
    assert "--connected-components" in report.to_text()
    assert "[a]" in report.to_text()
    shutil.rmtree(tmp_path / "out")
    report = run(read_label_folders(tmp_path / "data"), split_pieces=True)
    assert report.cells == {"cell": 6}
    assert {loss.kind for loss in report.losses} == {"change"}
    assert np.unique(read("a/class1.tif")).tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_labels_that_the_script_for_slides_writes_are_converted(run, tmp_path, draw_picture):
    name = "slide [x=0,y=0,w=30,h=20].tif"
    draw_picture(tmp_path / "images" / name)
    (tmp_path / "masks").mkdir()
    labels = np.zeros((20, 30), np.uint16)
    labels[2:5, 3:6] = 300
    tifffile.imwrite(tmp_path / "masks" / name, labels)
    report = run(read_label_folders(tmp_path / "images", tmp_path / "masks"))
    assert report.cells == {"cell": 1}


def test_mask_of_0_and_255_whose_cells_touch_is_warned_of(tmp_path, draw_picture, run):
    draw_picture(tmp_path / "data" / "a.tif")
    labels = np.zeros((20, 30), np.uint8)
    labels[3:7, 5:20] = 255
    Image.fromarray(labels).save(tmp_path / "data" / "a_masks.png")
    report = run(read_label_folders(tmp_path / "data"))
    assert [loss.kind for loss in report.losses] == ["warning"]
    assert "the only label is 255: each label counts as one cell" in report.to_text()
