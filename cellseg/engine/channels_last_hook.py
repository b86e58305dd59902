"""Keep convolutions in channels-last order, where they are faster in it."""

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn
from torch.nn.parallel import DistributedDataParallel


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Put every 4-D parameter and buffer into channels-last order before training, val and test.

    It does so on GPUs, whose tensor cores want that order, and on CPUs with AVX-512. On other CPUs
    gradients of channels-last convolutions are 2 to 4 times slower to compute
    (benchmarks/dense_images.py), and the model stays as it is.

    A convolution with channels-last weights gives channels-last features, so the images need no
    change. Values, shapes and checkpoints are those of a model in the usual order; a checkpoint of
    either order loads into the other.

    Args:
        always: Whether to do so on every device.
    """

    priority = "VERY_HIGH"  # before EMAHook copies the model

    def __init__(self, always: bool = False) -> None:
        """Keep the option."""
        self.always = always

    def before_run(self, runner: Runner) -> None:
        """Reorder the weights before they are initialized or loaded, which keeps their order."""
        self._reorder_model(runner)

    def before_train(self, runner: Runner) -> None:
        """Reorder again, after loading, and the resumed optimizer's state with the weights."""
        if not self._reorder_model(runner):
            return
        wrapper = runner.optim_wrapper
        for part in [wrapper] if isinstance(wrapper, OptimWrapper) else wrapper.values():
            _reorder_state(part.optimizer)

    def before_val(self, runner: Runner) -> None:
        """Reorder again, in case loading replaced weights."""
        self._reorder_model(runner)

    def before_test(self, runner: Runner) -> None:
        """Reorder again, in case loading replaced weights."""
        self._reorder_model(runner)

    def _reorder_model(self, runner: Runner) -> bool:
        """Reorder the model inside its wrapper, if it has one; return whether it was worth it."""
        model: nn.Module = runner.model
        device = next(model.parameters()).device
        if not self.always and not trains_faster_channels_last(device):
            return False
        inner = model.module if is_model_wrapper(model) else model
        is_new = not all(map(_is_channels_last, inner.parameters()))
        inner.to(memory_format=torch.channels_last)
        if is_new and isinstance(model, DistributedDataParallel):
            # Its buckets have the strides that weights had when it was made: until it makes them
            # again, after the first step or never, gradients come back in the wrong order.
            runner.model = runner.wrap_model(runner.cfg.get("model_wrapper_cfg"), inner)
        return True


def _is_channels_last(weight: torch.Tensor) -> bool:
    """Return whether a weight is in channels-last order, or has no channels to order."""
    return weight.dim() != 4 or weight.is_contiguous(memory_format=torch.channels_last)


def trains_faster_channels_last(device: torch.device) -> bool:
    """Return whether a device trains convolutions faster in channels-last order."""
    return device.type != "cpu" or torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def _reorder_state(optimizer: torch.optim.Optimizer) -> None:
    """Give an optimizer's running averages the memory order of their weights."""
    for parameter, state in optimizer.state.items():
        if parameter.dim() != 4:
            continue
        for name, value in state.items():
            if torch.is_tensor(value) and value.shape == parameter.shape:
                state[name] = value.to(memory_format=torch.channels_last)
