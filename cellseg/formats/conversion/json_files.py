"""Read JSON that others wrote."""

import json
from pathlib import Path
from typing import Any

from cellseg.errors import CellDataError


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        CellDataError: If it is absent, truncated, no JSON, or nested beyond reason.
    """
    if not path.is_file():
        raise CellDataError(f"{path}: no such file; put it there or correct the path.")
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CellDataError(
            f"{path}: cannot be read as JSON, it may be truncated or damaged ({error}); replace it "
            "by a whole copy."
        ) from error
