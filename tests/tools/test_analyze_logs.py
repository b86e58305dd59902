"""The log tool, run as a person runs it."""

import json
from pathlib import Path

import pytest


@pytest.fixture
def run(run_tool):
    """Return a function that runs the tool and gives what it printed."""

    def call(*arguments: object, status: int = 0) -> str:
        return run_tool("analysis_tools/analyze_logs.py", *arguments).told(status)

    return call


@pytest.fixture
def work_dirs(tmp_path) -> list[Path]:
    """Make two work dirs, the first one resumed once and cut."""
    made = []
    for seed in range(2):
        for start, epochs in (("20260101_000000", (1, 2)), ("20260102_000000", (2, 3))):
            log = tmp_path / f"r18_seed{seed}" / start / "vis_data" / "scalars.json"
            log.parent.mkdir(parents=True)
            lines = []
            for epoch in epochs:
                train = {"loss": 3 / epoch, "time": 0.2, "epoch": epoch, "iter": 8 * epoch}
                lines += [train, {"coco/segm_mAP_50": epoch / 10, "step": epoch}]
            text = "\n".join(map(json.dumps, lines))
            log.write_text(text[:-9] if start.startswith("20260101") else text)
        made.append(tmp_path / f"r18_seed{seed}")
    return made


def test_plot_curve_when_runs_are_given_then_draws_into_the_first(run, work_dirs) -> None:
    printed = run("plot_curve", *work_dirs)
    assert str(work_dirs[0] / "curves.png") in printed
    assert (work_dirs[0] / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_plot_curve_when_all_options_are_given_then_draws(run, work_dirs, tmp_path) -> None:
    out = tmp_path / "deep" / "curves.svg"
    run(
        *("plot_curve", *work_dirs, "--keys", "loss", "--smooth", 0.5, "--axis", "epoch"),
        *("--group", "--title", "seeds", "--out", out),
    )
    assert "<svg" in out.read_text()
    run("plot_curve", *work_dirs, "--out", out.with_suffix(".pdf"))
    assert out.with_suffix(".pdf").read_bytes().startswith(b"%PDF")


def test_cal_train_time_when_runs_are_given_then_prints_a_table_for_each(run, work_dirs) -> None:
    printed = run("cal_train_time", *work_dirs, "--include-outliers")
    assert printed.count("s/iteration |") == 2
    assert "r18_seed1" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plot_curve", "{0}", "--keys", "mAP"], "No run logged mAP"),
        (["plot_curve", "{0}", "--out", "a.bmp"], "must end with one of"),
        (["plot_curve", "{0}", "--legend", "a", "b"], "2 names for 1 runs"),
        (["plot_curve", "absent"], "absent holds no training log"),
        (["cal_train_time", "absent"], "absent holds no training log"),
    ],
)
def test_analyze_logs_when_input_is_wrong_then_one_sentence_says_so(
    run, work_dirs, arguments, message
) -> None:
    assert message in run(*(argument.format(*work_dirs) for argument in arguments), status=1)
