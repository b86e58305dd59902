"""The data set as a config builds it: entries, splits, filters, and bad input found at once."""

import json
import logging

import numpy as np
import pytest
import tifffile
from mmdet.registry import DATASETS
from mmengine.config import Config
from pycocotools import mask as coco_mask

from cellseg.datasets.cell_dataset import CellDataset
from cellseg.errors import CellDataError


@pytest.fixture
def warnings(listen):
    """Return the list of warnings that the data set logs."""
    return listen("cellseg.datasets.cell_dataset", logging.WARNING)


@pytest.fixture
def root(tmp_path, draw_image, label_map):
    """Return a root of one image of two classes, one with an ignore region, one without cells."""
    other = np.zeros_like(label_map)
    other[5:7, 5:9] = 3
    region = np.zeros((12, 16), np.uint8)
    region[:2, 12:] = 1
    draw_image(tmp_path / "data", "both", {"class1.tif": label_map, "class4.tif": other})
    draw_image(tmp_path / "data", "ignored", {"ignore.tif": region})
    draw_image(tmp_path / "data", "none", shape=(6, 7))
    return tmp_path / "data"


def test_cell_dataset_when_built_from_config_then_entries_hold_the_contract(root):
    config = Config({"data": {"type": "CellDataset", "data_root": str(root), "pipeline": []}})
    dataset = DATASETS.build(config.data)
    assert [dataset.get_data_info(i)["img_name"] for i in range(3)] == ["both", "ignored", "none"]
    info = dataset.get_data_info(0)
    assert (info["img_id"], info["height"], info["width"]) == (1, 12, 16)
    assert info["img_path"] == str(root / "both" / "image.tif")
    assert info["image_format"]["channel_order"] == "rgb"
    assert info["label_paths"] == [str(root / "both" / f"class{k}.tif") for k in (1, 4)]
    cells = info["instances"]
    assert [c["bbox_label"] for c in cells] == [0, 0, 3]
    assert cells[2]["bbox"] == [5, 5, 9, 7]
    assert cells[2]["area"] == 8
    assert isinstance(cells[2]["mask"]["counts"], str)
    for cell in cells:
        label_map = tifffile.imread(info["label_paths"][cell["layer"]])
        mask = label_map == cell["label_id"]
        np.testing.assert_array_equal(coco_mask.decode(cell["mask"]), mask)
    assert dataset.get_data_info(2)["instances"] == []


def test_cell_dataset_when_ignore_region_then_flagged_and_of_no_class(root):
    dataset = CellDataset(data_root=root)
    (region,) = dataset.get_data_info(1)["instances"]
    assert (region["bbox_label"], region["ignore_flag"], region["bbox"]) == (-1, 1, [12, 0, 16, 2])
    assert dataset.get_cat_ids(0) == [0, 0, 3]
    assert dataset.get_cat_ids(1) == []
    without = CellDataset(data_root=root, ignore_name=None, unknown_labels="ignore")
    assert without.get_data_info(1)["instances"] == []


def test_filter_data_when_filter_empty_gt_then_only_images_with_cells_in_training(root):
    keep_cells = {"filter_empty_gt": True}
    train = CellDataset(data_root=root, filter_cfg=keep_cells)
    assert [train.get_data_info(i)["img_name"] for i in range(len(train))] == ["both"]
    assert len(CellDataset(data_root=root, filter_cfg=keep_cells, test_mode=True)) == 3
    assert len(CellDataset(data_root=root, filter_cfg={"min_size": 7})) == 2
    with pytest.raises(CellDataError, match="filter_cfg leaves none"):
        CellDataset(data_root=root, filter_cfg={"min_size": 100})


def test_cell_dataset_when_second_start_with_other_options_then_cache_serves_them(root):
    assert len(CellDataset(data_root=root).get_data_info(0)["instances"]) == 3
    renamed = CellDataset(
        data_root=root,
        metainfo={"classes": ("a", "b")},
        label_names={"a": "class4.tif", "b": "class1.tif"},
        min_area_px=9,
        channel_order="bgr",
    ).get_data_info(0)
    assert [c["bbox_label"] for c in renamed["instances"]] == [1, 1]
    assert renamed["image_format"]["channel_order"] == "bgr"
    merged = CellDataset(
        data_root=root,
        metainfo={"classes": ("cell",)},
        label_names={"cell": ["class1.tif", "class4.tif"]},
    )
    assert merged.get_cat_ids(0) == [0, 0, 0]


@pytest.mark.parametrize("num_classes", [1, 4, 9])
def test_metainfo_when_classes_given_then_palette_has_a_color_for_each(root, num_classes):
    classes = tuple(f"class {k}" for k in range(num_classes))
    dataset = CellDataset(metainfo={"classes": classes}, data_root=root, lazy_init=True)
    assert dataset.metainfo["classes"] == classes
    colors = dataset.metainfo["palette"][:num_classes]
    assert len(set(colors)) == num_classes


def test_cell_dataset_when_several_files_are_bad_then_one_error_lists_all(root, label_map):
    (root / "both" / "class1.tif").write_bytes(b"II*\0cut")
    tifffile.imwrite(root / "none" / "class2.tif", label_map)
    tifffile.imwrite(root / "ignored" / "class1.tif", label_map - 0.5)
    with pytest.raises(CellDataError) as caught:
        CellDataset(data_root=root)
    message = str(caught.value)
    assert "3 images cannot be used" in message
    for part in ("both/class1.tif", "none/class2.tif", "12 x 16", "ignored/class1.tif", "fract"):
        assert part in message
    assert "train_dataloader.dataset.bad_images=skip" in message


@pytest.mark.parametrize("kind", ["Resize", "RandomResize", "LimitedResize"])
def test_cell_dataset_when_an_image_is_too_thin_to_be_resized_then_the_error_names_it(
    root, tmp_path, kind
):
    (tmp_path / "thin").mkdir()
    tifffile.imwrite(tmp_path / "thin" / "image.tif", np.zeros((2, 3000, 3), np.uint8))
    name = f"mmdet.{kind}" if kind == "LimitedResize" else kind
    step = {"type": name, "scale": (256, 256)}
    step |= {"Resize": {"keep_ratio": True}, "LimitedResize": {}}.get(
        kind, {"keep_ratio": True, "ratio_range": (0.5, 8.0)}
    )
    roots = [root, tmp_path]
    options = dict(data_root=roots, serialize_data=False, unknown_labels="ignore")
    if kind == "LimitedResize":  # which leaves a pixel
        assert len(CellDataset(pipeline=[step], **options)) > 1
        return
    with pytest.raises(CellDataError, match=r"thin/image.tif: is 3000 x 2 pixels, too thin"):
        CellDataset(pipeline=[step], **options)
    step["scale"] = (3000, 3000)
    assert len(CellDataset(pipeline=[step], **options)) > 1


def test_cell_dataset_when_bad_images_skipped_then_each_reported_and_ids_stay(root, warnings):
    (root / "both" / "class1.tif").write_bytes(b"II*\0cut")
    (root / "ignored" / "class7.tif").write_bytes(b"")
    dataset = CellDataset(data_root=root, bad_images="skip")
    assert [(i["img_name"], i["img_id"]) for i in map(dataset.get_data_info, range(1))] == [
        ("none", 3)
    ]
    assert len(dataset) == 1
    skipped = [message for message in warnings if message.startswith("Skipped")]
    assert len(skipped) == 2
    assert any("both/class1.tif" in message for message in skipped)
    assert any("ignored/class7.tif" in message for message in skipped)
    (root / "none" / "image.tif").write_bytes(b"")
    with pytest.raises(CellDataError, match="3 images cannot be used"):
        CellDataset(data_root=root, bad_images="skip")


def test_cell_dataset_when_very_many_are_bad_then_list_is_cut(tmp_path, draw_image):
    for index in range(25):
        folder = draw_image(tmp_path, f"{index:02}")
        (folder / "image.tif").write_bytes(b"")
    with pytest.raises(CellDataError, match="and 5 more") as caught:
        CellDataset(data_root=tmp_path)
    assert str(caught.value).count("image.tif") == 20


def test_cell_dataset_when_16_bit_then_range_is_demanded_on_every_start(root):
    pixels = np.zeros((6, 7), np.uint16)
    tifffile.imwrite(root / "none" / "image.tif", pixels, photometric="minisblack")
    for _ in range(2):
        with pytest.raises(CellDataError, match="none/image.tif: .*intensity_range"):
            CellDataset(data_root=root)
        assert len(CellDataset(data_root=root, intensity_range=(0, 4095))) == 3


def test_cell_dataset_when_two_classes_claim_pixels_then_warned_with_count(
    root, warnings, label_map
):
    tifffile.imwrite(root / "both" / "class2.tif", label_map)
    for _ in range(2):
        warnings.clear()
        CellDataset(data_root=root)
        assert len(warnings) == 1
        assert "23 pixels in 1 images are claimed by two classes" in warnings[0]
        assert "both (23)" in warnings[0]


def test_cell_dataset_when_a_label_stands_for_many_cells_then_warned_at_every_start(
    tmp_path, draw_image, warnings
):
    mask = np.zeros((12, 16), np.uint8)
    mask[1:4, 1:4] = mask[6:9, 1:4] = mask[1:4, 8:12] = 255
    draw_image(tmp_path, "mask", {"class1.tif": mask})
    draw_image(tmp_path, "good", {"class1.tif": np.eye(12, 16, dtype=np.uint8), "ignore.tif": mask})
    for _ in range(2):  # the second start reads the cache
        CellDataset(data_root=tmp_path)
    told = [text for text in warnings if "--connected-components" in text]
    assert len(told) == 2
    assert all(
        "in 1 of 2 images labels are in several pieces, or only 255 (mask)" in text for text in told
    )


def test_cell_dataset_when_no_label_file_anywhere_then_warned_in_training_only(
    tmp_path, draw_image, warnings
):
    draw_image(tmp_path, "a")
    CellDataset(data_root=tmp_path, test_mode=True)
    assert warnings == []
    assert len(CellDataset(data_root=tmp_path)) == 1
    assert "no image has a label file" in warnings[0]


@pytest.fixture
def many(tmp_path, draw_image, label_map):
    """Return a root of 15 images, five of them with the rare second class."""
    for index in range(15):
        labels = {"class1.tif": label_map}
        if index % 3 == 0:
            labels["class2.tif"] = label_map
        draw_image(tmp_path, f"{index:02}", labels)
    return tmp_path


def _names(dataset):
    return {dataset.get_data_info(i)["img_name"] for i in range(len(dataset))}


def test_cell_dataset_when_folds_then_sides_are_disjoint_and_hold_every_class(many):
    options = {"data_root": many, "num_folds": 5}
    held_out = []
    for fold in range(5):
        val = CellDataset(**options, fold=fold, split="val")
        train = CellDataset(**options, fold=fold, split="train")
        assert _names(val) | _names(train) == {f"{i:02}" for i in range(15)}
        assert not _names(val) & _names(train)
        assert {label for i in range(len(val)) for label in val.get_cat_ids(i)} == {0, 1}
        held_out += _names(val)
    assert len(held_out) == len(set(held_out)) == 15


def test_cell_dataset_when_class_is_rarer_than_folds_then_warned(many, warnings):
    CellDataset(data_root=many, num_folds=6)
    assert any("class lymphocyte, which only 5 images hold" in message for message in warnings)


def test_cell_dataset_when_groups_then_patients_stay_together(many, tmp_path_factory):
    groups = tmp_path_factory.mktemp("groups") / "patients.csv"
    groups.write_text("".join(f"{i:02},p{i // 3}\n" for i in range(15)))
    val = CellDataset(data_root=many, num_folds=5, split="val", groups_file=groups)
    assert len({int(name) // 3 for name in _names(val)}) == 1
    groups.write_text("00,p0\n")
    with pytest.raises(CellDataError, match="names no group for 14 images"):
        CellDataset(data_root=many, num_folds=5, groups_file=groups)


def test_cell_dataset_when_included_by_list_or_file_then_only_those(many, tmp_path_factory):
    names = tmp_path_factory.mktemp("lists") / "val.txt"
    names.write_text("03\n07\n")
    for include in (names, str(names), ["03", "07"]):
        assert _names(CellDataset(data_root=many, include=include)) == {"03", "07"}
    with pytest.raises(CellDataError, match="99"):
        CellDataset(data_root=many, include=["99"])


def test_cell_dataset_when_several_roots_then_all_images_with_unique_ids(
    tmp_path, draw_image, label_map
):
    for site in ("one", "two"):
        draw_image(tmp_path / site, "a", {"class1.tif": label_map})
    dataset = CellDataset(data_root=[tmp_path / "one", tmp_path / "two"])
    infos = [dataset.get_data_info(i) for i in range(2)]
    assert [(i["img_name"], i["img_id"]) for i in infos] == [("one/a", 1), ("two/a", 2)]


def test_cell_dataset_when_test_index_then_its_files_and_ids(tmp_path, draw_image):
    for name in ("x", "y"):
        folder = draw_image(tmp_path, name)
        (folder / "image.tif").rename(tmp_path / f"{name}.tif")
    rows = [
        {"file_name": "y.tif", "id": 7, "height": 12, "width": 16},
        {"file_name": "x.tif", "id": 2, "height": 12, "width": 16},
    ]
    index = tmp_path / "ids.json"
    index.write_text(json.dumps(rows))
    dataset = CellDataset(data_root=tmp_path, test_index="ids.json", test_mode=True)
    infos = [dataset.get_data_info(i) for i in range(2)]
    assert [(i["img_name"], i["img_id"], i["instances"]) for i in infos] == [
        ("y", 7, []),
        ("x", 2, []),
    ]
    rows[0]["width"] = 99
    rows.append({"file_name": "gone.tif", "id": 3, "height": 1, "width": 1})
    index.write_text(json.dumps(rows))
    with pytest.raises(CellDataError, match=r"2 images[\s\S]*12, 16[\s\S]*12, 99[\s\S]*gone.tif"):
        CellDataset(data_root=tmp_path, test_index=index, test_mode=True)


@pytest.mark.parametrize(
    "options",
    [
        {"split": "test"},
        {"bad_images": "ignore"},
        {"unknown_labels": "skip"},
        {"num_folds": 5, "fold": 5},
        {"num_folds": 1},
        {"num_folds": 4},
        {"channel_order": "gbr"},
        {"metainfo": {"classes": ()}},
        {"metainfo": {"classes": ("a", "a")}},
        {"label_names": {"epithelial": "e.tif"}},
    ],
)
def test_cell_dataset_when_option_is_senseless_then_value_error(root, options):
    with pytest.raises(ValueError, match=r"must|twice|cannot fill"):
        CellDataset(data_root=root, **options)


def test_cell_dataset_when_hw3_then_counts_and_known_vector(real_data):
    dataset = CellDataset(
        data_root=real_data / "hw3" / "train", channel_order="bgr", serialize_data=False
    )
    labels = [c["bbox_label"] for info in dataset.data_list for c in info["instances"]]
    assert np.bincount(labels).tolist() == [292, 813, 1, 545]
    (sample,) = [i for i in dataset.data_list if i["img_name"] == "hw3_official_sample"]
    (cell,) = [c for c in sample["instances"] if c["bbox_label"] == 1 and c["label_id"] == 10]
    assert cell["mask"] == {
        "size": [397, 482],
        "counts": "nWW14W<3M3N2O0O2O000O10000O100001N100000O0100O2N2LjfZ4",
    }
    assert not (real_data / "hw3" / "train" / ".cellseg_cache").exists()


@pytest.mark.parametrize(("part", "images", "nuclei"), [("train", 65, 2793), ("val", 21, 789)])
def test_cell_dataset_when_dsb2018_then_counts(real_data, part, images, nuclei):
    dataset = CellDataset(
        data_root=real_data / "dsb2018_stained" / part, metainfo={"classes": ("nucleus",)}
    )
    assert len(dataset) == images
    assert sum(len(dataset.get_cat_ids(i)) for i in range(images)) == nuclei
