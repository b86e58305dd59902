"""Rows of numbers: printed as soon as they are known, and kept in one JSON file."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from frame import describe_machine

from cellseg.fileio import write_atomically

FILE = "gpu.json"
_FAILURE_CHARS = 600
Value = TypeVar("Value")
Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What a part is told.

    Attributes:
        out: Folder that everything that is kept goes to.
        device: "cuda" or "cpu".
        small: Whether to run tiny networks on tiny images, to see that the code works.
        deadline: When to start nothing more, by time.monotonic().
        scratch: Folder for drawn images and work dirs, which is not brought back.
        train: Arguments of the training part: config, minutes, and overrides of the config.
    """

    out: Path
    device: str
    small: bool
    deadline: float
    scratch: Path
    train: tuple[str, float, tuple[str, ...]]

    def pick(self, small: Value, full: Value) -> Value:
        """Choose the small or the full size of something."""
        return small if self.small else full

    def seconds_left(self) -> float:
        """Return how long this part may still run."""
        return self.deadline - time.monotonic()


class Report:
    """The rows of one part in OUT/gpu.json, which holds those of the other parts too.

    Args:
        settings: Where the file lies, and when time is up.
        part: The part's name.
    """

    def __init__(self, settings: Settings, part: str) -> None:
        """Start the part without a row."""
        self.settings = settings
        self.path = settings.out / FILE
        self.part = part
        self._change(lambda content: content["parts"].update({part: {"rows": []}}))

    def add(self, name: str, **values: Any) -> None:
        """Print a row and keep it.

        Args:
            name: What was measured.
            **values: Numbers and texts; floats are rounded to four digits.
        """
        row = {"name": name, **{key: round_value(value) for key, value in values.items()}}
        shown = " ".join(f"{key}={_show(value)}" for key, value in row.items() if key != "name")
        sys.stdout.write(f"{self.part}: {name}: {shown}\n")
        sys.stdout.flush()
        self._change(lambda content: content["parts"][self.part]["rows"].append(row))

    def attempt(self, name: str, work: Callable[[], Row]) -> None:
        """Run a work and add what it returns; a failure becomes the row, and the part goes on.

        Args:
            name: The row's name.
            work: Returns the row's values. It is left out where no time is left.
        """
        if self.settings.seconds_left() <= 0:
            self.add(name, left_out="no time left")
            return
        try:
            values = work()
        except Exception as error:
            values = {"failure": f"{type(error).__name__}: {error}"[:_FAILURE_CHARS]}
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        self.add(name, **values)

    def close(self, seconds: float, failure: str = "") -> None:
        """Note how long the part took, and how it failed if it did."""
        closing: Row = {"seconds": round_value(seconds)}
        if failure:
            closing["failure"] = failure[-_FAILURE_CHARS:]
        self._change(lambda content: content["parts"][self.part].update(closing))

    def _change(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Apply a change to the file's content."""
        content = json.loads(self.path.read_text()) if self.path.exists() else new_content()
        content["parts"].setdefault(self.part, {"rows": []})
        change(content)
        write_atomically(self.path, json.dumps(content, indent=1) + "\n")


def new_content() -> dict[str, Any]:
    """Return the file's content before the first part."""
    return {"machine": f"{describe_gpu()}; {describe_machine()}", "parts": {}}


def describe_gpu() -> str:
    """Name the GPU, its memory and CUDA's version."""
    if not torch.cuda.is_available():
        return "no GPU"
    properties = torch.cuda.get_device_properties(0)
    return (
        f"{properties.name}, {properties.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}, "
        f"cuDNN {torch.backends.cudnn.version()}"
    )


def round_value(value: Any) -> Any:
    """Round floats to four significant digits, in lists and dicts too."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: round_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [round_value(inner) for inner in value]
    return value


def _show(value: Any) -> str:
    """Write a value for one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_show(inner)}" for key, inner in value.items()) + "}"
    return f"{value:g}" if isinstance(value, float) else str(value)
