"""Both sides of every benchmark run and agree; how fast they are is for the benchmark to say."""

import subprocess
import sys
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiled_prediction
from dense.measuring import Case, Measurement, _run_child, tiny_scene
from dense.plan import CURVES, GROUPS, TARGETS, Target, shrink
from dense.report import TimedSeries, compare_sides, pair, write_report
from dense.scenes import DrawnScene
from dense.stock import STOCK_TYPES, read_model_config
from dense.workloads import WORKLOADS
from frame import CONFIGS
from mmdet.registry import MODELS, TASK_UTILS
from mmengine.registry import init_default_scope
from proposal_recall import measure_coverage, tabulate
from tiled.agreement import compare_predictions
from timing import read_memory_gb

from cellseg.inference import Cells
from cellseg.inference.tiles import make_tile_grid
from cellseg.structures.rle import encode_crop

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> DrawnScene:
    """Return a tiny scene of two images."""
    return DrawnScene(cells=8, size_px=128, images=2, folder=tmp_path_factory.mktemp("drawn"))


@pytest.mark.parametrize("name", [name for name in WORKLOADS if not name.startswith("step")])
def test_work_when_run_by_both_sides_then_the_results_are_equal(name, scene):
    workload = WORKLOADS[name]
    stock, ours = (workload.prepare(scene, side)() for side in ("stock", "ours"))
    assert workload.agree(stock, ours)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in WORKLOADS if name.startswith("step")])
def test_step_when_run_by_both_sides_then_the_losses_are_alike(name, scene):
    workload = WORKLOADS[name]
    stock, ours = (workload.prepare(scene, side)() for side in ("stock", "ours"))
    assert workload.agree(stock, ours)


def test_agree_when_a_result_is_wrong_then_tells(scene):
    for name in ("annotations", "mask-targets", "detections-to-rle", "average-precision"):
        workload = WORKLOADS[name]
        stock = workload.prepare(scene, "stock")()
        other = workload.prepare(replace(scene, cells=7), "ours")()
        assert not workload.agree(stock, other)


def test_second_start_then_gives_the_first_ones_annotations(scene):
    workload = WORKLOADS["annotations"]
    stock, second = (workload.prepare(scene, side)() for side in ("stock", "ours-second"))
    assert workload.agree(stock, second)


def test_plan_names_only_workloads_that_exist_and_targets_that_are_measured():
    measured = {comparison for group in GROUPS.values() for comparison in group}
    assert {comparison.workload for comparison in measured} == set(WORKLOADS)
    assert {target.comparison for target in TARGETS} <= measured
    assert {comparison for curve in CURVES.values() for comparison in curve} <= measured
    assert all(target.side in target.comparison.sides for target in TARGETS)
    assert all(shrink(comparison).cells <= 30 for comparison in measured)


class _Sender:
    """Take the place of a pipe."""

    def __init__(self):
        self.sent = []

    def send(self, outcome):
        self.sent.append(outcome)

    def close(self):
        pass


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), "fails under 3 GB"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "fails under 3 GB"),
        (RuntimeError("shapes differ"), "RuntimeError: shapes differ"),
    ],
)
def test_child_when_the_work_fails_then_only_want_of_memory_is_a_result(
    monkeypatch, capfd, scene, error, expected
):
    def fail(*_):
        raise error

    monkeypatch.setattr("dense.measuring._limit_memory", lambda limit_gb: None)
    monkeypatch.setattr("dense.measuring._silence", lambda: None)
    monkeypatch.setattr("dense.measuring._measure_here", fail)
    sender = _Sender()
    _run_child(Case("pipeline", "stock", scene, 3.0), sender)
    (outcome,) = sender.sent
    assert expected in (outcome.failure if isinstance(outcome, Measurement) else outcome)
    assert isinstance(outcome, Measurement) == expected.startswith("fails")


def test_read_memory_then_gives_a_plausible_size():
    assert 0.01 < read_memory_gb("VmRSS") <= read_memory_gb("VmHWM") < 1000
    with pytest.raises(RuntimeError, match="VmNone"):
        read_memory_gb("VmNone")


def test_tiny_scene_keeps_the_number_of_images(scene):
    assert tiny_scene(scene).images == scene.images


@pytest.mark.parametrize(
    ("measure", "limit", "stock", "ours", "is_met"),
    [
        ("faster", 20, (10.0, 12.0), (0.5, 0.5), True),
        ("faster", 20, (9.0, 9.0), (0.5, 0.5), False),
        ("time share", 0.4, (10.0,), (4.0,), True),
        ("memory share", 1 / 20, (100.0,), (6.0,), False),
        ("added MB", 500, (9000.0,), (499.0,), True),
        ("growth", 1.5, (1.0,), (1.6,), False),
    ],
)
def test_compare_sides_then_medians_are_compared_with_the_target(
    measure, limit, stock, ours, is_met
):
    target = Target("row", GROUPS["pipeline"][0], measure, limit)
    assert compare_sides(target, TimedSeries(stock), TimedSeries(ours))[2] is is_met


def test_compare_sides_when_stock_cannot_run_then_ours_is_met_and_when_ours_cannot_then_not():
    target = Target("row", GROUPS["pipeline"][0], "faster", 20)
    failed = TimedSeries((), "fails under 20 GB")
    assert compare_sides(target, failed, TimedSeries((1.0,)))[2]
    assert not compare_sides(target, TimedSeries((1.0,)), failed)[2]


def test_pair_when_one_side_has_fewer_then_pairs_what_there_is():
    assert pair((4.0, 6.0, 8.0), (2.0, 2.0)) == (2.0, 3.0)


def test_report_when_a_row_was_not_measured_then_leaves_it_out(tmp_path):
    comparison = GROUPS["mask-targets"][3]
    raw = {
        comparison.key(side): {
            "date": "2020-01-01",
            "machine": "a machine",
            "measurements": [asdict(Measurement(seconds, seconds, seconds))],
        }
        for side, seconds in (("stock", 2.0), ("ours", 0.1))
    }
    table = write_report(raw, tmp_path / "benchmarks.md")
    assert table.count("\n") == 3
    assert "20 [20 - 20]x | at least 10x | yes" in table
    assert "a machine" in (tmp_path / "benchmarks.md").read_text()


def list_types(part: Any) -> set[str]:
    """List the types named anywhere in a config."""
    if isinstance(part, dict):
        own = {part["type"]} if isinstance(part.get("type"), str) else set()
        return own.union(*map(list_types, part.values()))
    return set().union(*map(list_types, part)) if isinstance(part, list | tuple) else set()


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.py")))
def test_stock_config_names_no_part_of_ours(name):
    ours, stock = (list_types(read_model_config(name, side, 128)) for side in ("ours", "stock"))
    parts = {kind: MODELS.get(kind) or TASK_UTILS.get(kind) for kind in ours | stock}
    own = {kind for kind, part in parts.items() if part and part.__module__.startswith("cellseg.")}
    assert own
    own -= {"EfficientNetLite", "ConvNeXt"}  # networks; MMDetection has none that they stand for
    assert own <= set(STOCK_TYPES)
    assert stock == {STOCK_TYPES.get(kind, kind) for kind in ours}


def test_coverage_when_more_proposals_are_kept_then_recall_does_not_fall():
    init_default_scope("mmdet")
    config = read_model_config("mask-rcnn_r18_small-anchor_demo", "ours", 128)
    model = MODELS.build(config).eval()
    few, many = measure_coverage(model, cells=8, size_px=128, images=1, limits=[5, 500])
    assert few.proposals <= 5 < many.proposals
    assert all(a <= b for a, b in zip(few.recalls, many.recalls, strict=True))
    assert many.recalls[0] >= many.recalls[1]
    assert tabulate([few, many]).count("|") == 20


def cells_of(*boxes: tuple[int, int, int, int]) -> Cells:
    """Make cells that fill boxes x1, y1, x2, y2."""
    masks = [np.ones((y2 - y1, x2 - x1), dtype=bool) for x1, y1, x2, y2 in boxes]
    rles = [encode_crop(m, b[0], b[1], 200, 200) for m, b in zip(masks, boxes, strict=True)]
    return Cells(boxes, [0.9] * len(boxes), [0] * len(boxes), rles, 200, 200, ("a",))


CELL, SHIFTED, BESIDE = (80, 30, 100, 50), (81, 30, 101, 50), (90, 30, 110, 50)


@pytest.mark.parametrize(
    ("whole", "tiled", "origins", "twice"),
    [
        ([CELL], [CELL, SHIFTED], [0, 1], 1),
        ([CELL], [CELL, SHIFTED], [0, 0], 1),
        ([CELL, SHIFTED], [CELL, SHIFTED], [0, 1], 0),  # the network's own double
        ([CELL, (91, 30, 111, 50)], [SHIFTED, BESIDE], [0, 1], 0),  # two cells that overlap
        ([CELL], [CELL, (88, 30, 102, 50)], [0, 1], 1),
        ([CELL], [CELL, (120, 30, 140, 50)], [0, 1], 0),
    ],
)
def test_compare_predictions_when_tiles_find_a_cell_again_then_it_counts_as_found_twice(
    whole, tiled, origins, twice
):
    tiles = make_tile_grid(200, 200, 120, 40)
    found = compare_predictions(cells_of(*whole), cells_of(*tiled), tiles, np.array(origins))
    assert found.twice == twice
    assert found.holds == (twice == 0)


def parse_tiled_prediction(monkeypatch, *flags: str) -> Namespace:
    monkeypatch.setattr(sys, "argv", ["tiled_prediction.py", *flags])
    return tiled_prediction.parse_args()


def test_tiled_prediction_when_the_model_is_not_the_demo_then_keeps_its_limits(monkeypatch):
    demo = parse_tiled_prediction(monkeypatch)
    assert demo.cfg_options == {"model.test_cfg.rpn.max_per_img": 500}
    other = parse_tiled_prediction(monkeypatch, "--config", "nuclei-he")
    assert other.cfg_options == {}
    setting = tiled_prediction.describe(other, 100, 5)["setting"]
    assert setting == "`nuclei-he`, tiles of 512 px with 64 px overlap, scale 1"


def test_tiled_prediction_when_a_config_has_no_weights_then_ends_with_a_sentence(
    monkeypatch, capsys
):
    with pytest.raises(SystemExit):
        parse_tiled_prediction(monkeypatch, "--config", "other.py")
    assert "needs the weights that belong to it" in capsys.readouterr().err


def run_command(*command: str | Path) -> str:
    """Run a benchmark; return what it printed on either stream."""
    return subprocess.run(
        [sys.executable, BENCHMARKS / command[0], *command[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    ).stdout


@pytest.mark.slow
def test_dense_images_when_run_on_small_scenes_then_writes_its_report(tmp_path):
    rows = ["--rows", "annotations", "mask-targets"]
    folders = ["--drawn", tmp_path / "drawn", "--out", tmp_path / "report"]
    assert "|---|" in run_command("dense_images.py", "--quick", *rows, *folders)
    assert (tmp_path / "report" / "images" / "benchmarks.png").stat().st_size > 1000
    assert (tmp_path / "report" / "benchmarks.json").exists()
