"""Find where code on the host waits for a GPU, also on a machine without one.

Values that decide about shapes or branches come back to the host: `.item()`, `.tolist()`,
`.cpu()`, `bool(tensor)`, `nonzero`, indexing with a mask. Each makes the host wait for everything
that the GPU was given before. On a GPU torch reports them; without one, the calls that would wait
are counted.
"""

import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name

ALWAYS = frozenset(
    f"Tensor.{name}"
    for name in (
        *("item", "tolist", "cpu", "nonzero", "unique", "masked_select"),
        *("__bool__", "__int__", "__float__", "__index__", "argwhere"),
    )
) | {"nonzero", "unique", "masked_select", "argwhere", "bincount", "equal"}
_INDEXING = ("Tensor.__getitem__", "Tensor.__setitem__")
_MASKS = (torch.bool, torch.uint8)
_PLACES = 25
_SKIPPED = ("torch", "gpu_parts")


def find_round_trips(work: Callable[[], Any], device: str) -> dict[str, int]:
    """Run a work and count where the host waits.

    Args:
        work: What is run, once.
        device: "cuda" or "cpu".

    Returns:
        Waits by place, such as "cellseg/models/box_index.py:48 Tensor.__int__"; the most frequent
        first, so many that they can be read.
    """
    counts = _by_warning(work) if device == "cuda" else _by_name(work)
    return dict(counts.most_common(_PLACES))


def _by_warning(work: Callable[[], Any]) -> Counter[str]:
    """Let torch report where a GPU is waited for."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return Counter(
        f"{_short(warning.filename)}:{warning.lineno}"
        for warning in caught
        if "synchronizing" in str(warning.message)
    )


def _by_name(work: Callable[[], Any]) -> Counter[str]:
    """Count the calls that would wait for a GPU if the tensors lay there."""
    with _WaitCounter() as counter:
        work()
    return counter.places


class _WaitCounter(TorchFunctionMode):
    """Counts calls whose result the host needs."""

    def __init__(self) -> None:
        super().__init__()
        self.places: Counter[str] = Counter()

    def __torch_function__(  # noqa: D105
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        name = (resolve_name(func) or "").removeprefix("torch.")
        if name in ALWAYS or (name in _INDEXING and _holds_mask(args[1])):
            place = _find_place()
            if place:
                self.places[f"{place} {name}"] += 1
        return func(*args, **(kwargs or {}))


def _holds_mask(index: Any) -> bool:
    """Return whether an index is, or holds, a mask; its true values have to be counted."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(part, Tensor) and part.dtype in _MASKS for part in parts)


def _find_place() -> str:
    """Name the innermost line outside of torch and this file; nothing for an optimizer's call.

    torch's optimizers count their steps in tensors that stay on the host.
    """
    frame = sys._getframe(2)
    if "/torch/optim/" in frame.f_code.co_filename:
        return ""
    while frame.f_back is not None:
        parts = Path(frame.f_code.co_filename).parts
        if not any(part in _SKIPPED for part in parts[-6:]):
            break
        frame = frame.f_back
    return f"{_short(frame.f_code.co_filename)}:{frame.f_lineno}"


def _short(path: str) -> str:
    """Leave out where a package is installed."""
    for package in ("cellseg", "mmdet", "mmcv", "mmengine", "benchmarks", "torch"):
        if f"/{package}/" in path:
            return f"{package}/{path.rpartition(f'/{package}/')[2]}"
    return path
