"""The ablation's rows: what they change, that done ones are skipped, and what the table says."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from benchmarks.recipes.plan import BASELINE, CONFIG, TEST_ROWS, TRAIN_ROWS
from benchmarks.recipes.report import BY_HAND, Outcome, compare, describe, write_report
from benchmarks.recipes.runs import (
    SCORES,
    Place,
    make_config,
    prepare,
    prepare_test,
    read_starts,
    score,
    train,
)
from cellseg.datasets.synthetic import SamplePlan, draw_sample_set
from cellseg.errors import CellsegError

ROOT = Path(__file__).resolve().parents[2]
ROWS = {row.name: row for row in TRAIN_ROWS}


class StandIn:
    """Takes the place of the tools: writes what they would write, and counts."""

    def __init__(self, fails: bool = False) -> None:
        self.commands: list[list[str]] = []
        self.fails = fails

    def __call__(self, command: list[str], used: Path, log: Path) -> None:
        self.commands.append(command)
        if self.fails:
            raise CellsegError("cut off")
        folder = Path(command[command.index("--work-dir") + 1])
        if "train.py" in command[1]:
            (folder / Path(command[2]).name).write_text("a dump, as MMEngine writes it")
            (folder / "iter_8.pth").write_bytes(b"weights")
        else:
            (folder / "20260101").mkdir()
            scores = dict.fromkeys(SCORES, 0.25)
            (folder / "20260101" / "20260101.json").write_text(json.dumps(scores))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "8-iterations", tmp_path / "data", 8)


@pytest.mark.parametrize("row", TRAIN_ROWS, ids=lambda row: row.name)
def test_row_when_made_a_config_then_only_its_own_choice_differs(row, place) -> None:
    cfg, baseline = make_config(row, place), make_config(ROWS[BASELINE], place)
    assert cfg.train_cfg.max_iters == 8
    assert cfg.default_hooks.checkpoint.save_best is None
    changed = {key for key in cfg if key != "filename" and cfg.get(key) != baseline.get(key)}
    expected = {BASELINE: set(), "no-stain-jitter": {"train_dataloader"}}
    assert changed == expected.get(row.name, {"model"})


def test_row_when_without_stain_jitter_then_the_rest_of_the_pipeline_stays(place) -> None:
    def types(name: str) -> list[str]:
        pipeline = make_config(ROWS[name], place).train_dataloader.dataset.pipeline
        return [step["type"] for step in pipeline]

    assert "StainJitter" in types(BASELINE)
    assert types("no-stain-jitter") == [t for t in types(BASELINE) if t != "StainJitter"]


def test_rows_always_have_the_seeds_that_were_promised() -> None:
    assert {row.name: len(row.seeds) for row in TRAIN_ROWS} == {
        "small-anchor": 3,
        "default-anchor": 3,
        "r50": 2,
        "no-stain-jitter": 2,
    }
    assert {row.of for row in TEST_ROWS} == {BASELINE}


def test_run_when_done_then_nothing_runs_again(place) -> None:
    tools = StandIn()
    for _ in range(2):
        prepare(ROWS[BASELINE], 1, place)
        train(ROWS[BASELINE], 1, place, tools)
        for row in (ROWS[BASELINE], *TEST_ROWS):
            prepare_test(row, BASELINE, 1, place)
            assert score(row, BASELINE, 1, place, tools)["coco/segm_mAP_50"] == 0.25
    names = [Path(command[1]).name for command in tools.commands]
    assert names == ["train.py", "test.py", *["test.py"] * len(TEST_ROWS)]
    assert "randomness.seed=1" in tools.commands[0]
    assert "--tta" in tools.commands[-1]
    tested = Config.fromfile(place.run(BASELINE, 1) / "test_100-detections" / "config.py")
    assert tested.model.test_cfg.rcnn.max_per_img == 100


def test_run_when_cut_off_then_it_resumes_and_all_its_time_counts(place, monkeypatch) -> None:
    ticks = iter((0, 60, 100, 190))
    monkeypatch.setattr("benchmarks.recipes.runs.time.monotonic", lambda: next(ticks))
    with pytest.raises(CellsegError, match="cut off"):
        train(ROWS[BASELINE], 0, place, StandIn(fails=True))
    tools = StandIn()
    assert train(ROWS[BASELINE], 0, place, tools).exists()
    assert "--resume" in tools.commands[0]
    assert [start["seconds"] for start in read_starts(place.run(BASELINE, 0))] == [60, 90]


def test_run_when_the_row_has_changed_since_then_error(place) -> None:
    prepare(ROWS[BASELINE], 0, place)
    place.config_file(BASELINE, 0).write_text("model = None\n")
    with pytest.raises(CellsegError, match="is not what the row small-anchor is now"):
        prepare(ROWS[BASELINE], 0, place)


def test_run_when_only_a_comment_of_its_config_has_changed_then_it_still_stands(
    tmp_path: Path,
) -> None:
    copies = tmp_path / "configs"
    shutil.copytree(ROOT / "configs", copies)
    source = copies / "cell" / Path(CONFIG).name
    place = Place(tmp_path / "runs", tmp_path / "data", 8, source)
    prepare(ROWS[BASELINE], 0, place)
    for path in (source, *(copies / "_base_").glob("*.py")):
        path.write_text(f"{path.read_text()}\n# a remark\n")
    prepare(ROWS[BASELINE], 0, place)
    source.write_text(f"{source.read_text()}\noptim_wrapper = dict(clip_grad=None)\n")
    with pytest.raises(CellsegError, match="is not what the row small-anchor is now"):
        prepare(ROWS[BASELINE], 0, place)


def make_outcome(name: str, *values: float) -> Outcome:
    scores = {seed: dict.fromkeys(SCORES, value) for seed, value in enumerate(values)}
    starts = [{"seconds": 100, "threads": 1}, {"seconds": 80, "threads": 2}]
    return Outcome(name, f"what {name} shows", scores, dict.fromkeys(scores, starts))


def test_report_when_a_row_contradicts_the_baseline_then_it_stands_as_it_is(tmp_path) -> None:
    rows = [make_outcome(BASELINE, 0.5, 0.6, 0.7), make_outcome("default-anchor", 0.6, 0.8)]
    place = Place(tmp_path, tmp_path, 8)
    text = write_report(tmp_path / "docs" / "a.md", rows, place)
    assert "| 3 on 1 or 2 |" in text
    assert "| 0.600 ± 0.100 |" in text
    assert "+0.150 (better in 2 of 2)" in text
    path = tmp_path / "docs" / "a.md"
    assert path.read_text() == text
    path.write_text(f"{text}\nWhy this is so.\n")
    again = write_report(path, rows[:1], place)
    assert again.endswith(f"{BY_HAND}\nWhy this is so.\n")
    assert "default-anchor" not in path.read_text()


def test_summary_when_seeds_are_few_then_no_spread_is_made_up() -> None:
    assert (describe([]), describe([0.5])) == ("-", "0.500")
    baseline = make_outcome(BASELINE, 0.5)
    assert compare(baseline, baseline) == ""
    assert compare(make_outcome("r50"), baseline) == "-"


def test_seeds_when_no_row_has_them_then_error(tmp_path) -> None:
    words = ["--rows", BASELINE, "--seeds", "7", "--work-dir", str(tmp_path / "w")]
    command = [sys.executable, "benchmarks/ablation.py", *words, "--out", str(tmp_path / "d")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "No row of small-anchor has a seed of [7]." in done.stderr
    assert not (tmp_path / "d").exists()


@pytest.mark.slow
def test_ablation_when_run_on_few_images_then_the_table_and_records_are_written(tmp_path) -> None:
    plan = SamplePlan(num_train=4, num_val=1, size_px=96, num_cells=8)  # one batch
    draw_sample_set(tmp_path / "data", plan)
    for number in (2, 3, 4):  # the recipe knows one class
        for path in (tmp_path / "data").glob(f"*/*/class{number}.tif"):
            path.unlink()
    words = ["--rows", BASELINE, "flip-tta", "--seeds", "0", "--iterations", "2"]
    words += [
        "--data-root",
        tmp_path / "data",
        "--work-dir",
        tmp_path / "w",
        "--out",
        tmp_path / "d",
    ]
    command = [sys.executable, "benchmarks/ablation.py", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    text = (tmp_path / "d" / "ablation.md").read_text()
    assert "| flip-tta |" in text
    assert (tmp_path / "d" / "images" / "ablation.png").is_file()
    kept = (tmp_path / "d" / "ablation" / "runs.json").read_text()
    assert str(tmp_path) not in kept  # a record says nothing about the machine
    trained, tested = json.loads(kept)
    assert (trained["row"], trained["seed"], trained["iterations"]) == (BASELINE, 0, 2)
    assert set(trained["scores"]) == set(SCORES)
    assert all(0 <= value <= 1 for value in trained["val_segm_AP50"].values())
    assert trained["val_segm_AP50"]
    assert tested["changes"]["flags"] == ["--tta"]
    assert "loss" not in tested
    assert (tmp_path / "d" / "images" / "ablation_curves.png").is_file()
