"""Keep the memory that a training step frees for the next step, on a CPU."""

import ctypes

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

# Parameters of glibc's mallopt (malloc.h), and the largest value that they take.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST = 2**31 - 1


@HOOKS.register_module()
class KeepMemoryHook(Hook):
    """Let a training on a CPU keep freed memory, which glibc else returns after each large tensor.

    Every step asks for the same gigabytes again, page by page: some 10% to 15% of its time. What
    the process holds stays at its peak in turn. Nothing changes on a GPU or without glibc.
    """

    def before_train(self, runner: Runner) -> None:
        """Set the allocator before the first step."""
        if next(runner.model.parameters()).device.type == "cpu":
            keep_freed_memory()


def keep_freed_memory() -> bool:
    """Tell this process's allocator to keep what is freed.

    Returns:
        Whether the allocator is one that can be told, which is glibc's.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST) and mallopt(_M_TRIM_THRESHOLD, _LARGEST))
