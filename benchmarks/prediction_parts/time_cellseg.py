"""Time Predictor on one image: array in, cells out. Runs in any checkout since version 0.1.0.

    python time_cellseg.py JOB    # a JSON object of what make_case of prediction.py makes

Prints one line of JSON: seconds of each call, cells, peak memory and, where asked for, the seconds
of the network's parts on the inputs that they had in that image. Writes the cells, if asked for.
"""

import inspect
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

job = json.loads(sys.argv[1])
os.environ["OMP_NUM_THREADS"] = str(job["threads"])
sys.path.insert(0, job["tree"])

import cv2  # noqa: E402  (after the number of threads is set)
import numpy as np  # noqa: E402
import torch  # noqa: E402


def main() -> None:
    """Predict the image again and again and print what that took."""
    import cellseg.inference
    from cellseg.inference import Predictor, TileOptions

    if not cellseg.inference.__file__.startswith(job["tree"]):
        raise SystemExit(f"cellseg was imported from {cellseg.inference.__file__}.")
    torch.set_num_threads(job["threads"])
    cv2.setNumThreads(job["threads"])
    image = np.load(job["image"])
    tiling = TileOptions(scale=job["scale"], whole=True)
    model = (job["config"], job["checkpoint"])
    options = {"device": "cpu", "score_thr": 0.5, "tiling": tiling, "amp": job["amp"]}
    predictor = Predictor(*model, **options)
    # Arrays were B, G, R before Predictor could be told.
    can_tell = "channel_order" in inspect.signature(Predictor.__call__).parameters
    order = {"channel_order": "bgr"} if can_tell else {}
    cells = predictor(image, **order)
    if job.get("cells_file"):
        write_cells(cells, job["cells_file"])
    seconds = time_calls(lambda: predictor(image, **order)) if job["repeats"] else []
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # kilobytes, on Linux
    # Last, since what the parts were given stays in memory.
    inputs = watch_parts(predictor.model) if job["parts"] else {}
    if inputs:
        predictor(image, **order)
    parts = time_parts(predictor.model, inputs)
    result = {"seconds": seconds, "cells": len(cells), "peak_gb": peak_gb, "parts": parts}
    sys.stdout.write(json.dumps(result) + "\n")


def write_cells(cells: Any, path: str) -> None:
    """Write the cells as JSON."""
    arrays = {name: getattr(cells, name).tolist() for name in ("boxes", "scores", "labels")}
    written = json.dumps({**arrays, "rles": list(cells.rles)}, default=bytes.decode)
    Path(path).write_text(written, "utf-8")


def time_calls(work: Callable[[], Any]) -> list[float]:
    """Return the seconds of each of several calls; a first one is not counted."""
    seconds = []
    for _ in range(job["repeats"] + 1):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return seconds[1:]


def watch_parts(model: Any) -> dict[str, list[tuple]]:
    """Note what the network's parts are given while an image is predicted."""
    inputs: dict[str, list[tuple]] = {"backbone": [], "bbox_head": [], "mask_head": []}
    heads = {name: getattr(model.roi_head, name) for name in ("bbox_head", "mask_head")}
    for name, part in {"backbone": model.backbone, **heads}.items():
        part.register_forward_pre_hook(lambda _, given, name=name: inputs[name].append(given))
    return inputs


def time_parts(model: Any, inputs: dict[str, list[tuple]]) -> dict[str, list[float]]:
    """Time backbone, neck and RPN, and the heads, alone on the inputs noted."""
    noted = {name: list(given) for name, given in inputs.items()}
    works = {
        "backbone, neck, RPN": lambda: [
            model.rpn_head(model.neck(model.backbone(*given))) for given in noted["backbone"]
        ],
        "box head": lambda: [model.roi_head.bbox_head(*given) for given in noted["bbox_head"]],
        "mask head": lambda: [model.roi_head.mask_head(*given) for given in noted["mask_head"]],
    }
    with torch.inference_mode():
        return {name: time_calls(work) for name, work in works.items()} if noted else {}


main()
