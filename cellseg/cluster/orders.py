"""What a worker is told: the run's order, sent with each unit, and the units; what it answers."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cellseg
from cellseg.cluster.parts import Range
from cellseg.inference.image_list import InputImage
from cellseg.inference.image_work import ImageOutcome
from cellseg.inference.output_folder import OutputOptions
from cellseg.inference.predictor_recipe import PredictorRecipe
from cellseg.inference.scale_choice import ScaleChoice

UNITS_FOLDER = ".units"
"""Where a run keeps its finished units, inside the folder for the outputs."""
_WATCHED = ("torch", "onedl-mmdetection", "numpy")


@dataclass(frozen=True, eq=False)
class WorkOrder:
    """What is alike for all units of a run.

    Attributes:
        recipe: How to build the predictor.
        options: What to write, and where.
        checksum: Of everything that decides the cells, the weights among them.
        versions: Versions that a worker must have, by the package's name.
        token: Names the run; the file `run` in the units' folder holds it while the run lasts.
        cwd: The folder that relative paths start from.
        scratch: Folder on the worker for copies of images elsewhere; the system's when None.
        scratch_gib: Largest copy of a worker.
        threads: Threads of each worker; its own number when None.
    """

    recipe: PredictorRecipe
    options: OutputOptions
    checksum: str
    versions: dict[str, str]
    token: str
    cwd: str = "."
    scratch: Path | None = None
    scratch_gib: float = 100.0
    threads: int | None = None

    def __eq__(self, other: object) -> bool:
        """Return whether both belong to the same run; each unit brings a copy of its own."""
        return isinstance(other, WorkOrder) and other.token == self.token

    def __hash__(self) -> int:
        """Sum up the run."""
        return hash(self.token)

    @property
    def units_folder(self) -> Path:
        """Where finished units are kept."""
        return self.options.folder / UNITS_FOLDER

    @property
    def token_path(self) -> Path:
        """The file that holds the run's token while it lasts."""
        return self.units_folder / "run"


@dataclass(frozen=True)
class Unit:
    """A piece of work: a whole image, some batches of a large one, or the merging of these.

    Attributes:
        kind: "image", "part" or "merge".
        image: The image.
        most_batches: Of "image": an image of more batches is only planned.
        choice: The image's scale, where it is chosen already.
        part: Of "part": which batches.
        parts: Of "merge": all parts of the image.
        tries: How many workers could not even begin it.
    """

    kind: str
    image: InputImage
    most_batches: int = 0
    choice: ScaleChoice | None = None
    part: Range = (0, 0)
    parts: tuple[Range, ...] = ()
    tries: int = 0


@dataclass(frozen=True)
class LargeImage:
    """An image that is done in parts.

    Attributes:
        choice: Its scale.
        num_batches: How many batches of tiles it has.
        done: Parts that an earlier run finished.
        megapixels: Its size.
    """

    choice: ScaleChoice | None
    num_batches: int
    done: tuple[Range, ...]
    megapixels: float


@dataclass
class UnitResult:
    """What a worker answers.

    Attributes:
        worker: The worker's host and name.
        seconds: How long it worked.
        batches: How many batches went through the network.
        outcome: What became of the image, where the unit ends it.
        large: The plan of an image that is to be done in parts.
        refusal: Why this worker cannot be used; None where it can.
        address: The address of a worker that refuses.
    """

    worker: str
    seconds: float = 0.0
    batches: int = 0
    outcome: ImageOutcome | None = None
    large: LargeImage | None = None
    refusal: str | None = None
    address: str = ""


@dataclass(frozen=True)
class WorkerFacts:
    """What a worker tells of itself when a run starts.

    Attributes:
        worker: The worker's host and name.
        threads: Threads that it computes with.
        device: What it computes on.
        refusal: Why it cannot be used; None where it can.
    """

    worker: str
    threads: int = 1
    device: str = "cpu"
    refusal: str | None = None


def list_versions() -> dict[str, str]:
    """List the versions of whatever decides the cells."""
    found = {name: importlib.metadata.version(name) for name in _WATCHED}
    python = ".".join(platform.python_version_tuple()[:2])
    return {"cellseg": cellseg.__version__, **found, "Python": python}


def sum_up(settings: dict[str, Any]) -> str:
    """Sum up the settings that decide the cells."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()
