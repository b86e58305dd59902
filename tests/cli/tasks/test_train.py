"""A model is trained further on a folder, end to end."""

import pytest
import torch
from mmengine.config import Config

from cellseg.cli.main import main
from cellseg.cli.running import build_parser
from cellseg.cli.tasks import train
from cellseg.cli.train import add_arguments, check
from cellseg.engine.checkpoint_loading import load_checkpoint_file
from cellseg.engine.model_record import RECORD_KEY
from cellseg.errors import CellsegError

from ...engine.test_record_hook import write_disks
from ...inference.test_publishing import checkpoint, folder  # noqa: F401


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "Give a config, or a model"),
        (["c.py", "--from", "m", "--data", "d"], "not both"),
        (["--from", "m"], "belong together"),
        (["c.py", "--data", "d"], "belong together"),
        (["--from", "m", "--data", "d", "--steps", "0"], "at least 1"),
    ],
)
def test_train_when_flags_contradict_then_one_sentence(words, reason):
    with pytest.raises(CellsegError, match=reason):
        check(build_parser("", add_arguments).parse_args(words))


def test_train_when_the_folder_holds_an_earlier_training_then_warns_unless_resumed(
    tmp_path, listen
):
    said = listen("cellseg.cli.tasks.train")
    train.warn_of_earlier_training(Config({"work_dir": str(tmp_path)}))
    assert not said
    torch.save({"state_dict": {}}, tmp_path / "epoch_2.pth")
    train.warn_of_earlier_training(Config({"work_dir": str(tmp_path), "resume": True}))
    assert not said
    train.warn_of_earlier_training(Config({"work_dir": str(tmp_path), "resume": False}))
    (text,) = said
    assert "epoch_2.pth" in text
    assert "--resume" in text


@pytest.mark.slow
def test_train_when_started_from_a_model_then_takes_its_weights_and_saves_its_own(
    folder,  # noqa: F811
    tmp_path,
):
    for part in ("train", "val"):
        write_disks(tmp_path / "data" / part, None)
    words = ["--from", str(folder), "--data", str(tmp_path / "data"), "--classes", "round", "odd"]
    options = [
        "train_dataloader.dataset.times=4",
        "train_dataloader.num_workers=0",
        "train_dataloader.persistent_workers=False",
        "val_dataloader.num_workers=0",
        "val_dataloader.persistent_workers=False",
        "train_cfg.max_epochs=1",
        "train_cfg.val_interval=1",
        "default_hooks.checkpoint.interval=1",
        "default_hooks.visualization.draw=False",
    ]
    out = tmp_path / "run"
    assert main(["train", *words, "--work-dir", str(out), "--cfg-options", *options]) == 0
    log = next(out.glob("*/*.log")).read_text()
    assert "weights of the heads go from nucleus to round, odd" in log
    assert "Before training, coco/segm_mAP_50 is" in log
    saved = load_checkpoint_file(out / "epoch_1.pth")
    record = saved["meta"][RECORD_KEY]
    assert record["classes"] == ["round", "odd"]
    assert record["network"]["roi_head"]["mask_head"]["num_classes"] == 2
    start = load_checkpoint_file(folder)["state_dict"]
    name = next(iter(start))
    assert torch.allclose(saved["state_dict"][name], start[name], atol=0.2)  # a few steps away
