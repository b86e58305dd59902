"""A run killed at any moment resumes from its last whole checkpoint to the same end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.fileio import FileClient, get_file_backend

from cellseg.engine import AtomicCheckpointHook, AtomicLocalBackend, load_checkpoint_file
from tests.engine.toy_training import (
    EPOCHS,
    ToyMetric,
    build_runner,
    list_checkpoints,
    read_weights,
)

ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).with_name("toy_training.py")
BEST = "best_coco_segm_mAP_50_epoch_{}.pth"

# Epoch 2 is a new best, so that it writes: epoch_2, last_checkpoint, the best, epoch_2 once more
# with the best in it, last_checkpoint; epoch 3 is none and writes epoch_3 and last_checkpoint.
MOMENTS = [0.0, 0.5, 1.0, "renamed"]
WRITES = [
    ("epoch_1.pth", 1),
    (r"epoch_2\.pth", 1),
    ("best_.*epoch_2.pth", 1),
    (r"epoch_2\.pth", 2),
    ("last_checkpoint", 4),
    ("epoch_3.pth", 1),
    ("last_checkpoint", 5),
]
KILLS = [(name, count, moment) for name, count in WRITES for moment in MOMENTS]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple | None, dict[str, Any]]:
    """Play every kill once, all forked from one process; the key None is the run left alone."""
    folder = tmp_path_factory.mktemp("kills")
    kills: list[tuple | None] = [None, *KILLS]
    scenarios = [{"work_dir": str(folder / str(i)), "kill": kill} for i, kill in enumerate(kills)]
    subprocess.run(
        [sys.executable, str(DRIVER), str(folder / "reports.json")],
        input=json.dumps(scenarios),
        text=True,
        check=True,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    return dict(zip(kills, json.loads((folder / "reports.json").read_text()), strict=True))


def last_whole_epoch(kill: tuple) -> int:
    """Return the epoch of the newest checkpoint that is whole after a kill."""
    name, count, moment = kill
    if name == "last_checkpoint":
        return 2 if count == 4 else 3
    is_renamed = moment == "renamed"
    return {"epoch_1.pth": 0, r"epoch_2\.pth": 1 if count == 1 else 2, "epoch_3.pth": 2}.get(
        name, 2
    ) + (is_renamed and count == 1 and not name.startswith("best"))


@pytest.mark.slow
@pytest.mark.parametrize("kill", KILLS, ids=str)
def test_resume_when_killed_in_a_write_then_same_end_as_without(
    kill: tuple, played: dict[tuple | None, dict[str, Any]]
) -> None:
    report, alone = played[kill], played[None]
    assert report["signal"] == signal.SIGKILL
    assert report["resumed"] == 0
    expected = range(last_whole_epoch(kill) + 1, EPOCHS + 1)
    assert report["epochs_after"].split() == [str(epoch) for epoch in expected]
    assert report["files"] == alone["files"] == [BEST.format(4), "epoch_3.pth", "epoch_4.pth"]
    assert report["last"] == "epoch_4.pth"
    assert report["weights"] == alone["weights"]


@pytest.mark.slow
@pytest.mark.parametrize("kill", [kill for kill in KILLS if kill[2] == 0.5], ids=str)
def test_files_when_killed_half_way_then_the_old_ones_are_still_there(
    kill: tuple, played: dict[tuple | None, dict[str, Any]]
) -> None:
    left = played[kill]["left"]
    if kill[0].startswith("best"):
        assert BEST.format(1) in left
    if kill[0] == "epoch_3.pth":
        assert {"epoch_1.pth", "epoch_2.pth"} <= set(left)
    if kill[0] != "last_checkpoint":
        assert sum(name.endswith(".part") for name in left) == 1


def test_backends_when_local_then_writes_are_atomic(tmp_path: Path) -> None:
    assert type(get_file_backend(str(tmp_path))) is AtomicLocalBackend
    assert type(get_file_backend(backend_args={"backend": "local"})) is AtomicLocalBackend
    assert type(FileClient(backend="disk").client) is AtomicLocalBackend


def test_backend_when_write_fails_then_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    backend = AtomicLocalBackend()
    backend.put(b"old", path)

    def full(self: Path, target: Path) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        backend.put_text("new", path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


def test_hook_when_saving_then_new_file_is_whole_before_the_old_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    rename, unlink = Path.replace, Path.unlink
    monkeypatch.setattr(
        Path, "replace", lambda self, to: steps.append(f"+{Path(to).name}") or rename(self, to)
    )
    monkeypatch.setattr(
        Path,
        "unlink",
        lambda self, **kwargs: steps.append(f"-{self.name}") or unlink(self, **kwargs),
    )
    build_runner(tmp_path, epochs=3).train()
    steps = [step for step in steps if step[1:].startswith(("epoch", "best", "last"))]
    assert steps[5:] == [
        "+epoch_2.pth",
        "+last_checkpoint",
        f"+{BEST.format(2)}",
        "+epoch_2.pth",
        "+last_checkpoint",
        f"-{BEST.format(1)}",
        "+epoch_3.pth",
        "+last_checkpoint",
        "-epoch_1.pth",
    ]


def test_hook_when_fresh_start_then_files_of_an_earlier_run_stay(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(1)}, tmp_path / "epoch_9.pth")
    torch.save({"w": torch.ones(1)}, tmp_path / BEST.format(9))
    build_runner(tmp_path, epochs=1).train()
    assert list_checkpoints(tmp_path) == sorted(
        [BEST.format(1), BEST.format(9), "epoch_1.pth", "epoch_9.pth"]
    )


def test_hook_when_resumed_from_an_earlier_epoch_then_later_files_stay(tmp_path: Path) -> None:
    build_runner(tmp_path, checkpoint=dict(max_keep_ckpts=-1)).train()
    build_runner(tmp_path, resume=str(tmp_path / "epoch_2.pth"), epochs=2).train()
    assert list_checkpoints(tmp_path) == [BEST.format(4), *(f"epoch_{i}.pth" for i in range(1, 5))]


def test_hook_when_work_dir_was_moved_then_best_is_found_and_replaced(tmp_path: Path) -> None:
    build_runner(tmp_path / "old", epochs=2).train()
    (tmp_path / "old").rename(tmp_path / "new")
    runner = build_runner(tmp_path / "new", resume=True)
    runner.train()
    assert list_checkpoints(tmp_path / "new") == [BEST.format(4), "epoch_3.pth", "epoch_4.pth"]
    assert runner.message_hub.get_info("best_ckpt") == str(tmp_path / "new" / BEST.format(4))
    assert not (tmp_path / "old").exists()


def test_hook_when_old_best_beats_new_scores_then_it_stays(tmp_path: Path) -> None:
    build_runner(tmp_path, epochs=2).train()
    build_runner(tmp_path, resume=True, scores={3: 0.2, 4: 0.4}).train()
    assert BEST.format(2) in list_checkpoints(tmp_path)


def test_hook_when_best_was_saved_but_not_recorded_then_resume_takes_it_up(tmp_path: Path) -> None:
    build_runner(tmp_path, epochs=1).train()
    before = (tmp_path / "epoch_1.pth").read_bytes()
    best_before = (tmp_path / BEST.format(1)).read_bytes()
    build_runner(tmp_path, resume=True, epochs=2).train()
    # as if killed after best_2 was renamed, in a run that saves no checkpoint in epoch 2
    for name in ("epoch_2.pth", "last_checkpoint"):
        (tmp_path / name).unlink()
    (tmp_path / "epoch_1.pth").write_bytes(before)
    (tmp_path / BEST.format(1)).write_bytes(best_before)
    runner = build_runner(tmp_path, resume=True, epochs=2, scores={2: 0.2})
    runner.train()
    assert list_checkpoints(tmp_path) == [BEST.format(2), "epoch_1.pth", "epoch_2.pth"]
    assert runner.message_hub.get_info("best_score") == 0.5


def test_hook_when_several_metrics_then_each_keeps_its_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def two_scores(self: ToyMetric, results: list) -> dict[str, float]:
        epoch = self.runner.epoch
        return {"up": epoch / 10, "down": 1 / epoch if epoch < 3 else 1.0}

    monkeypatch.setattr(ToyMetric, "compute_metrics", two_scores)
    settings = dict(save_best=["up", "down"], rule=["greater", "less"], max_keep_ckpts=1)
    build_runner(tmp_path, epochs=2, checkpoint=settings).train()
    build_runner(tmp_path, resume=True, checkpoint=settings).train()
    expected = ["best_down_epoch_2.pth", "best_up_epoch_4.pth", "epoch_4.pth"]
    assert list_checkpoints(tmp_path) == expected


def test_hook_when_best_is_chosen_automatically_then_one_is_kept(tmp_path: Path) -> None:
    build_runner(tmp_path, epochs=2, checkpoint=dict(save_best="auto", rule=None)).train()
    build_runner(tmp_path, resume=True, checkpoint=dict(save_best="auto", rule=None)).train()
    assert list_checkpoints(tmp_path) == [BEST.format(4), "epoch_3.pth", "epoch_4.pth"]


def test_hook_when_checkpoint_names_foreign_files_then_they_are_not_deleted(
    tmp_path: Path, good_checkpoint: dict[str, Any]
) -> None:
    thesis = tmp_path / "home" / "thesis.txt"
    work_dir = tmp_path / "work"
    for folder in (thesis.parent, work_dir):
        folder.mkdir()
    thesis.write_text("years of work")
    good_checkpoint["message_hub"]["runtime_info"].update(
        best_ckpt=str(thesis.parent),
        best_score=-1.0,
        keep_ckpt_ids=["/../../home/thesis.txt", 0, 1],
        outdated_ckpt_ids=["../home/thesis.txt"],
    )
    for key in ("best_ckpt", "keep_ckpt_ids", "outdated_ckpt_ids"):
        good_checkpoint["message_hub"]["resumed_keys"][key] = True
    torch.save(good_checkpoint, work_dir / "epoch_1.pth")
    runner = build_runner(
        work_dir,
        load_from=str(work_dir / "epoch_1.pth"),
        resume=str(work_dir / "epoch_1.pth"),
        checkpoint=dict(filename_tmpl="{}", max_keep_ckpts=1),
    )
    runner.train()
    assert thesis.read_text() == "years of work"


def test_hook_when_out_dir_is_given_then_checkpoints_resume_from_there(tmp_path: Path) -> None:
    settings = dict(out_dir=str(tmp_path / "store"))
    build_runner(tmp_path / "run", epochs=2, checkpoint=settings).train()
    assert "epoch_2.pth" in list_checkpoints(tmp_path / "store" / "run")
    runner = build_runner(tmp_path / "run", resume=True, checkpoint=settings)
    runner.train()
    expected = [BEST.format(4), "epoch_3.pth", "epoch_4.pth"]
    assert list_checkpoints(tmp_path / "store" / "run") == expected


def test_hook_when_remote_out_dir_then_error() -> None:
    with pytest.raises(ValueError, match="give a local out_dir"):
        AtomicCheckpointHook(out_dir="s3://bucket")


def test_hook_when_published_then_the_file_loads_without_code(tmp_path: Path) -> None:
    settings = dict(published_keys=["meta", "state_dict"])
    model = build_runner(tmp_path, epochs=1, checkpoint=settings).train()
    (published,) = tmp_path.glob("epoch_1-*.pth")
    loaded = load_checkpoint_file(published)
    assert sorted(loaded) == ["meta", "state_dict"]
    assert [float(value) for value in loaded["state_dict"].values()] == read_weights(model)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "moment"), [(r"epoch_2\.pth", 0.5), ("best_.*", 0.5), ("last_checkpoint", 0.5)]
)
def test_train_tool_when_killed_in_a_write_then_resume_reaches_the_last_epoch(
    pattern: str, moment: float, tmp_path: Path, small_sample: list[str]
) -> None:
    command = [
        *(sys.executable, "tools/train.py", "configs/cell/mask-rcnn_r18_small-anchor_demo.py"),
        *("--work-dir", str(tmp_path / "work"), "--resume", "--cfg-options"),
        *("train_cfg.max_epochs=2", "train_cfg.val_interval=1"),
        *("default_hooks.checkpoint.interval=1", *small_sample),
    ]
    occurrence = 2 if pattern == "last_checkpoint" else 1
    killer = (
        "import runpy, sys; from tests.engine.toy_training import arm_kill; "
        f"arm_kill({pattern!r}, {occurrence}, {moment}); sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = subprocess.run([sys.executable, "-c", killer, *command[1:]], cwd=ROOT, env=env)
    assert killed.returncode == -signal.SIGKILL
    subprocess.run(command, cwd=ROOT, env=env, check=True)
    assert load_checkpoint_file(tmp_path / "work" / "epoch_2.pth")["meta"]["epoch"] == 2
    assert list((tmp_path / "work").glob(".*.part")) == []
