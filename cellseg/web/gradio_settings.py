"""Load Gradio, which the extra `web` brings, so that it keeps to itself."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from cellseg.errors import CellsegError

SETTINGS = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SHARE": "False",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_MCP_SERVER": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}
FOLDERS = ("GRADIO_TEMP_DIR", "GRADIO_EXAMPLES_CACHE", "HF_HOME")
"""Variables of the environment that keep Gradio to itself, and that say where it writes."""


def prepare_gradio(folder: Path) -> None:
    """Make Gradio, before its import, send no network requests and write into one folder.

    Args:
        folder: For everything that Gradio writes; its caller removes it.

    Raises:
        CellsegError: If Gradio is not installed.
    """
    if importlib.util.find_spec("gradio") is None:
        raise CellsegError(
            "The page needs Gradio, which is not installed; run `make install`, "
            "or `pip install gradio`"
        )
    os.environ.update(SETTINGS)
    for name in FOLDERS:
        os.environ[name] = str(folder)
