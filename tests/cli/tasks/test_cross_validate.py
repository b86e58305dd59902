"""Folds are trained once each, go on after a stop, and an absent class is named."""

import json
import math
from pathlib import Path

import pytest

from cellseg.cli import cross_validate
from cellseg.cli.running import build_parser
from cellseg.cli.tasks import cross_validate as task
from cellseg.errors import CellsegError

ROOT = Path(__file__).resolve().parents[3]
CONFIG = str(ROOT / "configs" / "cell" / "mask-rcnn_r18_small-anchor.py")


class StandIn:
    """Takes the place of the tools: writes what they would write."""

    def __init__(self, fails_at: str = "nothing") -> None:
        self.commands: list[list[str]] = []
        self.fails_at = fails_at

    def __call__(self, command: list[str], used: Path) -> None:
        self.commands.append(command)
        assert str(used) == command[command.index("--work-dir") + 1]
        name = command[command.index("cellseg") + 1]
        if name == self.fails_at:
            raise CellsegError("cut off")
        folder = Path(command[command.index("--work-dir") + 1])
        (folder / "20260101").mkdir(parents=True, exist_ok=True)
        if name == "test":
            (folder / "20260101" / "20260101.json").write_text('{"coco/segm_mAP_50": 0.5}')
        else:
            import torch

            torch.save({"state_dict": {}}, folder / "epoch_1.pth")
            (folder / "last_checkpoint").write_text(str(folder / "epoch_1.pth"))


def plan(*words: str) -> task.FoldPlan:
    parser = build_parser(cross_validate.__doc__, cross_validate.add_arguments)
    return task.make_plan(parser.parse_args(words))


def make_args(tmp_path: Path, *words: str) -> task.FoldPlan:
    return plan(CONFIG, "--work-dir", str(tmp_path / "folds"), *words)


def test_fold_when_done_then_it_is_read_and_not_run(tmp_path: Path) -> None:
    args, run = make_args(tmp_path, "--num-folds", "3"), StandIn()
    assert task.run_fold(args, 2, run) == {"coco/segm_mAP_50": 0.5}
    assert task.run_fold(args, 2, run) == {"coco/segm_mAP_50": 0.5}
    train, test = run.commands
    for command in (train, test):
        assert "val_dataloader.dataset.fold=2" in command
        assert "train_dataloader.dataset.num_folds=3" in command
    assert "--resume" in train
    assert test[test.index("test") + 2].endswith("epoch_1.pth")


@pytest.mark.parametrize("name", ["train", "test"])
def test_fold_when_cut_off_then_the_next_start_goes_on(tmp_path: Path, name: str) -> None:
    args = make_args(tmp_path)
    with pytest.raises(CellsegError, match="cut off"):
        task.run_fold(args, 0, StandIn(fails_at=name))
    assert task.run_fold(args, 0, StandIn())["coco/segm_mAP_50"] == 0.5


def test_fold_when_of_other_options_then_error(tmp_path: Path) -> None:
    task.run_fold(make_args(tmp_path), 0, StandIn())
    other = make_args(tmp_path, "--cfg-options", "train_cfg.max_epochs=3")
    with pytest.raises(CellsegError, match="other options or folds"):
        task.run_fold(other, 0, StandIn())


def test_fold_when_its_config_has_changed_since_then_error(tmp_path: Path) -> None:
    config = tmp_path / "config.py"
    config.write_text(f"_base_ = '{CONFIG}'\n")
    words = [str(config), "--work-dir", str(tmp_path / "folds")]
    task.run_fold(plan(*words), 0, StandIn())
    config.write_text(f"_base_ = '{CONFIG}'\n# a remark changes nothing\n")
    task.run_fold(plan(*words), 0, StandIn())
    config.write_text(f"_base_ = '{CONFIG}'\ntrain_cfg = dict(max_epochs=3)\n")
    with pytest.raises(CellsegError, match="of another config"):
        task.run_fold(plan(*words), 0, StandIn())


def test_folds_when_validation_images_lie_elsewhere_then_training_images_are_split(
    tmp_path: Path,
) -> None:
    words = ["--num-folds", "3", "--work-dir", str(tmp_path / "folds")]
    args, run = plan(CONFIG.replace("anchor", "anchor_dsb2018"), *words), StandIn()
    task.run_fold(args, 1, run)
    for command in run.commands:
        for split in ("train", "val", "test"):
            assert f"{split}_dataloader.dataset.data_root=data/dsb2018/train" in command
            assert f"{split}_dataloader.dataset.fold=1" in command


def test_folds_when_the_data_set_is_wrapped_then_the_inner_one_is_split(tmp_path: Path) -> None:
    config = tmp_path / "config.py"
    config.write_text(
        f"_base_ = '{CONFIG}'\n"
        "train_dataloader = dict(dataset=dict(_delete_=True, type='RepeatDataset', times=2,\n"
        "    dataset=_base_.train_dataloader.dataset))\n"
    )
    args = plan(str(config))
    assert "train_dataloader.dataset.dataset.fold={fold}" in args.fold_options
    assert "val_dataloader.dataset.fold={fold}" in args.fold_options


def test_folds_when_images_are_chosen_in_other_ways_then_error() -> None:
    option = "val_dataloader.dataset.include=[a,b]"
    with pytest.raises(CellsegError, match="include of the val images"):
        plan(CONFIG, "--cfg-options", option)


def test_table_when_a_class_is_absent_from_a_fold_then_it_says_so() -> None:
    key = "coco/segm_{}_AP_50"
    folds = [
        {"coco/segm_mAP_50": 0.4, key.format("rare"): -1.0, key.format("often"): 0.3},
        {"coco/segm_mAP_50": 0.6, key.format("rare"): 0.2, key.format("often"): 0.5},
        {"coco/segm_mAP_50": 0.5, key.format("rare"): math.nan, key.format("often"): 0.4},
    ]
    table = task.write_table(folds, ["often", "rare"])
    assert "0.500 ± 0.100" in table
    assert "0.400 ± 0.100" in table
    assert "rare: no annotated cell in fold 0, 2" in table
    assert "often: no cell" not in table


def test_config_when_without_folds_then_error() -> None:
    demo = CONFIG.replace("small-anchor", "small-anchor_demo")
    with pytest.raises(CellsegError, match="give --num-folds"):
        plan(demo)


def test_options_when_parsed_then_handed_on_as_typed(tmp_path: Path) -> None:
    args = make_args(tmp_path, "--cfg-options", "train_cfg.max_epochs=3", "model.x=[1,2]")
    assert args.cfg_options == ["train_cfg.max_epochs=3", "model.x=[1,2]"]
    assert json.dumps(args.classes) == '["epithelial", "lymphocyte", "neutrophil", "macrophage"]'
