"""The tools that judge and describe, run as a person runs them."""

import csv
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from matplotlib import pyplot as plt

from cellseg.engine.data_source import open_data
from cellseg.structures.rle import encode_label_map

SHAPE = (48, 64)

CONFIG = """
_pipeline = [
    dict(type="LoadCellImage"),
    dict(type="LoadLabelMaps"),
    dict(type="Resize", scale=(128, 128), keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs", meta_keys=("img_id", "img_name", "img_shape", "ori_shape")),
]
_dataset = dict(
    type="CellDataset",
    data_root={root!r},
    metainfo=dict(classes=("large", "small")),
    num_folds=2,
    cache=False,
    pipeline=_pipeline,
)
train_dataloader = dict(dataset=dict(**_dataset, split="train"))
test_dataloader = dict(dataset=dict(**_dataset, split="val", test_mode=True))
model = dict(
    data_preprocessor=dict(pad_size_divisor=32),
    rpn_head=dict(
        anchor_generator=dict(
            type="AnchorGenerator",
            strides=[4, 8],
            base_sizes=[12, 30],
            scales=[1.0],
            ratios=[0.5, 1.0, 2.0],
        )
    ),
)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Draw four images with cells of two classes."""
    rng = np.random.default_rng(0)
    for name in "abcd":
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        image = rng.integers(0, 255, (*SHAPE, 3), dtype=np.uint8)
        tifffile.imwrite(folder / "image.tif", image, photometric="rgb")
        large, small = np.zeros(SHAPE, np.uint16), np.zeros(SHAPE, np.uint16)
        for place in range(6):
            y, x = 16 * (place // 2), 32 * (place % 2)
            large[y + 1 : y + 14, x + 1 : x + 14] = 10 + place
            small[y + 2 : y + 8, x + 20 : x + 26] = 20 + place
        tifffile.imwrite(folder / "class1.tif", large)
        tifffile.imwrite(folder / "class2.tif", small)
    return tmp_path / "data"


@pytest.fixture
def config(root: Path, tmp_path: Path) -> Path:
    """Write a config of two folds."""
    path = tmp_path / "config.py"
    path.write_text(CONFIG.format(root=str(root)))
    return path


@pytest.fixture
def run(run_tool: Callable[..., Any]) -> Callable[..., tuple[int, str]]:
    """Return a function that runs a tool and gives its exit status and what it said."""

    def call(tool: str, *arguments: object) -> tuple[int, str]:
        done = run_tool(tool, *arguments)
        return done.status, done.out + done.errors

    return call


def write_results(root: Path, path: Path, ids: dict[str, int]) -> Path:
    """Write predictions that take the last cell of each large layer for a small one."""
    rows = []
    for name, image_id in ids.items():
        for label in (1, 2):
            layer = tifffile.imread(root / name / f"class{label}.tif").astype(int)
            rles = encode_label_map(layer)[3]
            wrong = len(rles) - 1 if label == 1 else -1
            rows += [
                {
                    "image_id": image_id,
                    "category_id": 2 if place == wrong else label,
                    "score": 0.9,
                    "segmentation": rle,
                }
                for place, rle in enumerate(rles)
            ]
    path.write_text(json.dumps(rows))
    return path


ALL_IDS = {name: number for number, name in enumerate("abcd", start=1)}


def test_evaluate_when_the_truth_is_predicted_then_every_figure_is_one(
    run: Callable[..., tuple[int, str]], root: Path, config: Path, tmp_path: Path
) -> None:
    for truth in (root, config):
        images = [
            path for path in root.iterdir() if truth == root or path.name in val_names(config)
        ]
        folder = tmp_path / f"predictions_{truth.stem}"
        for image in images:
            (folder / image.name).mkdir(parents=True)
            for name in ("class1.tif", "class2.tif"):
                (folder / image.name / name).write_bytes((image / name).read_bytes())
        status, said = run("evaluate.py", truth, folder, "--out", tmp_path / "figures.json")
        assert status == 0, said
        assert f"{len(images)} images" in said
        content = json.loads((tmp_path / "figures.json").read_text())
        assert content["figures"]["segm_mAP"] == 1.0
        judged = {k: v for k, v in content["figures"].items() if not k.startswith("segm_")}
        assert len(judged) > 100
        assert set(judged.values()) == {1.0}


def val_names(config: Path) -> list[str]:
    """List the images of the config's held-out fold."""
    dataset = open_data(config, "test")
    return [dataset.get_data_info(index)["img_name"] for index in range(len(dataset))]


def test_evaluate_when_predictions_have_no_class_then_cells_are_judged_alike(
    run: Callable[..., tuple[int, str]], root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "cellpose"
    folder.mkdir()
    for name in "abc":
        large, small = (tifffile.imread(root / name / f"class{k}.tif") for k in (1, 2))
        tifffile.imwrite(folder / f"{name}_cp_masks.tif", np.maximum(large, small))
    status, said = run("evaluate.py", root, folder, "--out", tmp_path / "figures.json")
    assert status == 0, said
    assert "no prediction for 1 of them: d" in said
    assert "whatever their class" in said
    figures = json.loads((tmp_path / "figures.json").read_text())["figures"]
    assert figures["cell_recall_50"] == 0.75
    assert figures["cell_precision_50"] == 1.0


def test_evaluate_when_files_and_classes_are_named_then_followed(
    run: Callable[..., tuple[int, str]], root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    for name in "abcd":
        for place, kind in ((1, "big"), (2, "tiny")):
            data = (root / name / f"class{place}.tif").read_bytes()
            (folder / f"mask-{kind}-of-{name}.tif").write_bytes(data)
    arguments = [root, folder, "--files", "mask-{class}-of-{image}.tif", "--classes", "big", "tiny"]
    status, said = run("evaluate.py", *arguments)
    assert status == 0, said
    assert [
        line.split()[0] for line in said.splitlines() if line.startswith(("big ", "tiny "))
    ] == [
        "big",
        "tiny",
    ]
    status, said = run("evaluate.py", root, folder)
    assert (status, "Say with --files" in said) == (1, True)


def test_evaluate_when_classes_are_ignored_or_scores_low_then_judged_so(
    run: Callable[..., tuple[int, str]], root: Path, tmp_path: Path
) -> None:
    results, out = write_results(root, tmp_path / "r.json", ALL_IDS), tmp_path / "figures.json"
    figures = {}
    for options in ((), ("--ignore-classes",), ("--score-thr", 0.95)):
        status, said = run("evaluate.py", root, results, "--out", out, *options)
        assert status == 0, said
        figures[options] = json.loads(out.read_text())["figures"]
        assert ("whatever their class" in said) == (options == ("--ignore-classes",))
    assert figures[()]["mF1_50"] < 1
    assert figures["--ignore-classes",]["mF1_50"] == 1
    assert figures["--score-thr", 0.95]["mF1_50"] == 0
    assert figures["--score-thr", 0.95]["segm_mAP"] == figures[()]["segm_mAP"] > 0


def test_evaluate_when_the_config_limits_detections_then_they_count_so(
    run: Callable[..., tuple[int, str]], root: Path, config: Path, tmp_path: Path
) -> None:
    ids = {name: ALL_IDS[name] for name in val_names(config)}
    results = write_results(root, tmp_path / "r.json", ids)
    recalls = []
    for limit in ("", "test_evaluator = [dict(type='CellMetric', max_dets=2)]"):
        config.write_text(CONFIG.format(root=str(root)) + limit)
        status, said = run("evaluate.py", config, results, "--out", tmp_path / "figures.json")
        assert status == 0, said
        assert f"{2 if limit else 1000} detections" in said
        recalls.append(json.loads((tmp_path / "figures.json").read_text())["figures"]["segm_AR"])
    # Of 6 cells of each class, the first two of the small ones hold the large cell taken for small.
    assert recalls == pytest.approx([11 / 12, (2 / 6 + 1 / 6) / 2])


def test_evaluate_when_a_mean_is_over_nothing_then_null_is_written(
    run: Callable[..., tuple[int, str]], root: Path, tmp_path: Path
) -> None:
    results, out = write_results(root, tmp_path / "r.json", ALL_IDS), tmp_path / "figures.json"
    assert run("evaluate.py", root, results, "--out", out)[0] == 0
    figures = json.loads(out.read_text())["figures"]
    assert figures["segm_mAP_l"] is None
    assert figures["segm_mAP_s"] > 0
    assert all(value is None or value >= 0 for value in figures.values())


def test_evaluate_when_asked_per_image_and_by_tissue_then_a_table_and_the_mean_are_written(
    run: Callable[..., tuple[int, str]], root: Path, tmp_path: Path
) -> None:
    results = write_results(root, tmp_path / "r.json", {"a": 1, "b": 2})  # none for c and d
    out, table, tissues = (tmp_path / name for name in ("f.json", "t.csv", "tissues.csv"))
    tissues.write_text("image,tissue\na,colon\nb,colon\nc,colon\nd,breast\n")
    more = ["--per-image", table, "--tissues", tissues, "--out", out]
    status, said = run("evaluate.py", root, results, *more)
    assert status == 0, said
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == (4 + 2) * 3
    pq = {(row["image"], row["class"]): float(row["PQ"]) for row in rows}
    figures = json.loads(out.read_text())["figures"]
    assert pq["c", "class1"] == pq["d", "all classes"] == 0
    assert pq["(pooled)", "class1"] == pytest.approx(figures["class1_PQ"], abs=1e-6)
    mean = figures["class2_PQ_image_mean"]
    assert pq["(mean of images)", "class2"] == pytest.approx(mean, abs=1e-6)
    per_image = {name: (pq[name, "class1"] + pq[name, "class2"]) / 2 for name in "abcd"}
    colon = (per_image["a"] + per_image["b"] + per_image["c"]) / 3
    assert figures["mPQ_tissue_mean"] == pytest.approx((colon + per_image["d"]) / 2, abs=1e-6)
    assert f"{figures['mPQ_tissue_mean']:.4f}" in said
    assert f"{figures['any_PQ_tissue_mean']:.4f}" in said


def test_evaluate_when_an_image_has_no_tissue_then_named(
    run: Callable[..., tuple[int, str]], root: Path, tmp_path: Path
) -> None:
    results = write_results(root, tmp_path / "r.json", ALL_IDS)
    (tmp_path / "tissues.csv").write_text("a,colon\n")
    status, said = run("evaluate.py", root, results, "--tissues", tmp_path / "tissues.csv")
    assert status == 1
    assert "tissues.csv: gives no tissue for 3 of 4 images (b, ...)" in said


@pytest.mark.parametrize("tool", ["evaluate.py", "analysis_tools/confusion_matrix.py"])
def test_tools_when_judging_refuses_the_data_then_one_sentence(
    run: Callable[..., tuple[int, str]],
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tool: str,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("the masks do not fit")

    monkeypatch.setattr("cellseg.scoring.scene.build_scene", refuse)
    results = write_results(root, tmp_path / "r.json", ALL_IDS)
    status, said = run(tool, root, results, *([tmp_path / "out"] if "confusion" in tool else []))
    assert status == 1
    assert "error: Image 1: the masks do not fit" in said


@pytest.mark.parametrize("tool", ["evaluate.py", "analysis_tools/confusion_matrix.py"])
def test_tools_when_given_a_pickle_or_another_splits_results_then_one_sentence(
    run: Callable[..., tuple[int, str]], root: Path, config: Path, tmp_path: Path, tool: str
) -> None:
    more = [tmp_path / "out"] if "confusion" in tool else []
    dump = tmp_path / "results.pkl"
    dump.write_bytes(pickle.dumps([1]))
    status, said = run(tool, config, dump, *more)
    assert status == 1
    assert "results.segm.json" in said
    results = write_results(root, tmp_path / "r.json", ALL_IDS)
    status, said = run(tool, config, results, *more)
    assert status == 1
    assert "not among the 2 images" in said
    assert "Traceback" not in said


def test_confusion_matrix_when_a_class_is_mistaken_then_counted_and_drawn(
    run: Callable[..., tuple[int, str]], root: Path, tmp_path: Path
) -> None:
    results = write_results(root, tmp_path / "r.segm.json", ALL_IDS)
    out = tmp_path / "out"
    status, said = run("analysis_tools/confusion_matrix.py", root, results, out)
    assert status == 0, said
    rows = list(csv.reader((out / "confusion_counts.csv").open()))
    assert rows[1:] == [
        ["class1", "20", "4", "0"],
        ["class2", "0", "24", "0"],
        ["false positive", "0", "0", "0"],
    ]
    shares = list(csv.reader((out / "confusion_shares.csv").open()))
    assert float(shares[1][2]) == pytest.approx(4 / 24, abs=1e-6)
    assert cv2.imread(str(out / "confusion_matrix.png")).shape[1] > 800
    folder = tmp_path / "renamed"
    folder.mkdir()
    for path in root.glob("*/class?.tif"):
        name = f"layer{path.stem[-1]}_{path.parent.name}.tif"
        (folder / name).write_bytes(path.read_bytes())
    arguments = [root, folder, out, "--files", "layer{class}_{image}.tif"]
    status, said = run("analysis_tools/confusion_matrix.py", *arguments)
    assert status == 0, said
    rows = list(csv.reader((out / "confusion_counts.csv").open()))
    assert rows[1:] == [
        ["class1", "24", "0", "0"],
        ["class2", "0", "24", "0"],
        ["false positive", "0", "0", "0"],
    ]


def test_anchor_recall_when_fitting_then_figures_a_picture_and_config_lines(
    run: Callable[..., tuple[int, str]], root: Path, config: Path, tmp_path: Path
) -> None:
    out = tmp_path / "anchors.png"
    arguments = [config, "--fit", "--num-ratios", 2, "--out", out]
    status, said = run("analysis_tools/anchor_recall.py", *arguments)
    assert status == 0, said
    assert "strides=[4, 8]" in said
    scores = [float(li.split()[-1]) for li in said.splitlines() if li.startswith("  all cells")]
    assert len(scores) == 2
    assert scores[1] > scores[0]
    assert cv2.imread(str(out)).size > 0
    other = tmp_path / "larger.py"
    other.write_text(config.read_text().replace("base_sizes=[12, 30]", "base_sizes=[60, 90]"))
    status, said = run("analysis_tools/anchor_recall.py", config, other, "--data", root)
    assert status == 0, said
    scores = {
        block.split()[0]: float(re.search("all cells.* (.+)", block)[1])
        for block in said.split("\n\n")
    }
    assert list(scores) == ["config", "larger"]
    assert scores["larger"] < scores["config"]
    status, said = run("analysis_tools/anchor_recall.py", config, "--out", tmp_path / "x.bmp")
    assert (status, "must end in .png" in said) == (1, True)


def test_dataset_report_when_run_then_folds_are_balanced_and_files_written(
    run: Callable[..., tuple[int, str]], root: Path, config: Path, tmp_path: Path
) -> None:
    status, said = run("analysis_tools/dataset_report.py", config, tmp_path / "out")
    assert status == 0, said
    assert "4 images, 48 cells" in said
    assert said.count("12 (50.0%)") == 4
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"dataset_report.png", "images.csv", "suspicious_cells.csv"}
    status, said = run("analysis_tools/dataset_report.py", root, tmp_path / "out", "--num-folds", 9)
    assert status == 1
    assert "9 folds" in said


@pytest.mark.parametrize("split", ["train", "test"])
def test_browse_dataset_when_run_then_pages_hold_all_samples(
    run: Callable[..., tuple[int, str]], config: Path, tmp_path: Path, split: str
) -> None:
    out = tmp_path / "pages"
    arguments = [config, out, "--split", split, "--columns", 1, "--rows", 1, "--tile", 200]
    status, said = run("analysis_tools/browse_dataset.py", *arguments)
    assert status == 0, said
    assert "2 of 2 samples on 2 pages" in said
    assert sorted(path.name for path in out.iterdir()) == ["page_1.png", "page_2.png"]
    assert cv2.imread(str(out / "page_1.png")).shape[1] == 208


@pytest.mark.parametrize(
    "tool", ["confusion_matrix", "anchor_recall", "dataset_report", "browse_dataset"]
)
def test_analysis_tools_when_asked_to_show_then_open_one_window(
    run: Callable[..., tuple[int, str]],
    root: Path,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tool: str,
) -> None:
    plt.close("all")  # what other tests left open
    shown: list[list[int]] = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.get_fignums()))
    out = tmp_path / "out"
    arguments: dict[str, list[object]] = {
        "confusion_matrix": [root, write_results(root, tmp_path / "r.json", ALL_IDS), out],
        "anchor_recall": [config],
        "dataset_report": [root, out],
        "browse_dataset": [config, out, "--count", 1],
    }
    status, said = run(f"analysis_tools/{tool}.py", *arguments[tool], "--show")
    opened = plt.get_fignums()
    plt.close("all")
    assert status == 0, said
    assert shown == [opened]
    assert len(opened) == 1
