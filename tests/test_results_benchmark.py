"""The rows of the results: what they train and test, that done ones are skipped, and the tables."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import results
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from recipes.evaluating import AP50, check_training, describe_images, find_training
from recipes.plan import GROUPS, LITE, LITE0, ROWS, TestRow, TrainRow, source_of
from recipes.report import BY_HAND, Outcome, compare, describe, describe_curves, write_report
from recipes.runs import (
    Training,
    make_config,
    name_run,
    prepare,
    run_test,
    train,
)

from cellseg.analysis.training_logs import TrainingRun
from cellseg.datasets.synthetic import SamplePlan, draw_sample_set
from cellseg.engine.class_counts import check_class_counts
from cellseg.errors import CellsegError

ROOT = Path(__file__).resolve().parents[1]
TRAIN_ROWS = [row for row in ROWS.values() if isinstance(row, TrainRow)]
DSB = ROWS["small-anchor"]


class StandIn:
    """Takes the place of the tools: writes what they would write, and counts."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], used: Path, log: Path) -> None:
        self.commands.append(command)
        folder = Path(command[command.index("--work-dir") + 1])
        if "train.py" in command[1]:
            folder.mkdir()
            (folder / "iter_8.pth").write_bytes(b"weights")


def plan(row: TrainRow, folder: Path, seed: int = 0, fold: int = 0) -> Training:
    return Training(row, seed, fold, 8, folder)


@pytest.mark.parametrize("row", TRAIN_ROWS, ids=lambda row: row.name)
def test_row_when_made_a_config_then_it_evaluates_no_image_that_trains(row, tmp_path) -> None:
    cfg = make_config(plan(row, tmp_path, fold=row.folds[-1]))
    assert (cfg.train_cfg.max_iters, cfg.default_hooks.checkpoint.save_best) == (8, None)
    check_class_counts(cfg)
    evaluating = cfg.test_dataloader.dataset
    trained = describe_images(cfg)[0]
    if row.evaluated == "test":
        assert (trained[2], evaluating.num_folds, cfg.val_dataloader) == (0, 0, None)
        assert evaluating.data_root.endswith("test")
    if row.evaluated == "fold":
        assert (
            trained[2:4]
            == [evaluating.num_folds, evaluating.fold]
            == [row.num_folds, row.folds[-1]]
        )
        assert (trained[1], evaluating.split) == (Path(evaluating.data_root).name, "val")


@pytest.mark.parametrize("name", ["lite0_cascade", "depth-50", "lite0_random"])
def test_row_when_it_changes_the_network_then_it_builds(name, tmp_path) -> None:
    model = make_config(plan(ROWS[name], tmp_path)).model
    model.backbone.init_cfg = None  # weights of the network's parts are not needed
    init_default_scope("mmdet")
    built = MODELS.build(model)
    assert type(built).__name__ == ("CascadeRCNN" if "cascade" in name else "MaskRCNN")


def test_rows_of_a_group_always_train_equally_long_with_two_seeds_or_more() -> None:
    for group in GROUPS:
        sources = [source_of(row) for row in group.rows]
        assert len({row.steps for row in sources}) == 1
        assert all(len(row.seeds) >= 2 for row in sources)


def test_row_when_a_part_is_left_out_then_the_rest_stays(tmp_path) -> None:
    def types(name: str) -> tuple[list[str], list[str]]:
        cfg = make_config(plan(ROWS[name], tmp_path))
        pipeline = cfg.train_dataloader.dataset.dataset.pipeline
        return [step["type"] for step in pipeline], [hook["type"] for hook in cfg.custom_hooks]

    whole = types(LITE.name)
    for name, part in [("jitter", "StainJitter"), ("average", "EMAHook")]:
        assert types(f"lite0_no-{name}") == tuple([t for t in own if t != part] for own in whole)
        assert any(part in own for own in whole)


def test_row_when_of_few_images_then_they_depend_on_the_seed_only(tmp_path) -> None:
    few, more = (ROWS[f"lite0_{number}-images"] for number in (3, 6))
    names = [
        make_config(plan(row, tmp_path, seed)).train_dataloader.dataset.dataset.include
        for row, seed in [(few, 0), (few, 0), (few, 1), (more, 0)]
    ]
    assert names[0] == names[1] != names[2]
    assert len(names[0]) == 3
    assert set(names[0]) < set(names[3])


def test_run_when_trained_then_it_is_not_trained_again(tmp_path) -> None:
    tools, training = StandIn(), plan(DSB, tmp_path, seed=1)
    for _ in range(2):
        prepare(training)
        checkpoint = train(training, tools)
    flips, limited = ROWS["flip-tta"], ROWS["100-detections"]
    for row in (DSB, flips, limited):
        run_test(row, training, checkpoint, tools)
    names = [Path(command[1]).name for command in tools.commands]
    assert names == ["train.py", "test.py", "test.py", "test.py"]
    assert "randomness.seed=1" in tools.commands[0]
    assert "--resume" in tools.commands[0]
    assert "--tta" in tools.commands[2]
    tested = Config.fromfile(training.test_folder(limited) / "config.py")
    assert tested.model.test_cfg.rcnn.max_per_img == 100


def test_run_when_the_row_has_changed_since_then_error(tmp_path) -> None:
    training = plan(DSB, tmp_path)
    prepare(training).write_text("model = None\n")
    with pytest.raises(CellsegError, match="is not what the row small-anchor is now"):
        prepare(training)


def test_jobs_when_runs_are_done_then_only_the_others_are_planned(tmp_path) -> None:
    args = Namespace(only=["test-time"], seeds=None, steps=None, work_dir=tmp_path)
    jobs = results.plan_jobs(args, {})
    assert [(job.training.seed, len(job.rows)) for job in jobs] == [(0, 5), (1, 5)]
    done = {results.name_run(row, 0, 0): {"steps": 1000} for row in jobs[0].rows}
    assert [job.training.seed for job in results.plan_jobs(args, done)] == [1]
    done.popitem()
    assert len(results.plan_jobs(args, done)[0].rows) == 1
    args.steps = 2
    assert len(results.plan_jobs(args, done)[0].rows) == 5


def test_jobs_when_a_row_stands_on_test_images_then_other_steps_do_not_repeat_it(tmp_path) -> None:
    args = Namespace(only=[LITE0], seeds=[0], steps=7, work_dir=tmp_path)
    (job,) = results.plan_jobs(args, {})
    done = {results.name_run(job.rows[0], 0, 0): {"steps": 1080}}
    assert results.plan_jobs(args, done) == []


def test_evaluating_when_trained_on_other_images_then_error(tmp_path) -> None:
    recipe, other = (plan(row, tmp_path) for row in (ROWS[LITE0], LITE))
    for training in (recipe, other):
        prepare(training)
    check_training(recipe.config_file, recipe)
    with pytest.raises(CellsegError, match="trained on other images than the row mask-rcnn_lite0"):
        check_training(other.config_file, recipe)
    from_model = plan(ROWS[f"{LITE0}_nuclei-he"], tmp_path)
    prepare(from_model)
    with pytest.raises(CellsegError, match="started from no model"):
        check_training(recipe.config_file, from_model)
    with pytest.raises(CellsegError, match="must hold a checkpoint"):
        find_training(tmp_path)


def make_runs(row: TrainRow | TestRow, *values: float) -> dict[str, dict]:
    return {
        name_run(row, seed, 0): {
            **{"row": row.name, "seed": seed, "fold": 0, "steps": 400, "hours": 1.0},
            **{"date": "2026-01-01", "machine": "a machine", "scores": {AP50: value}},
        }
        for seed, value in enumerate(values)
    }


def test_report_when_rows_differ_then_the_spread_says_whether_it_counts(tmp_path) -> None:
    raw = {
        **make_runs(DSB, 0.5, 0.6, 0.7),
        **make_runs(ROWS["default-anchor"], 0.6, 0.8),
        **make_runs(ROWS["r50"], 0.9, 1.0),
    }
    path = tmp_path / "ablation.md"
    text = write_report("ablation", path, raw)
    assert "| 0.600 ± 0.100 |" in text
    assert "+0.150 ± 0.158 (better in 2 of 2, within the spread)" in text
    assert "+0.400 ± 0.100 (better in 2 of 2)" in text
    assert "| no-stain-jitter | without stain jitter | not run |" in text
    assert (tmp_path / "images" / "ablation.png").is_file()
    path.write_text(f"{text}\nWhy this is so.\n")
    assert write_report("ablation", path, raw).endswith(f"{BY_HAND}\nWhy this is so.\n")


def test_report_when_nothing_was_run_then_every_row_is_named_and_published_ones_stand(
    tmp_path,
) -> None:
    text = write_report("results", tmp_path / "results.md", {})
    groups = [group for group in GROUPS if group.page == "results"]
    beside_published = [row for group in groups if group.published for row in group.rows]
    assert text.count("| not run |") == len(beside_published)
    later = [row for group in groups if not group.published for row in group.rows]
    listed = text.partition("## Not run\n\n")[2].split("\n\n")[0].splitlines()
    names = [name for line in listed for name in line.partition("): ")[2].split(", ")]
    assert names == [row.name for row in later]
    assert "| HoVer-Net | its paper; the same images | published | | | 0.571 | 0.547 |" in text
    assert not (tmp_path / "images").exists()


def test_report_when_only_the_compared_row_was_run_then_one_table_has_it(tmp_path) -> None:
    text = write_report("results", tmp_path / "results.md", make_runs(ROWS["lite0"], 0.5, 0.6))
    assert text.count("| lite0 |") == 1
    (later,) = (line for line in text.splitlines() if "(`--only parts`)" in line)
    assert later.endswith(" (to compare with lite0, which was run)")
    assert "): lite0," not in later


def test_curves_when_there_is_one_run_without_scores_then_the_text_says_so() -> None:
    loss = [{"iter": 1, "loss": 2.0}]
    one, two = (TrainingRun(f"r18_seed{k}", loss, [{"iter": 1}] * k, None) for k in (0, 1))
    assert describe_curves([one]) == "Loss while training r18, seed 0, one run"
    assert describe_curves([one, two]) == "Loss and AP50 while training, mean and spread over seeds"


def test_summary_when_seeds_are_few_then_no_spread_is_made_up() -> None:
    assert (describe([]), describe([0.5])) == ("-", "0.500")
    baseline = Outcome(DSB, tuple(make_runs(DSB, 0.5).values()))
    assert compare(baseline, baseline) == ""
    other = Outcome(ROWS["r50"], tuple(make_runs(ROWS["r50"], 0.6, 0.7).values()))
    assert compare(other, baseline) == "+0.100 (better in 1 of 1; one seed, so no spread)"
    assert compare(Outcome(ROWS["r50"], ()), baseline) == "-"


def run_command(folder: Path, *words: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "benchmarks" / "results.py", *words]
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def test_results_when_there_is_no_such_row_then_error(tmp_path) -> None:
    done = run_command(tmp_path, "--only", "r200")
    assert done.returncode == 1
    assert "There is no row r200" in done.stderr


@pytest.mark.slow
def test_results_when_run_on_few_images_then_tables_and_records_are_written(tmp_path) -> None:
    sample = SamplePlan(num_train=4, num_val=1, size_px=96, num_cells=8)  # one batch
    draw_sample_set(tmp_path / "data" / "consep", sample)
    (tmp_path / "data" / "consep" / "val").rename(tmp_path / "data" / "consep" / "test")
    draw_sample_set(tmp_path / "data" / "dsb2018", sample)
    for number in (2, 3, 4):  # that recipe knows one class
        for path in (tmp_path / "data" / "dsb2018").glob(f"*/*/class{number}.tif"):
            path.unlink()
    recipe = "mask-rcnn_r18_small-anchor_consep"
    words = ["--work-dir", tmp_path / "w", "--out", tmp_path / "d"]
    only = ["--only", recipe, DSB.name, "flip-tta", "--seeds", "0", "--steps", "2"]
    done = run_command(tmp_path, *only, *words)
    assert done.returncode == 0, done.stderr[-3000:]
    text = (tmp_path / "d" / "results.json").read_text()
    assert str(tmp_path) not in text  # a record says nothing about the machine's folders
    run = json.loads(text)[f"{recipe} seed 0"]
    assert (run["row"], run["seed"], run["steps"], run["num_images"]) == (recipe, 0, 2, 1)
    assert {AP50, "at_0.5/PQ", "at_0.3/AJI", "at_0.5/mPQ"} <= set(run["scores"])
    assert len(run["confusion"]) == 5
    assert "| 2 | - |" in (tmp_path / "d" / "results.md").read_text()
    assert (tmp_path / "d" / "images" / "results_confusion.png").is_file()
    trained, tested = json.loads((tmp_path / "d" / "ablation.json").read_text()).values()
    assert trained["val_segm_AP50"]
    assert "loss" not in tested
    folder = tmp_path / "w" / f"{recipe}_seed0_fold0_2-steps"
    again = run_command(tmp_path, "--evaluate", recipe, folder, *words)
    assert "is evaluated already" in again.stderr
    words[-1] = tmp_path / "other"
    again = run_command(tmp_path, "--evaluate", recipe, folder, *words)
    assert again.returncode == 0, again.stderr[-3000:]
    evaluated = json.loads((tmp_path / "other" / "results.json").read_text())[f"{recipe} seed 0"]
    assert evaluated["scores"] == run["scores"]
