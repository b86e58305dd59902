"""Turn a config file and a tool's flags into the config that the Runner gets."""

import argparse
import os
import sys
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner

from cellseg.engine.configs import parse_cfg_options, read_config
from cellseg.engine.cpu_amp import warn_of_slow_bfloat16
from cellseg.errors import CellsegError


def load_config(args: argparse.Namespace) -> Config:
    """Read a config file and apply the flags that train and test share.

    Args:
        args: Parsed arguments with config, work_dir, cfg_options, launcher and local_rank; the
            config is a path or the name of a shipped one.

    Returns:
        The config; work_dir is the flag's, else the file's, else work_dirs/<config name>.

    Raises:
        CellsegError: If the file is missing, is not a config, or an option does not fit it.
    """
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    cfg = read_config(args.config)
    cfg.launcher = args.launcher
    if sys.platform == "darwin":
        _spawn_workers(cfg)
    cfg = read_config(cfg, parse_cfg_options(args.cfg_options))
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get("work_dir") is None:
        cfg.work_dir = str(Path("work_dirs") / Path(cfg.filename).stem)
    return cfg


def _spawn_workers(cfg: Config) -> None:
    """Start data loaders afresh: macOS's own libraries may crash in a forked process.

    MMDetection's default_runtime.py asks for fork; --cfg-options still can.
    """
    env_cfg = cfg.setdefault("env_cfg", ConfigDict())
    env_cfg.setdefault("mp_cfg", ConfigDict())["mp_start_method"] = "spawn"


def enable_amp(cfg: Config) -> None:
    """Train in mixed precision: fp16 with loss scaling on a GPU, bf16 on a CPU.

    Raises:
        CellsegError: If the config's optimizer wrapper is already a special one.
    """
    wrapper = cfg.optim_wrapper
    known = ("OptimWrapper", "AmpOptimWrapper", "CpuAmpOptimWrapper")
    if wrapper.get("type", "OptimWrapper") not in known:
        raise CellsegError(
            f"--amp cannot replace optim_wrapper.type={wrapper.type}; set it in the config instead."
        )
    if torch.cuda.is_available():
        wrapper.type = "AmpOptimWrapper"
        wrapper.loss_scale = "dynamic"
    else:
        wrapper.type = "CpuAmpOptimWrapper"
        wrapper.pop("loss_scale", None)
        warn_of_slow_bfloat16()


def enable_auto_scale_lr(cfg: Config) -> None:
    """Let the Runner scale the learning rate to the number of processes and the batch size.

    Raises:
        CellsegError: If the config has no auto_scale_lr.base_batch_size to scale from.
    """
    if "base_batch_size" not in cfg.get("auto_scale_lr", {}):
        raise CellsegError(
            "--auto-scale-lr needs auto_scale_lr=dict(enable=False, base_batch_size=...) in "
            f"{cfg.filename}."
        )
    cfg.auto_scale_lr.enable = True


def enable_tta(cfg: Config) -> None:
    """Test on rotated and flipped copies of each image, merged by CellTTAModel.

    The config may hold `tta_model = dict(type="CellTTAModel", ...)` with other copies. An EMAHook
    is removed: the checkpoint's weights are the average already, and the hook would look for them
    under the names of the model inside.
    """
    hooks = cfg.get("custom_hooks") or []
    cfg.custom_hooks = [hook for hook in hooks if hook.get("type") != "EMAHook"]
    tta_model = dict(cfg.get("tta_model") or dict(type="CellTTAModel"))
    cfg.model = ConfigDict(**tta_model, module=cfg.model)


def check_batches(runner: Runner) -> None:
    """Check that a training has at least one batch an epoch, and else would do nothing.

    Raises:
        CellsegError: If the images are fewer than a batch, and incomplete batches are dropped.
    """
    loader = runner.train_dataloader
    if len(loader) == 0:
        size = loader.batch_sampler.batch_size
        raise CellsegError(
            f"{len(loader.dataset)} training images do not fill a batch of {size}, and this config "
            "drops incomplete ones; lower train_dataloader.batch_size with --cfg-options."
        )
