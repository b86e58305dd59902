"""The report tool, run as a person runs it."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cellseg.engine.data_source import open_data

SHAPE = (48, 64)

CONFIG = """
_dataset = dict(
    type="CellDataset", data_root={root!r}, metainfo=dict(classes=("large", "small")), cache=False
)
test_dataloader = dict(dataset=dict(**_dataset, test_mode=True))
test_evaluator = [dict(type="CellMetric", max_dets=77)]
"""


@pytest.fixture
def run(run_tool) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs the tool and gives status, output and errors."""
    return partial(run_tool, "analysis_tools/report.py")


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """Make a work dir with config, log and results on two drawn images."""
    for name in "ab":
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        tifffile.imwrite(
            folder / "image.tif", np.full((*SHAPE, 3), 200, np.uint8), photometric="rgb"
        )
        cells = np.zeros(SHAPE, np.uint8)
        cells[4:16, 4:16], cells[24:36, 30:44] = 1, 2
        tifffile.imwrite(folder / "class1.tif", cells)
    folder = tmp_path / "work"
    log = folder / "20260101_000000" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    lines = [{"loss": 3 / i, "epoch": i, "iter": 4 * i} for i in (1, 2, 3)]
    log.write_text("\n".join(map(json.dumps, [*lines, {"coco/segm_mAP_50": 0.5, "step": 3}])))
    config = folder / "model.py"
    config.write_text(CONFIG.format(root=str(tmp_path / "data")))
    dataset = open_data(config)
    rows = [
        {"image_id": info["img_id"], "category_id": 1, "score": 0.9, "segmentation": cell["mask"]}
        for info in map(dataset.get_data_info, range(len(dataset)))
        for cell in info["instances"][: info["img_id"]]
    ]
    (folder / "results.segm.json").write_text(json.dumps(rows))
    return folder


def test_report_when_given_a_work_dir_then_writes_the_page(run, work_dir: Path) -> None:
    status, printed, _ = run(work_dir)
    assert status == 0
    assert str(work_dir / "report.html") in printed
    page = (work_dir / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert 'id="training"' in page
    assert "at most 77 per image and class" in page
    assert page.count("<img") == 2 * 2 + 1


def test_report_when_options_are_given_then_follows_them(run, work_dir: Path, tmp_path) -> None:
    results = (work_dir / "results.segm.json").rename(tmp_path / "elsewhere.json")
    out = tmp_path / "deep" / "page.html"
    status, _, _ = run(
        *(work_dir, "--results", results, "--out", out, "--score-thr", 0.95, "--iou-thr", 0.6),
        *("--max-images", 0, "--max-cells", 1, "--logs", work_dir),
        *("--cfg-options", "test_dataloader.dataset.include=['b']"),
    )
    assert status == 1  # image a's predictions are unknown to a data set of b alone
    status, _, _ = run(
        *(work_dir, "--results", results, "--out", out, "--score-thr", 0.95, "--iou-thr", 0.6),
        *("--max-images", 0, "--max-cells", 1),
    )
    assert status == 0
    page = out.read_text(encoding="utf-8")
    assert "score 0.95 or more" in page
    assert page.count("<img") == 1
    assert not (work_dir / "report.html").exists()


def test_report_when_label_files_are_named_then_followed(run, work_dir: Path, tmp_path) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    for name in "ab":
        data = (tmp_path / "data" / name / "class1.tif").read_bytes()
        (folder / f"mask-large-of-{name}.tif").write_bytes(data)
    options = (work_dir, "--results", folder, "--max-images", 0, "--max-cells", 0)
    status, _, errors = run(*options)
    assert (status, "Say with --files" in errors) == (1, True)
    status, _, errors = run(*options, "--files", "mask-{class}-of-{image}.tif")
    assert status == 0, errors
    assert "have no scores" in (work_dir / "report.html").read_text(encoding="utf-8")


def test_report_when_there_are_no_results_then_says_how_to_make_them(run, work_dir: Path) -> None:
    (work_dir / "results.segm.json").unlink()
    (work_dir / "best_coco_segm_mAP_50_epoch_3.pth").touch()
    (work_dir / "epoch_4.pth").touch()
    status, _, errors = run(work_dir)
    assert status == 1
    assert errors.count("error:") == 1
    assert (
        f"cellseg test {work_dir}/model.py {work_dir}/best_coco_segm_mAP_50_epoch_3.pth "
        f"--work-dir {work_dir} --out {work_dir}/results.json" in errors
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cut.json", '[{"image_id": 1, ', "may have been cut off"),
        ("empty.json", "", "is empty"),
        ("other.json", '[{"image_id": 99}]', "lacks"),
        ("dump.pkl", "x", "can run code"),
    ],
)
def test_report_when_results_are_bad_then_one_error_names_them(
    run, work_dir: Path, name, content, said
) -> None:
    (work_dir / name).write_text(content)
    status, _, errors = run(work_dir, "--results", work_dir / name)
    assert status == 1
    assert name in errors
    assert said in errors
    assert not (work_dir / "report.html").exists()


def test_report_when_the_folder_is_wrong_then_one_error_says_so(run, work_dir, tmp_path) -> None:
    for folder, said in ((tmp_path / "none", "There is no folder"), (tmp_path, "has no config")):
        status, _, errors = run(folder)
        assert status == 1
        assert said in errors
    (work_dir / "other.py").touch()
    status, _, errors = run(work_dir)
    assert "model.py, other.py" in errors
    assert run(work_dir, "--config", work_dir / "model.py")[0] == 0
    assert "below 1" in run(work_dir, "--iou-thr", 1.5)[2]
    assert (
        "no training log"
        in run(work_dir, "--config", work_dir / "model.py", "--logs", tmp_path / "data")[2]
    )
