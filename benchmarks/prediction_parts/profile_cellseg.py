"""Profile the prediction of one image, and count what its network computes.

    python profile_cellseg.py JOB    # a JSON object of what make_case of prediction.py makes

Prints one line of JSON: milliseconds of processor time of each part in each call, FLOPs of the
network's parts, and the FLOPs a second that this CPU reaches in a matrix product and in a
convolution.
"""

import json
import os
import sys
import time
from math import prod
from pathlib import Path
from typing import Any

job = json.loads(sys.argv[1])
os.environ["OMP_NUM_THREADS"] = str(job["threads"])
sys.path[:0] = [job["tree"], str(Path(__file__).parents[1])]

import cv2  # noqa: E402  (after the number of threads is set)
import numpy as np  # noqa: E402
import torch  # noqa: E402
from timing import PartClock, time_once  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count  # noqa: E402

from cellseg.inference import Predictor, TileOptions  # noqa: E402

FUSED = {
    "_convolution_pointwise": lambda x, w, *_, out_shape, **__: conv_flop_count(x, w, out_shape),
    "_linear_pointwise": lambda x, w, *_, **__: 2 * prod(x) * w[0],
}


def main() -> None:
    """Predict the image again and again, part by part."""
    torch.set_num_threads(job["threads"])
    cv2.setNumThreads(job["threads"])
    image = np.load(job["image"])
    tiling = TileOptions(scale=job["scale"], whole=True)
    predictor = Predictor(job["config"], job["checkpoint"], device="cpu", tiling=tiling)
    flops = count_flops(predictor, image)
    clock, heads = PartClock("cpu", time.process_time), predictor.model.roi_head
    for title, part in list_network(predictor.model).items():
        clock.watch(part, "forward", title)
    clock.watch(predictor.model.rpn_head, "predict_by_feat", "proposals from scores: NMS")
    clock.watch(heads.bbox_roi_extractor, "forward", "RoIAlign of proposals")
    clock.watch(heads.bbox_head, "predict_by_feat", "cells from proposals: NMS")
    clock.watch(heads.mask_roi_extractor, "forward", "RoIAlign of cells")
    clock.watch(heads.mask_head, "predict_by_feat", "masks to run lengths")
    calls = [
        clock.run(lambda: predictor(image, channel_order="bgr")) for _ in range(job["repeats"] + 1)
    ][1:]
    milliseconds = {title: [call[title] for call in calls] for title in calls[0]}
    result = {"ms": milliseconds, "flops": flops, "rates": measure_rates()}
    sys.stdout.write(json.dumps(result) + "\n")


def list_network(model: Any) -> dict[str, Any]:
    """List the parts of the network, which convolve and multiply."""
    parts = {"backbone": model.backbone, "neck": model.neck, "RPN": model.rpn_head}
    return parts | {"box head": model.roi_head.bbox_head, "mask head": model.roi_head.mask_head}


def count_flops(predictor: Any, image: Any) -> dict[str, int]:
    """Count the FLOPs of each part of the network in one prediction."""
    given: dict[str, list] = {}
    hooks = [
        part.register_forward_pre_hook(
            lambda _, inputs, title=title: given.setdefault(title, []).append(inputs)
        )
        for title, part in list_network(predictor.model).items()
    ]
    predictor(image, channel_order="bgr")
    for hook in hooks:
        hook.remove()
    formulas = {getattr(torch.ops.mkldnn, name): count for name, count in FUSED.items()}
    flops = {}
    for title, part in list_network(predictor.model).items():
        counter = FlopCounterMode(display=False, custom_mapping=formulas)
        with torch.inference_mode(), counter:
            for inputs in given.get(title, []):
                part(*inputs)
        flops[title] = counter.get_total_flops()
    return flops


@torch.inference_mode()
def measure_rates() -> dict[str, float]:
    """Return FLOPs a second of a matrix product and of a 3 x 3 convolution, the best of ten."""
    matrix = torch.randn(1024, 1024)
    convolution = torch.nn.Conv2d(128, 128, 3, padding=1).to(memory_format=torch.channels_last)
    features = torch.randn(1, 128, 128, 128).to(memory_format=torch.channels_last)
    works = {
        "matrix product": (lambda: matrix @ matrix, 2 * 1024**3),
        "convolution": (lambda: convolution(features), 2 * 9 * 128**2 * 128**2),
    }
    return {
        name: flops / min(time_once(work, now=time.process_time) for _ in range(10))
        for name, (work, flops) in works.items()
    }


main()
