"""The converters, run as a person runs them: into the layout, out of it, and back again."""

import json
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from cellseg.datasets.synthetic import draw_cell_image, write_sample
from cellseg.formats.outlines import outline_masks
from cellseg.images import read_cell_image, read_label_map
from cellseg.structures.cell_masks import CellMasks
from cellseg.structures.rle import encode_label_map

RNG = np.random.default_rng(0)


@pytest.fixture
def run(run_tool):
    """Return a function that runs a converter and gives what it printed."""

    def call(name, *arguments, status=0):
        return run_tool(f"dataset_converters/{name}.py", *arguments).told(status)

    return call


def run_tiff2coco(run, *arguments):
    """Run the converter to COCO, which keeps no cache of what was drawn for a test."""
    run("tiff2coco", *arguments, "--no-cache")


@pytest.fixture
def layout(tmp_path):
    """Return a layout of two images: cells of any shape, holes and pieces, regions to ignore."""
    root = tmp_path / "data"
    for name in ("one", "two"):
        (root / name).mkdir(parents=True)
        pixels = RNG.integers(0, 255, (40, 60, 3), dtype=np.uint8)
        tifffile.imwrite(root / name / "image.tif", pixels, photometric="rgb")
        for file in ("class1", "class3"):
            coarse = RNG.integers(0, 30, (10, 15)) * (RNG.random((10, 15)) < 0.6)
            labels = np.kron(coarse, np.ones((4, 4), int)) * (RNG.random((40, 60)) < 0.9)
            tifffile.imwrite(root / name / f"{file}.tif", labels.astype(np.uint16))
    region = np.zeros((40, 60), np.uint8)
    region[30:, :9] = 1
    tifffile.imwrite(root / "two" / "ignore.tif", region)
    return root


def list_cells(folder, file):
    """List box, area and mask of each cell of a label file, in order of place."""
    if not (folder / file).is_file():
        return []
    _, boxes, areas, rles = encode_label_map(read_label_map(folder / file))
    rows = zip(boxes.tolist(), areas.tolist(), [rle["counts"] for rle in rles], strict=True)
    return sorted(rows)


def assert_same(before, after, channel_order="rgb"):
    """Assert that every cell and every pixel came through: IoU 1, thus also above 0.95."""
    names = sorted(path.parent.name for path in before.glob("*/image.tif"))
    assert sorted(path.parent.name for path in after.glob("*/image.tif")) == names
    for name in names:
        for file in ("class1.tif", "class2.tif", "class3.tif", "class4.tif"):
            assert list_cells(before / name, file) == list_cells(after / name, file)
        regions = [
            read_label_map(path) > 0 if path.is_file() else np.zeros(1)
            for path in (before / name / "ignore.tif", after / name / "ignore.tif")
        ]
        np.testing.assert_array_equal(*regions)
        np.testing.assert_array_equal(
            read_cell_image(before / name / "image.tif", {"channel_order": channel_order}),
            read_cell_image(after / name / "image.tif"),
        )


def assert_nearly_same(before, after):
    """Assert that there are as many cells of each class, each with an IoU of at least 0.95."""
    for folder in before.iterdir():
        for file in ("class1.tif", "class2.tif", "class3.tif", "class4.tif"):
            cells = len(list_cells(folder, file))
            assert len(list_cells(after / folder.name, file)) == cells
            if cells:
                maps = [read_label_map(root / folder.name / file) for root in (before, after)]
                assert min_iou(*maps) >= 0.95


def min_iou(first, second):
    """Return the IoU, with its best partner of the second map, of the first's worst cell."""
    pairs, shared = np.unique(np.stack((first.ravel(), second.ravel())), axis=1, return_counts=True)
    areas = [
        dict(zip(*np.unique(labels, return_counts=True), strict=True)) for labels in (first, second)
    ]
    best = dict.fromkeys(areas[0], 0.0)
    for (one, other), count in zip(pairs.T.tolist(), shared.tolist(), strict=True):
        if one and other:
            best[one] = max(best[one], count / (areas[0][one] + areas[1][other] - count))
    return min(iou for one, iou in best.items() if one)


def go_through_coco(run, monkeypatch, before, tmp_path, *order):
    run_tiff2coco(run, before, tmp_path / "coco.json")
    return run("coco2tiff", tmp_path / "coco.json", before, tmp_path / "after", *order)


def go_through_polygons(run, monkeypatch, before, tmp_path, *order):
    """Go through COCO polygons, which have no holes."""
    run_tiff2coco(run, before, tmp_path / "coco.json")
    coco = json.loads((tmp_path / "coco.json").read_text())
    for cell in coco["annotations"]:
        if not cell["iscrowd"]:
            rle = cell["segmentation"]
            (pieces,) = outline_masks(CellMasks(*rle["size"], rles=[rle]))
            cell["segmentation"] = [piece.exterior.ravel().tolist() for piece in pieces]
    (tmp_path / "polygons.json").write_text(json.dumps(coco))
    return run("coco2tiff", tmp_path / "polygons.json", before, tmp_path / "after", *order)


def go_through_geojson(run, before, tmp_path, *order):
    written = run("tiff2geojson", before, tmp_path / "geojson")
    classes = ("epithelial", "lymphocyte", "neutrophil", "macrophage")
    return written + run(
        "geojson2tiff",
        *(before, tmp_path / "geojson", tmp_path / "after"),
        *("--classes", *classes, *order),
    )


def test_layout_through_coco_and_back_is_the_same(layout, run, monkeypatch, tmp_path):
    printed = go_through_coco(run, monkeypatch, layout, tmp_path)
    assert_same(layout, tmp_path / "after")
    assert 'cell_classes = ("epithelial", "lymphocyte", "neutrophil", "macrophage")' in printed
    assert "Left out" not in printed


def test_layout_through_geojson_and_back_is_the_same(layout, run, tmp_path):
    printed = go_through_geojson(run, layout, tmp_path)
    assert_same(layout, tmp_path / "after")
    assert "Left out" not in printed
    assert "Changed" not in printed


def test_geojson_when_corrected_then_the_next_run_takes_it(layout, run, tmp_path):
    go_through_geojson(run, layout, tmp_path)
    before = list_cells(tmp_path / "after" / "one", "class1.tif")
    path = tmp_path / "geojson" / "one.geojson"
    features = json.loads(path.read_text())["features"]
    epithelial = [f for f in features if f["properties"]["classification"]["name"] == "epithelial"]
    path.write_text(json.dumps(epithelial[:3]))
    classes = ("epithelial", "lymphocyte", "neutrophil", "macrophage")
    folders = (layout, tmp_path / "geojson", tmp_path / "after")
    printed = run("geojson2tiff", *folders, "--classes", *classes)
    assert "2 images written, 1 of them earlier, 1 again because" in printed
    assert len(list_cells(tmp_path / "after" / "one", "class1.tif")) == 3 < len(before)
    assert list_cells(tmp_path / "after" / "one", "class3.tif") == []
    assert len(list_cells(tmp_path / "after" / "two", "class3.tif")) > 0


def test_layout_when_exported_with_its_images_then_they_are_red_first_and_bear_its_names(
    layout, run, tmp_path
):
    run("tiff2geojson", layout, tmp_path / "out", "--images", tmp_path / "flat")
    order = ("--channel-order", "bgr")
    run("tiff2geojson", layout, tmp_path / "out", "--images", tmp_path / "turned", *order)
    for name in ("one", "two"):
        pixels = tifffile.imread(layout / name / "image.tif")
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "flat" / f"{name}.tif"), pixels)
        turned = tifffile.imread(tmp_path / "turned" / f"{name}.tif")
        np.testing.assert_array_equal(turned, pixels[..., ::-1])
    run("geojson2tiff", tmp_path / "flat", tmp_path / "out", tmp_path / "after", "--skip-unknown")
    assert len(list_cells(tmp_path / "after" / "one", "class1.tif")) > 0


def test_blocks_through_coco_polygons_and_back_are_the_same(layout, run, monkeypatch, tmp_path):
    for path in layout.glob("*/class*.tif"):
        labels = np.kron(np.arange(150).reshape(10, 15), np.ones((4, 4), int))
        tifffile.imwrite(path, labels.astype(np.uint16))
    go_through_polygons(run, monkeypatch, layout, tmp_path)
    assert_same(layout, tmp_path / "after")


def go_there_and_back(way, run, monkeypatch, before, tmp_path, order):
    """Go through a format and back, and assert that the cells are the same, or nearly so."""
    flags = ("--channel-order", order)
    if way == "polygons":
        go_through_polygons(run, monkeypatch, before, tmp_path, *flags)
        assert_nearly_same(before, tmp_path / "after")
        return
    if way == "rle":
        go_through_coco(run, monkeypatch, before, tmp_path, *flags)
    else:
        go_through_geojson(run, before, tmp_path, *flags)
    assert_same(before, tmp_path / "after", order)


@pytest.mark.parametrize("way", ["rle", "polygons", "geojson"])
def test_drawn_cells_through_a_format_and_back_are_the_same(run, monkeypatch, tmp_path, way):
    for number, (size, cells) in enumerate([(160, 60), (128, 12), (64, 0)]):
        sample = draw_cell_image(np.random.default_rng(number), size, size + 32, cells)
        write_sample(tmp_path / "before" / f"drawn{number}", *sample)
    go_there_and_back(way, run, monkeypatch, tmp_path / "before", tmp_path, "bgr")


@pytest.mark.parametrize("way", ["rle", "polygons", "geojson"])
@pytest.mark.parametrize("part", ["hw3/train", "dsb2018_stained/val"])
def test_real_data_through_a_format_and_back_is_the_same(
    real_data, run, monkeypatch, tmp_path, way, part
):
    before = tmp_path / "before"
    before.mkdir()
    names = [path.name for path in sorted((real_data / part).iterdir()) if path.is_dir()]
    chosen = [name for name in names if "1500" not in name][:4]  # the largest takes its time
    assert "hw3" not in part or "hw3_official_sample" in chosen
    for name in chosen:
        shutil.copytree(real_data / part / name, before / name)
    order = "bgr" if "hw3" in part else "rgb"
    go_there_and_back(way, run, monkeypatch, before, tmp_path, order)


def test_monusac_tool_when_run_then_report_and_config_line(run, tmp_path):
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.svs", np.zeros((20, 30, 3), np.uint8), photometric="rgb")
    vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in ((1, 1), (9, 1), (9, 9)))
    (tmp_path / "in" / "a.xml").write_text(
        '<Annotations><Annotation><Attributes><Attribute Name="Neutrophil"/></Attributes><Regions>'
        f"<Region><Vertices>{vertices}</Vertices></Region></Regions></Annotation></Annotations>"
    )
    printed = run("monusac2tiff", tmp_path / "in", tmp_path / "out")
    assert "class3.tif          1          1" in printed
    assert 'channel_order="rgb"' in printed
    assert (tmp_path / "out" / "conversion.txt").read_text() in printed


def test_monusac_tool_when_a_class_is_unknown_then_one_sentence_with_the_mend(run, tmp_path):
    (tmp_path / "a.xml").write_text(
        '<Annotations><Annotation><Attributes><Attribute Name="Mast"/></Attributes><Regions>'
        "<Region/></Regions></Annotation></Annotations>"
    )
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 30), np.uint8))
    error = run("monusac2tiff", tmp_path, tmp_path / "out", status=1)
    assert "mast. Add them to --classes" in error
    assert "Traceback" not in error
    printed = run("monusac2tiff", tmp_path, tmp_path / "out", "--skip-unknown")
    assert "1 cell    its class 'mast' is left out" in printed


def test_labels_tool_when_run_then_cells(run, tmp_path):
    labels = np.zeros((20, 30), np.uint16)
    labels[2:5, 3:6] = 9
    tifffile.imwrite(tmp_path / "a.tif", labels)
    tifffile.imwrite(tmp_path / "a_masks.tif", labels)
    printed = run("labels2tiff", tmp_path, tmp_path / "out", "--class-name", "nucleus")
    assert 'In a config: cell_classes = ("nucleus",), and of its data sets data_root=' in printed


def test_dsb_tool_when_run_then_cells(run, tmp_path):
    for kind, pixels in (("images", np.zeros((20, 30), np.uint8)), ("masks", np.eye(20, 30) > 0)):
        (tmp_path / "in" / "x" / kind).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "in" / "x" / kind / "x.png")
    printed = run("dsb2tiff", tmp_path / "in", tmp_path / "out")
    assert "nucleus                  class1.tif          1          1" in printed


def test_pannuke_tool_when_run_then_cells(run, tmp_path):
    masks = np.zeros((2, 16, 16, 6))
    masks[1, 2:4, 2:4, 3] = 8
    np.save(tmp_path / "images.npy", np.zeros((2, 16, 16, 3)))
    np.save(tmp_path / "masks.npy", masks)
    printed = run("pannuke2tiff", tmp_path, tmp_path / "out")
    assert "dead                     class4.tif          1          1" in printed
    assert "2 images written." in printed
