"""cellseg: instance segmentation of dense cell images on top of MMDetection.

Importing the package is cheap: it loads neither torch nor MMDetection. It makes sure that
MMDetection works without mmcv's compiled ops, and that the project's parts are registered with
MMDetection as soon as it looks for them (see `import_hooks`). That is what
`custom_imports = dict(imports=["cellseg"])` in the configs is for.
"""

import importlib
import sys
from typing import Any

from cellseg import import_hooks

__version__ = "0.2.0"

_PACKAGES = (
    "analysis",
    "datasets",
    "engine",
    "formats",
    "images",
    "inference",
    "models",
    "ops",
    "report",
    "scoring",
    "structures",
    "visualization",
    "web",
)

# What a script needs most, each with the module that it comes from.
_NAMES = {
    "Cells": "cellseg.structures.cells",
    "Predictor": "cellseg.inference.predictor",
    "open_image": "cellseg.images.opening",
    "score_label_maps": "cellseg.scoring.label_maps",
}

__all__ = ["Cells", "Predictor", "__version__", "open_image", "score_label_maps", *_PACKAGES]

import_hooks.install()
if "mmengine" in sys.modules:  # a config's custom_imports, or a program that builds on MMDetection
    importlib.import_module("cellseg.registration")


def __getattr__(name: str) -> Any:
    """Import a subpackage, or a name from one, the first time it is asked for."""
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    if name in _PACKAGES:
        return importlib.import_module(f"cellseg.{name}")
    raise AttributeError(f"module 'cellseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the names of the package, with subpackages that are not imported yet."""
    return sorted({*globals(), *__all__})
