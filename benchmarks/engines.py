"""Time a model's network in torch, as this project runs it, and in OpenVINO and onnxruntime.

    python benchmarks/engines.py                                      # nuclei-he, 2 minutes
    python benchmarks/engines.py --config CONFIG --checkpoint FILE    # another model

Needs openvino, nncf, onnx and onnxruntime, which nothing else here does. Backbone, neck and RPN get
a drawn image of 1000 x 1000 px, the mask head the features of the cells found in it; int8 is
calibrated with data/examples. Prints a table for docs/performance.md: milliseconds of processor
time of one thread, the engines in turns, and the largest difference from torch's float32.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import onnxruntime
import openvino
import torch
from frame import ROOT, describe_machine, spread, write_table
from torch import Tensor, nn

from cellseg.datasets.synthetic import draw_cell_image
from cellseg.images import read_cell_image
from cellseg.inference import Predictor, TileOptions
from cellseg.inference.detector import build_detector, fold_batch_norms
from cellseg.inference.model_source import open_model

ONE_THREAD = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}


class Trunk(nn.Module):
    """Backbone, neck and RPN of a detector: features, scores and deltas of all levels."""

    def __init__(self, model: Any) -> None:
        """Take the parts of a detector."""
        super().__init__()
        self.backbone, self.neck, self.rpn_head = model.backbone, model.neck, model.rpn_head

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map images (B, 3, h, w) to the values that proposals and RoIs are made of."""
        features = self.neck(self.backbone(images))
        scores, deltas = self.rpn_head(features)
        return (*features, *scores, *deltas)


def main() -> None:
    """Time both parts in every engine, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--config", default="nuclei-he", help="or the name of a model")
    parser.add_argument("--checkpoint", help="of a config")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    tiling = TileOptions(scale=1.0, whole=True)
    predictor = Predictor(args.config, args.checkpoint, device="cpu", tiling=tiling)
    source = open_model(args.config, args.checkpoint)
    plain = build_detector(source.config, source.path, source.checkpoint)
    plain = fold_batch_norms(plain).eval()  # engines fuse activations by themselves
    image, _ = draw_cell_image(np.random.default_rng(0), 1000, 1000, 1000)
    paths = sorted((ROOT / "data" / "examples").rglob("image.tif"))
    images = [image, *map(read_cell_image, paths)]
    seen = zip(*(record(predictor, image) for image in images), strict=True)
    ours = (Trunk(predictor.model), predictor.model.roi_head.mask_head)
    exported = (Trunk(plain), plain.roi_head.mask_head)
    rows = []
    for title, *parts in zip(("backbone, neck, RPN", "mask head"), ours, exported, seen):  # noqa: B905
        rows += [[title, *row] for row in compare(list_engines(*parts), args.repeats)]
    print(f"{source.name}, {describe_machine()}")
    print(write_table(("part", "engine", "ms [range]", "of torch", "difference"), rows))


def record(predictor: Predictor, image: Any) -> list[Tensor]:
    """Return what backbone and mask head get of an image (H, W, 3) B, G, R with cells."""
    parts, given = (predictor.model.backbone, predictor.model.roi_head.mask_head), []
    hooks = [
        part.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].clone()))
        for part in parts
    ]
    predictor(image, channel_order="bgr")
    for hook in hooks:
        hook.remove()
    return [values.clone().contiguous() for values in given]


def list_engines(
    ours: nn.Module, exported: nn.Module, given: tuple[Tensor, ...]
) -> dict[str, Callable[[], Any]]:
    """Build each engine's way to compute a part of given[0]; the others calibrate int8."""
    x, last = given[0], given[0].contiguous(memory_format=torch.channels_last)

    def run_amp() -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return ours(last)

    runs = {"torch, float32": lambda: ours(last), "torch, bfloat16": run_amp}
    shape = (1, 3, -1, -1) if x.shape[1] == 3 else (-1, *x.shape[1:])
    model = openvino.convert_model(exported, example_input=x, input=[shape])
    images = nncf.Dataset([values.numpy() for values in given[1:]])
    quantized = nncf.quantize(model, images, subset_size=len(given) - 1)
    for name, network, precision in (
        ("float32", model, "f32"),
        ("bfloat16", model, "bf16"),
        ("int8", quantized, "f32"),
    ):
        network.reshape(tuple(x.shape))
        options = {**ONE_THREAD, "INFERENCE_PRECISION_HINT": precision}
        compiled = openvino.compile_model(network, "CPU", options)
        runs[f"OpenVINO, {name}"] = lambda run=compiled: list(run(x.numpy()).values())
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.onnx"
        torch.onnx.export(exported, (x,), path, input_names=["x"], dynamo=False)
        session = onnxruntime.InferenceSession(path, settings, ["CPUExecutionProvider"])
    runs["onnxruntime, float32"] = lambda: session.run(None, {"x": x.numpy()})
    return runs


def compare(runs: dict[str, Callable[[], Any]], repeats: int) -> list[list[str]]:
    """Run engines in turns; makes a row of each, beside the first."""
    milliseconds: dict[str, list[float]] = {name: [] for name in runs}
    with torch.inference_mode():
        values = {name: as_arrays(run()) for name, run in runs.items()}
        for name in [*runs] * repeats:
            begin = time.process_time()
            runs[name]()
            milliseconds[name].append(1000 * (time.process_time() - begin))
    expected, first = (next(iter(found.values())) for found in (values, milliseconds))
    rows = []
    for name, taken in milliseconds.items():
        pairs = zip(values[name], expected, strict=True)
        error = max(float(np.abs(one - two).max() / np.abs(two).max()) for one, two in pairs)
        ratio = np.median(taken) / np.median(first)
        rows.append([name, spread(taken), f"{ratio:.2f}", f"{error:.1g}"])
    return rows


def as_arrays(values: Any) -> list[Any]:
    """Return the values of a part as float32 arrays, whichever engine they are from."""
    values = [values] if isinstance(values, Tensor) else values
    return [torch.as_tensor(one).float().numpy() for one in values]


if __name__ == "__main__":
    main()
