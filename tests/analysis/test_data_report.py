"""Facts of drawn data sets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cellseg.analysis.data_report import (
    DataFacts,
    count_pieces,
    describe_data,
    format_report,
    images_to_csv,
    measure_stain_contrast,
    suspicious_to_csv,
)
from cellseg.datasets.cell_dataset import CellDataset
from cellseg.images import read_cell_image
from cellseg.structures.rle import encode_label_map

NAMES = ["epithelial", "lymphocyte"]
SIZE = (60, 80)
PINK, PURPLE = (200, 150, 220), (150, 70, 100)  # B, G, R


def make_info(name: str, *layers: NDArray[np.int64], ignore: int = 0) -> dict[str, Any]:
    """Make an entry of a CellDataset with one layer a class."""
    instances: list[dict[str, Any]] = []
    for label, layer in enumerate(layers):
        ids, boxes, areas, rles = encode_label_map(layer)
        rows = zip(ids.tolist(), boxes.tolist(), areas.tolist(), rles, strict=True)
        instances += [
            {
                "bbox": box,
                "bbox_label": label,
                "ignore_flag": 0,
                "area": area,
                "mask": rle,
                "layer": label,
                "label_id": cell_id,
            }
            for cell_id, box, area, rle in rows
        ]
    instances += [{"ignore_flag": 1, "bbox_label": -1}] * ignore
    paths = [f"/data/{name}/class{k + 1}.tif" for k in range(len(layers))]
    size = {"height": SIZE[0], "width": SIZE[1]}
    return {"img_name": name, **size, "label_paths": paths, "instances": instances}


def draw_layer() -> NDArray[np.int64]:
    """Draw a sound cell, one in two pieces, one with a hole, a tiny one, and one at the border."""
    layer = np.zeros(SIZE, dtype=np.int64)
    layer[10:20, 10:30] = 5
    layer[30:34, 10:14] = layer[40:44, 10:14] = 6
    layer[30:40, 40:50] = 7
    layer[34:36, 44:46] = 0
    layer[50, 50] = 8
    layer[10:20, 70:] = 9
    return layer


def stain(info: dict[str, Any]) -> NDArray[np.uint8]:
    """Paint cells purple on pink."""
    image = np.full((*SIZE, 3), PINK, dtype=np.uint8)
    for cell in info["instances"]:
        if not cell["ignore_flag"]:
            x1, y1, x2, y2 = cell["bbox"]
            image[y1:y2, x1:x2] = PURPLE
    return image


def describe(read_image: Any = stain, **options: Any) -> DataFacts:
    """Describe two images, the second without a cell."""
    nothing = np.zeros(SIZE, dtype=np.int64)
    second = np.where(draw_layer() == 5, 70_000, 0)
    infos = [make_info("a", draw_layer(), second, ignore=2), make_info("b", nothing)]
    return describe_data(infos, NAMES, read_image, **options)


def test_describe_data_when_cells_are_odd_then_each_oddity_is_found() -> None:
    facts = describe()
    assert facts.counts.tolist() == [[5, 1], [0, 0]]
    ids = {name: facts.cells.ids[found].tolist() for name, found in facts.suspicious.items()}
    assert ids == {
        "in several pieces": [6],
        "with holes": [7],
        "tiny (under 10 px)": [8],
        "touching the border": [9],
    }
    sizes = dict(zip(facts.cells.ids.tolist(), facts.cells.sizes_px.tolist(), strict=True))
    assert (sizes[7], sizes[8]) == (10.0, 1.0)
    assert facts.cells.aspects[facts.cells.ids == 5].tolist() == [0.5]
    assert (facts.images[0].num_ignored, facts.images[1].num_ignored) == (2, 0)
    assert facts.images[0].cell_px == 200 + 32 + 96 + 1 + 100


def test_describe_data_when_tiny_is_set_then_it_holds() -> None:
    assert describe(tiny_px=33).suspicious["tiny (under 33 px)"].sum() == 2


def test_describe_data_when_there_is_no_image_then_still_a_report() -> None:
    facts = describe_data([], NAMES, stain)
    assert "no image" in format_report(facts)
    assert len(images_to_csv(facts).splitlines()) == 1
    assert len(suspicious_to_csv(facts).splitlines()) == 1


@pytest.mark.parametrize(("swap", "brown"), [(False, "0 of 1"), (True, "1 of 1")])
def test_format_report_when_channels_are_swapped_then_it_is_said(swap: bool, brown: str) -> None:
    facts = describe(lambda info: stain(info)[..., :: -1 if swap else 1])
    report = format_report(facts)
    assert facts.images[0].looks_swapped == swap
    assert f"images with brown tissue: {brown} stained ones" in report
    assert ("channel_order" in report) == swap


def test_format_report_when_parts_are_given_then_their_shares_are_shown() -> None:
    report = format_report(describe(parts={"fold 0": [0], "fold 1": [1]}))
    lines = {line.split()[1]: line.split() for line in report.splitlines() if "fold" in line}
    assert lines["0"][2:] == ["1", "5", "(100.0%)", "1", "(100.0%)"]
    assert lines["1"][2:] == ["1", "0", "(0.0%)", "0", "(0.0%)"]
    assert "images without a cell: 1" in report


def test_format_report_when_cells_are_known_then_their_sizes_are_shown() -> None:
    layer = np.zeros(SIZE, dtype=np.int64)
    layer[10:19, 10:14] = 3  # 4 x 9 px
    report = format_report(describe_data([make_info("a", layer)], NAMES, stain))
    head, row = (next(s for s in report.splitlines() if s.startswith(n)) for n in ("cl", "epi"))
    for title, expected in (
        ("size (px) 5, 50, 95%", "6.0, 6.0, 6.0"),
        ("area (px) 5, 50, 95%", "36, 36, 36"),
        ("height / width 5, 50, 95%", "2.25, 2.25, 2.25"),
    ):
        end = head.index(title) + len(title)
        assert row[head.index(title) : end].strip() == expected


def test_format_report_when_a_class_is_absent_then_it_says_so() -> None:
    facts = describe_data([make_info("a", draw_layer())], NAMES, stain)
    assert "no cell of this class" in format_report(facts)


def test_suspicious_to_csv_when_written_then_cells_can_be_found_again() -> None:
    lines = suspicious_to_csv(describe()).splitlines()
    assert len(lines) == 5
    assert lines[1] == "a,class1.tif,6,epithelial,10,30,14,44,32,in several pieces"
    table = images_to_csv(describe()).splitlines()
    assert table[1].split(",")[:6] == ["a", "60", "80", "5", "1", "6"]
    assert table[2].startswith("b,60,80,0,0,0,0.0,0.0000,0,,0")


def test_measure_stain_contrast_when_there_is_no_label_or_color_then_dark_tissue_or_nan() -> None:
    info = make_info("a", draw_layer())
    nothing = np.zeros(SIZE, dtype=bool)
    assert measure_stain_contrast(stain(info), nothing) > 50
    assert measure_stain_contrast(stain(info)[..., ::-1], nothing) < -50
    grey = np.full((*SIZE, 3), 120, dtype=np.uint8)
    assert np.isnan(measure_stain_contrast(grey, nothing))
    assert np.isnan(measure_stain_contrast(stain(info), ~nothing))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["#"], (1, 0)),
        (["#.", ".#"], (1, 0)),
        (["#.#"], (2, 0)),
        (["###", "#.#", "###"], (1, 1)),
        (["#####", "#.#.#", "#####"], (1, 2)),
        (["#####", "#...#", "#.#.#", "#...#", "#####"], (2, 1)),
        (["##.", "#.#", "###"], (1, 1)),
        (["..."], (0, 0)),
    ],
)
def test_count_pieces_when_mask_is_drawn_then_known(
    rows: list[str], expected: tuple[int, int]
) -> None:
    assert count_pieces(np.array([[c == "#" for c in row] for row in rows])) == expected


@pytest.mark.parametrize(
    ("part", "order", "swapped"),
    [("hw3/train", "bgr", 0), ("hw3/train", "rgb", 5), ("dsb2018_stained/val", "rgb", 0)],
)
def test_describe_data_when_images_are_real_then_swapped_channels_are_seen(
    real_data: Path, part: str, order: str, swapped: int
) -> None:
    names = ["1", "2", "3", "4"] if part.startswith("hw3") else ["nucleus"]
    dataset = CellDataset(
        data_root=real_data / part,
        metainfo={"classes": names},
        channel_order=order,
        pipeline=[],
        test_mode=True,
    )
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    facts = describe_data(
        infos, names, lambda info: read_cell_image(info["img_path"], info["image_format"])
    )
    assert sum(image.looks_swapped for image in facts.images) == swapped
