"""The tools' flags end up in the config, and mistakes become sentences."""

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from torch.utils.data import DataLoader

from cellseg.cli.arguments import add_runner_arguments
from cellseg.engine.configs import parse_cfg_options
from cellseg.engine.run_config import (
    check_batches,
    enable_amp,
    enable_auto_scale_lr,
    enable_tta,
    load_config,
)
from cellseg.errors import CellsegError

CONFIG = """
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=1e-3))
auto_scale_lr = dict(enable=False, base_batch_size=2)
train_dataloader = dict(batch_size=2)
model = dict(type="MaskRCNN")
"""


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    """A config file with what the flags touch."""
    path = tmp_path / "small.py"
    path.write_text(CONFIG)
    return path


def parse(*words: str) -> argparse.Namespace:
    """Parse a tool's command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    add_runner_arguments(parser)
    return parser.parse_args(words)


def test_load_config_when_options_given_then_they_win(config_path: Path) -> None:
    """--cfg-options overrides the file; the work dir is named after the config."""
    cfg = load_config(parse(str(config_path), "--cfg-options", "train_dataloader.batch_size=4"))
    assert cfg.train_dataloader.batch_size == 4
    assert cfg.work_dir == str(Path("work_dirs") / "small")
    assert load_config(parse(str(config_path), "--work-dir", "there")).work_dir == "there"


def test_load_config_when_on_macos_then_workers_are_spawned(
    config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forked processes may crash there; whoever asks for fork still gets it."""
    words = [str(config_path), "--cfg-options", "env_cfg.mp_cfg.mp_start_method=fork"]
    assert "env_cfg" not in load_config(parse(str(config_path)))
    monkeypatch.setattr(sys, "platform", "darwin")
    cfg = load_config(parse(str(config_path)))
    assert cfg.env_cfg.mp_cfg.mp_start_method == "spawn"
    assert load_config(parse(*words)).env_cfg.mp_cfg.mp_start_method == "fork"


def test_load_config_when_a_path_has_backslashes_then_they_stay(config_path: Path) -> None:
    """Windows paths are values like any other."""
    options = ["load_from=C:\\data\\new\\train", "model.roots=[C:\\a,D:\\b]"]
    cfg = load_config(parse(str(config_path), "--cfg-options", *options))
    assert cfg.load_from == "C:\\data\\new\\train"
    assert cfg.model.roots == ["C:\\a", "D:\\b"]
    assert Config.fromstring(cfg.pretty_text, ".py").load_from == cfg.load_from


def test_load_config_when_file_is_missing_then_says_where_configs_lie() -> None:
    """A mistyped path is one sentence, not a traceback."""
    with pytest.raises(CellsegError, match="no config file nowhere.py"):
        load_config(parse("nowhere.py"))


def test_load_config_when_option_does_not_fit_then_names_it(config_path: Path) -> None:
    """An option that goes through a number is refused by name."""
    args = parse(str(config_path), "--cfg-options", "train_dataloader.batch_size.size=4")
    with pytest.raises(CellsegError, match="train_dataloader.batch_size.size"):
        load_config(args)


@pytest.mark.parametrize(
    ("has_gpu", "wrapper", "scale"),
    [(True, "AmpOptimWrapper", "dynamic"), (False, "CpuAmpOptimWrapper", None)],
)
def test_enable_amp_always_fits_the_device(
    monkeypatch: pytest.MonkeyPatch, has_gpu: bool, wrapper: str, scale: str | None
) -> None:
    """A fp16 wrapper with loss scaling on a GPU, bf16 without on a CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    cfg = Config.fromstring(CONFIG, ".py")
    enable_amp(cfg)
    assert cfg.optim_wrapper.type == wrapper
    assert cfg.optim_wrapper.get("loss_scale") == scale


def test_enable_amp_when_wrapper_is_special_then_refuses() -> None:
    """A wrapper that a user chose is not replaced behind their back."""
    cfg = Config(dict(optim_wrapper=dict(type="ApexOptimWrapper")))
    with pytest.raises(CellsegError, match="ApexOptimWrapper"):
        enable_amp(cfg)


def test_enable_auto_scale_lr_when_base_is_missing_then_refuses() -> None:
    """There is nothing to scale from."""
    cfg = Config.fromstring(CONFIG, ".py")
    enable_auto_scale_lr(cfg)
    assert cfg.auto_scale_lr.enable
    with pytest.raises(CellsegError, match="base_batch_size"):
        enable_auto_scale_lr(Config(dict(auto_scale_lr=dict(enable=False))))


def test_enable_tta_always_wraps_the_model() -> None:
    """The detector becomes the module of the merging model, with the config's views."""
    cfg = Config.fromstring(CONFIG, ".py")
    cfg.tta_model = dict(type="CellTTAModel", rotations=(0, 2))
    enable_tta(cfg)
    assert cfg.model.type == "CellTTAModel"
    assert cfg.model.rotations == (0, 2)
    assert cfg.model.module.type == "MaskRCNN"


@pytest.mark.parametrize(("images", "enough"), [(3, False), (4, True)])
def test_check_batches_when_too_few_images_then_says_so(images: int, enough: bool) -> None:
    """A training of no steps is no training."""
    loader = DataLoader(list(range(images)), batch_size=4, drop_last=True)
    words = "3 training images do not fill a batch of 4"
    with nullcontext() if enough else pytest.raises(CellsegError, match=words):
        check_batches(SimpleNamespace(train_dataloader=loader))


def test_cfg_options_when_parsed_then_as_mmengine_reads_them() -> None:
    """Numbers, lists and a repeated key come out as MMEngine's own action makes them."""
    words = ["a.b=4", "c=[1,2]", "d=x=y", "e=None", "a.b=5"]
    assert parse_cfg_options(words) == {"a.b": 5, "c": [1, 2], "d": "x=y", "e": None}
    assert parse_cfg_options(None) is None


def test_cfg_options_when_a_bracket_is_open_then_one_sentence() -> None:
    """MMEngine's assertion becomes an error that names the flag."""
    with pytest.raises(CellsegError, match=r"--cfg-options a=\[1,2 cannot be read"):
        parse_cfg_options(["a=[1,2"])
