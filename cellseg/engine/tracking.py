"""Send what training logs to MLflow or Weights & Biases, too: `cellseg train --track`."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from mmengine.config import Config, ConfigDict

from cellseg.errors import CellsegError

TRACKERS = {
    "mlflow": ("mlflow", "MLflowVisBackend"),
    "wandb": ("wandb", "WandbVisBackend"),
}
"""Each tracker with its package and MMEngine's backend."""


def enable_tracking(config: Config, tracker: str) -> None:
    """Add a tracker to the backends of a config's visualizer.

    MLflow writes to the server that MLFLOW_TRACKING_URI names, else into `mlruns` of the work
    folder. Weights & Biases obeys its own environment variables, such as WANDB_MODE=offline.

    Args:
        config: The config, which is changed.
        tracker: 'mlflow' or 'wandb'.

    Raises:
        CellsegError: If the package is not installed, or the config has no visualizer.
    """
    package, kind = TRACKERS[tracker]
    if importlib.util.find_spec(package) is None:
        raise CellsegError(f"--track {tracker} needs its package: pip install {package}")
    visualizer = config.get("visualizer")
    if visualizer is None:
        raise CellsegError(
            f"--track needs a visualizer in {config.filename}, such as that of "
            "configs/_base_/cell_runtime.py."
        )
    backends = list(visualizer.get("vis_backends") or [])
    if any(backend.get("type") == kind for backend in backends):
        return
    work_dir = Path(config.work_dir).absolute()
    name = work_dir.parent.name if work_dir.name == "run" else work_dir.name
    if tracker == "mlflow":
        uri = os.environ.get("MLFLOW_TRACKING_URI") or (work_dir / "mlruns").as_uri()
        own = ConfigDict(type=kind, exp_name="cellseg", run_name=name, tracking_uri=uri)
        if uri.startswith("file:"):  # newer MLflow asks for consent to what it writes into files
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    else:
        own = ConfigDict(type=kind, init_kwargs=dict(project="cellseg", name=name))
        own.init_kwargs.dir = str(work_dir)
    visualizer.vis_backends = [*backends, own]
