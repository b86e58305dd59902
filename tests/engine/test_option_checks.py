"""--cfg-options that fit nothing are refused, and doubtful ones are named."""

from collections.abc import Callable
from typing import Any

import pytest

from cellseg.engine.configs import read_config
from cellseg.errors import CellsegError

RECIPE = "mask-rcnn_r18_small-anchor"


@pytest.fixture
def warnings(listen: Callable[..., list[str]]) -> list[str]:
    """Collect what is warned of."""
    return listen("cellseg.engine.option_checks")


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("data_root", "train_dataloader.dataset.data_root"),
        ("batch_size", "train_dataloader.batch_size"),
        ("train_dataloder.batch_size", "train_dataloader"),
        ("max_epoch", "train_cfg.max_epochs"),
    ],
)
def test_option_when_its_first_name_is_unknown_then_it_is_refused(key: str, near: str) -> None:
    with pytest.raises(CellsegError, match=rf"--cfg-options {key}=7 fits nothing .*{near}"):
        read_config(RECIPE, {key: 7})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("randomness.seed", 0),
        ("randomness.deterministic", True),
        ("load_from", "weights.pth"),
        ("model.backbone.init_cfg", None),
        ("model.backbone.with_cp", True),
        ("train_dataloader.batch_size", 1),
        ("train_dataloader.prefetch_factor", 4),
        ("train_dataloader.dataset.bad_images", "skip"),
        ("train_dataloader.dataset.filter_cfg", {"min_size": 32}),
        ("train_dataloader.dataset.data_root", ["a", "b"]),
        ("optim_wrapper.clip_grad.max_norm", 5),
        ("optim_wrapper.optimizer.lr", 1),
        ("optim_wrapper.optimizer.weight_decay", 0.1),
        ("model.test_cfg.rcnn.max_per_img", 2000),
        ("test_evaluator.max_dets", 2000),
        ("train_dataloader.dataset.pipeline.2.scale", (512, 512)),
        ("default_hooks.checkpoint.interval", 1),
        ("default_hooks.checkpoint.priority", "LOW"),
        ("default_hooks.stop.type", "EarlyStoppingHook"),
        ("optim_wrapper.paramwise_cfg.bias_lr_mult", 2.0),
        ("train_dataloader.dataset.metainfo.palette", [(1, 2, 3)]),
        ("env_cfg.mp_cfg.mp_start_method", "spawn"),
        ("tta_model.rotations", [0]),
    ],
)
def test_option_when_it_is_legitimate_then_nothing_is_said(key, value, warnings) -> None:
    read_config(RECIPE, {key: value})
    assert warnings == []


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("train_dataloader.dataset.channel_oder", "train_dataloader.dataset.channel_order"),
        ("train_dataloader.batchsize", "train_dataloader.batch_size"),
        ("model.test_cfg.rcnn.score_threshold", "model.test_cfg.rcnn.score_thr"),
    ],
)
def test_option_when_it_is_a_new_name_then_the_nearest_is_named(key, near, warnings) -> None:
    read_config(RECIPE, {key: 1})
    assert len(warnings) == 1
    assert f"{key} is a new setting" in warnings[0]
    assert near in warnings[0]


@pytest.mark.parametrize(
    ("key", "value"),
    [("train_dataloader.batch_size", "four"), ("train_cfg.max_epochs", 2.5), ("model", 3)],
)
def test_option_when_its_value_is_of_another_type_then_both_are_named(
    key: str, value: Any, warnings: list[str]
) -> None:
    read_config(RECIPE, {key: value})
    assert len(warnings) == 1
    assert f"of the type {type(value).__name__} where" in warnings[0]


def test_workers_when_there_are_none_then_they_do_not_persist() -> None:
    options = {"train_dataloader.num_workers": 0, "train_dataloader.prefetch_factor": 2}
    config = read_config(RECIPE, options)
    assert config.train_dataloader.persistent_workers is False
    assert "prefetch_factor" not in config.train_dataloader
    assert config.val_dataloader.persistent_workers is True


def test_options_when_checked_again_then_warned_of_once(warnings: list[str]) -> None:
    for _ in range(2):
        read_config(RECIPE, {"train_cfg.max_epochs": "told once"})
    assert len(warnings) == 1
