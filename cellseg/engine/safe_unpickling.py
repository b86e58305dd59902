"""What a training checkpoint may name besides tensors, and the inert stand-ins that it gets.

``torch.load(weights_only=True)`` calls nothing but its own list and the globals a caller allows.
MMEngine allows the real ``getattr`` and numpy's own constructors, with which a crafted file reaches
a module's globals. Here every such name leads to a stand-in that can only hold data;
``materialize`` turns what was read into the real objects once reading is over.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

_PLAIN_DTYPE = re.compile(r"[?biufcSU]\d*")
_HISTORY_STATISTICS = frozenset({"min", "max", "mean", "current"})
_ONE_CYCLE_CURVES = frozenset({"_annealing_cos", "_annealing_linear"})


class RefusedContentError(ValueError):
    """A checkpoint holds something that is neither weights nor the state of a training run."""


class DtypeRecord:
    """Hold a numpy dtype as read: a plain number or text type, never objects or fields."""

    def __init__(self, code: str, *_flags: bool) -> None:
        """Keep the type code, such as ``f8``, after checking that it is a plain one."""
        if not isinstance(code, str) or not _PLAIN_DTYPE.fullmatch(code):
            raise RefusedContentError(f"a numpy array of type {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take the byte order from numpy's state tuple and refuse every other change."""
        _version, byte_order, subdtype, names, fields = state[:5]
        if byte_order not in ("<", ">", "|", "=") or (subdtype, names, fields) != (None,) * 3:
            raise RefusedContentError("a numpy array of a structured type")
        self.dtype = self.dtype.newbyteorder(byte_order)


class ArrayRecord:
    """Hold a numpy array as read, until ``materialize`` takes the array out."""

    def __init__(self) -> None:
        """Start empty, as numpy's own reconstruction does."""
        self.value = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Build the array from numpy's state tuple (version, shape, dtype, column order, bytes)."""
        _version, shape, record, is_column_major, raw = state
        if not isinstance(record, DtypeRecord) or not isinstance(raw, bytes):
            raise RefusedContentError("a numpy array that does not hold plain numbers")
        order: Literal["F", "C"] = "F" if is_column_major else "C"
        self.value = np.frombuffer(raw, record.dtype).reshape(shape, order=order).copy(order)


class HistoryRecord:
    """Hold the state of a HistoryBuffer as read; the functions it names are left out."""

    def __init__(self) -> None:
        """Start without a history."""
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Keep the state for later: its arrays may not have been read yet."""
        self.state = dict(state)

    @property
    def value(self) -> HistoryBuffer:
        """The history as MMEngine's own class, rebuilt from its two arrays."""
        logs, counts = (
            materialize(self.state.get(key)) for key in ("_log_history", "_count_history")
        )
        max_length = self.state.get("max_length")
        if not (
            isinstance(logs, np.ndarray)
            and isinstance(counts, np.ndarray)
            and isinstance(max_length, int)
        ):
            raise RefusedContentError("a logging history without its numbers")
        return HistoryBuffer(logs, counts, max_length)


class OneCycleMark:
    """Stand for the one scheduler class that keeps a function in its state."""


def reconstruct_array(kind: type, _shape: object, _code: object) -> ArrayRecord:
    """Stand for numpy's ``_reconstruct``: start an array that BUILD then fills."""
    if kind is not ArrayRecord:
        raise RefusedContentError("a numpy array of a class of its own")
    return ArrayRecord()


def rebuild_scalar(record: DtypeRecord, raw: bytes) -> np.generic:
    """Stand for numpy's ``scalar``: one number from its bytes."""
    if not isinstance(record, DtypeRecord) or not isinstance(raw, bytes):
        raise RefusedContentError("a numpy number that is no plain number")
    return np.frombuffer(raw, record.dtype, count=1)[0]


def narrow_getattr(owner: object, name: str) -> object:
    """Stand for ``getattr``: a statistic of HistoryBuffer or a OneCycle curve, nothing else."""
    if owner is HistoryRecord and name in _HISTORY_STATISTICS:
        return name
    if owner is OneCycleMark and name in _ONE_CYCLE_CURVES:
        return getattr(OneCycleParamScheduler, name)
    raise RefusedContentError(f"the attribute {name!r} of {owner!r}")


def empty_bytes() -> bytes:
    """Stand for ``bytes()``, as which pickle writes the contents of an empty array."""
    return b""


def plain_dict(content: dict[Any, Any]) -> dict[Any, Any]:
    """Stand for MMEngine's ConfigDict, whose values could be lazily built objects."""
    return dict(content)


_STAND_INS: dict[str, Callable[..., object]] = {
    "builtins.getattr": narrow_getattr,
    "builtins.bytes": empty_bytes,
    "builtins.slice": slice,
    "numpy.dtype": DtypeRecord,
    "numpy.ndarray": ArrayRecord,
    "numpy._core.multiarray._reconstruct": reconstruct_array,
    "numpy.core.multiarray._reconstruct": reconstruct_array,
    "numpy._core.multiarray.scalar": rebuild_scalar,
    "numpy.core.multiarray.scalar": rebuild_scalar,
    "mmengine.logging.history_buffer.HistoryBuffer": HistoryRecord,
    "mmengine.config.config.ConfigDict": plain_dict,
    "mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler": OneCycleMark,
}


@contextmanager
def only_checkpoint_globals() -> Iterator[None]:
    """Allow exactly this module's stand-ins to ``torch.load``, whatever others have added."""
    others = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(
        [(stand_in, name) for name, stand_in in _STAND_INS.items()]
    )
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(others)


def materialize(value: Any, known: dict[int, tuple[Any, Any]] | None = None) -> Any:
    """Turn the records in a nest of dicts, lists and tuples into arrays and histories.

    Args:
        value: What ``torch.load`` returned; dicts and lists are changed in place.
        known: By id, each object met so far (kept, so that no id comes twice) and its outcome.

    Returns:
        The same nest with the real objects in it; what was shared stays shared.

    Raises:
        RefusedContentError: If a record holds something else than numbers.
    """
    known = {} if known is None else known
    if id(value) in known:
        return known[id(value)][1]
    known[id(value)] = (value, value)
    result = value
    if isinstance(value, dict):
        for key in value:
            value[key] = materialize(value[key], known)
    elif isinstance(value, list):
        value[:] = [materialize(item, known) for item in value]
    elif type(value) is tuple:
        result = tuple(materialize(item, known) for item in value)
    elif isinstance(value, ArrayRecord | HistoryRecord):
        result = value.value
    elif isinstance(value, DtypeRecord):
        result = value.dtype
    known[id(value)] = (value, result)
    return result
