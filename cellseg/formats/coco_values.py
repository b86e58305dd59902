"""Read ids and yes/no values of COCO files as other programs spell them."""

from __future__ import annotations

import re
from typing import Any

from cellseg.errors import CellDataError

CocoId = int | str
_WHOLE = re.compile(r"(-?(?:0|[1-9]\d{0,99}))(?:\.0+)?")
_FLAGS = {"0": False, "1": True, "false": False, "true": True, "": False, "none": False}


def read_id(value: Any, what: str) -> CocoId:
    """Read an id: 7, 7.0, "7" and "7.0" are the same; any other text is an id of its own.

    Raises:
        CellDataError: If it is neither a whole number nor text; the message starts with `what`.
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip():
        whole = _WHOLE.fullmatch(value.strip())
        return int(whole.group(1)) if whole else value.strip()
    raise CellDataError(f"{what} {value!r:.80} is neither a whole number nor a text; correct it.")


def sort_key(identity: CocoId) -> tuple[bool, int, str]:
    """Order ids: numbers by value, then texts."""
    is_text = isinstance(identity, str)
    return is_text, 0 if isinstance(identity, str) else identity, str(identity)


def read_flag(value: Any, what: str) -> bool:
    """Read a yes/no value: 0, 1, false, true, as numbers or text; none is false.

    Raises:
        CellDataError: If it is something else; the message starts with `what`.
    """
    if value is None or value in (0, 1):
        return bool(value)
    flag = _FLAGS.get(value.strip().lower()) if isinstance(value, str) else None
    if flag is None:
        raise CellDataError(f"{what} is {value!r:.80}; write 0 or 1.")
    return flag


def read_size(value: Any) -> Any:
    """Read a height or width that may be written as text or float; others stay as they are."""
    try:
        return read_id(value, "")
    except CellDataError:
        return value
