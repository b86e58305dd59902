"""Mixed precision on a CPU: bfloat16 where it is safe, without loss scaling."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmdet.registry import OPTIM_WRAPPERS
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import nn

_PAYS_BELOW = 0.9  # of float32's time
_PAYS_WELL_BELOW = 0.7  # then it is worth a line to those who did not ask for it
_TRIALS = 4


@OPTIM_WRAPPERS.register_module()
class CpuAmpOptimWrapper(OptimWrapper):
    """Train under torch's CPU autocast, which MMEngine's AmpOptimWrapper refuses without a GPU.

    Weights, gradients and the optimizer's state stay float32; convolutions and matrix products run
    in bfloat16, whose range is that of float32, so that losses need no scaling. Validation and
    test run in float32. It reads optimizer states saved with or without mixed precision, GPU ones
    included, and writes plain ones.

    Args:
        dtype: "bfloat16", the only type that pays on a CPU.
        **kwargs: As for OptimWrapper.

    Raises:
        ValueError: If dtype is another one.
    """

    def __init__(self, dtype: str | torch.dtype = "bfloat16", **kwargs: Any) -> None:
        """Check the type and set up the plain wrapper."""
        if dtype not in ("bfloat16", torch.bfloat16):
            raise ValueError(
                f"Mixed precision on a CPU needs dtype='bfloat16', not {dtype}; change "
                "optim_wrapper.dtype."
            )
        super().__init__(**kwargs)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load an optimizer's state; the loss scaler of a GPU run is left out."""
        super().load_state_dict(
            {key: value for key, value in state_dict.items() if key != "loss_scaler"}
        )

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enter autocast for the forward pass, and the context for accumulating gradients."""
        with super().optim_context(model), torch.autocast("cpu", dtype=torch.bfloat16):
            yield


def warn_of_slow_bfloat16() -> None:
    """Warn where bfloat16 does not pay on this CPU, as a timing of some milliseconds shows."""
    ratio = time_bfloat16()
    if ratio > _PAYS_BELOW:
        print_log(
            f"--amp does not pay on this CPU: a convolution in bfloat16 takes {ratio:.1f} times as "
            "long as in float32. Leave it out.",
            "current",
            logging.WARNING,
        )


def suggest_bfloat16() -> None:
    """Say that --amp pays on this CPU, where a timing of some milliseconds shows that it does."""
    ratio = time_bfloat16()
    if ratio < _PAYS_WELL_BELOW:
        print_log(
            f"--amp pays on this CPU: a convolution in bfloat16 takes {ratio:.2f} of its time in "
            "float32. The cells differ slightly.",
            "current",
        )


def time_bfloat16() -> float:
    """Time a convolution like those of a neck; the time in bfloat16 divided by that in float32."""
    convolution = nn.Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)
    features = torch.zeros(1, 64, 64, 64).to(memory_format=torch.channels_last)
    seconds = {False: float("inf"), True: float("inf")}
    with torch.inference_mode():
        for _ in range(_TRIALS):  # in turns, and the fastest: others may use the machine
            for is_low in seconds:
                begin = time.perf_counter()
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_low):
                    convolution(features)
                seconds[is_low] = min(seconds[is_low], time.perf_counter() - begin)
    return seconds[True] / seconds[False]
