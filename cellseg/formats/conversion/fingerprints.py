"""Return whether what an image is made from has changed since an earlier run."""

import hashlib
import json
from pathlib import Path
from typing import Any


def fingerprint_files(*files: Path, details: Any = None) -> str:
    """Return a text that changes when files do.

    Size and time of change stand for the content, so that no image is read for it.

    Args:
        files: The files; they need not exist.
        details: What else the image is made from, where one file holds the annotations of many
            images: anything that JSON can hold.

    Returns:
        A SHA-256 in hexadecimal digits.
    """
    states = []
    for path in files:
        state = path.stat() if path.exists() else None
        states.append([path.name, state and state.st_size, state and state.st_mtime_ns])
    text = json.dumps([states, details], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
