"""Mixed precision on a CPU: bfloat16 where it is safe, without loss scaling."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmdet.registry import OPTIM_WRAPPERS
from mmengine.optim import OptimWrapper
from torch import nn


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
