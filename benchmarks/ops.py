"""Time NMS and RoIAlign beside mmcv's compiled ops, in one process and in turns.

python benchmarks/ops.py            # five minutes, in an environment with a compiled mmcv
python benchmarks/ops.py --quick    # small inputs once, written elsewhere

Without a compiled mmcv there is nothing to compare with: our own times stand alone. Boxes are
drawn, or those of the model nuclei-he in `--images`. Writes docs/ops.md. Times are processor
seconds of one thread, which other programs disturb least.
"""

import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from frame import ROOT, find_page, make_parser, spread, write_page, write_row, write_table
from torch import Tensor

import cellseg  # noqa: F401  (lets mmcv.ops be imported without compiled ops)
from cellseg import ops
from cellseg.images import read_cell_image
from cellseg.inference import Predictor, TileOptions

ROI_CASES = ((10, 7, 0), (100, 7, 0), (1000, 7, 0), (1000, 14, 0), (4000, 7, 0), (512, 7, 1))
NMS_KINDS = ("around cells", "of several sizes", "at one place")
NMS_CASES = [*itertools.product((1000, 8000), NMS_KINDS), (40_000, "around cells")]
NMS_CASES.append((40_000, "at one place"))
EXAMPLE = ROOT / "data" / "examples" / "val" / "ae570a676961" / "image.tif"
SCALE = 1.6  # of the model nuclei-he
Level = tuple[Tensor, Tensor, float]  # features, RoIs, and feature pixels per pixel
ALONE = " mmcv's compiled ops are not installed here, so there is nothing to compare with."

TEXT = """Milliseconds of processor time of one thread, medians of {runs} runs with the range in
brackets; both sides take turns in one process. The ratio is our time to that of mmcv's compiled op:
below 1 ours is faster.{remark}

{table}

NMS at IoU 0.5 and 0.7 gets boxes in a 1024 px image: some 12 around each cell, as a proposal
network gives them; of sides from 8 to 512 px; or nearly the same box again and again. RoIAlign
gets one image's features of 256 channels at stride 4 (256 x 256) and boxes of 16 to 60 px;
"training" is one forward and one backward pass. "nuclei-he" samples the four levels of that model's
features for its own proposals and for the cells that it keeps, in an image at scale {scale};
ours gets them channels-last, as the network makes them, mmcv contiguous.

The floor is the time to read each feature that a box covers once and to write the result once, at
the rate of a copy in this process, {rate} GB/s.

A call of ours has a fixed cost: NMS takes 0.1 to 0.2 ms and RoIAlign 1 to 2.5 ms however little
there is to do. So mmcv's ops are faster for fewer than some 300 boxes of NMS, where nearly all of
1,000 boxes overlap, and for a few RoIs on small features.
"""


class OpsWorkload(NamedTuple):
    """One row of the table."""

    name: str
    ours: Callable[[], Tensor]
    theirs: Callable[[], Tensor]
    floor_bytes: int = 0  # read and written at least; 0 where not counted


def main() -> None:
    """Time everything and write the table."""
    parser = make_parser(__doc__, "small inputs once")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help="print rows with this text; write no page")
    parser.add_argument("--images", nargs="+", type=Path, default=[EXAMPLE], help="for nuclei-he")
    args = parser.parse_args()
    runs = 1 if args.quick else args.runs
    torch.set_num_threads(1)
    is_compiled = has_compiled_ops()
    rows, rate = [], measure_copy_rate()
    works = [*list_workloads(args.quick), *list_trained_workloads(args.images)]
    for work in (work for work in works if args.only in work.name):
        rows.append(time_workload(work, runs, is_compiled, rate))
        print(write_row(rows[-1]), flush=True)
    if args.only:
        print(f"Copies take {write_ms(rate / 1e9)} GB/s.")
        return
    table = write_table(("", "ours, ms", "mmcv, ms", "ratio", "floor, ms"), rows)
    body = TEXT.format(
        runs=runs,
        remark="" if is_compiled else ALONE,
        table=table,
        scale=SCALE,
        rate=write_ms(rate / 1e9),
    )
    page = find_page(args, "ops")
    write_page(page, "NMS and RoIAlign without a compiler", "ops.py", body)


def has_compiled_ops() -> bool:
    """Return whether mmcv has ops of its own."""
    import mmcv._ext

    return not mmcv._ext.__file__.endswith(".py")


def list_workloads(is_quick: bool) -> list[OpsWorkload]:
    """Draw the inputs; a hundredth of them for a quick run."""
    from mmcv import ops as theirs

    workloads = []
    for (number, kind), threshold in itertools.product(NMS_CASES, (0.5, 0.7)):
        boxes, scores = draw_boxes(number // 100 if is_quick else number, kind)
        workloads.append(
            OpsWorkload(
                f"NMS at {threshold}, {len(boxes):,} boxes {kind}",
                lambda b=boxes, s=scores, t=threshold: ops.nms(b, s, t),
                lambda b=boxes, s=scores, t=threshold: theirs.nms(b, s, t)[1],
            )
        )
    features = torch.randn(1, 256, 256, 256, generator=torch.Generator().manual_seed(0))
    features = features[:, :8].contiguous() if is_quick else features
    for number, side, is_trained in ROI_CASES:
        number = max(number // 100, 1) if is_quick else number
        boxes = draw_boxes(number)[0]
        rois = torch.cat([torch.zeros(number, 1), boxes], dim=1)
        name = f"RoIAlign, {number:,} boxes, {side} x {side}, "
        run = run_training if is_trained else run_prediction
        workloads.append(
            OpsWorkload(
                name + ("training" if is_trained else "prediction"),
                lambda f=run, r=rois, s=side: f(ops.roi_align, features, r, s),
                lambda f=run, r=rois, s=side: f(theirs.roi_align, features, r, s),
                0 if is_trained else count_bytes([(features, rois, 0.25)], side),
            )
        )
    return workloads


def list_trained_workloads(paths: list[Path]) -> list[OpsWorkload]:
    """Sample what nuclei-he samples in images: features of its proposals, and of its cells."""
    from mmcv import ops as theirs

    tiling = TileOptions(scale=SCALE, whole=True)
    predictor = Predictor("nuclei-he", device="cpu", tiling=tiling)
    heads = predictor.model.roi_head
    extractors = {"proposals": heads.bbox_roi_extractor, "cells": heads.mask_roi_extractor}
    given: list[tuple[str, tuple[tuple[Tensor, ...], Tensor]]] = []
    for name, extractor in extractors.items():
        extractor.register_forward_pre_hook(
            lambda _, inputs, name=name: given.append((name, inputs))
        )
    workloads = []
    for path in paths:
        predictor(read_cell_image(path), channel_order="bgr")
    for name, (features, rois) in given:
        extractor = extractors[name]
        side = extractor.roi_layers[0].output_size[0]
        own = extractor.map_roi_levels(rois, len(features))
        levels = [
            (level.clone(), rois[own == number].clone(), 1 / extractor.featmap_strides[number])
            for number, level in enumerate(features)
            if (own == number).any()
        ]
        plain = [(level.contiguous(), boxes, scale) for level, boxes, scale in levels]
        workloads.append(
            OpsWorkload(
                f"RoIAlign, nuclei-he, {len(rois):,} {name}, {side} x {side}, prediction",
                lambda p=levels, s=side: sample_levels(ops.roi_align, p, s),
                lambda p=plain, s=side: sample_levels(theirs.roi_align, p, s),
                count_bytes(levels, side),
            )
        )
    return workloads


def sample_levels(align: Callable[..., Tensor], levels: list[Level], side: int) -> Tensor:
    """Sample the RoIs of each level without gradients."""
    with torch.no_grad():
        return torch.cat(
            [align(level, rois, (side, side), scale, 0) for level, rois, scale in levels]
        )


def count_bytes(levels: list[Level], side: int) -> int:
    """Count the bytes of the features that RoIs cover, each once, and of the result."""
    total = 0
    for features, rois, scale in levels:
        covered = np.zeros(features.shape[2:], dtype=bool)
        for x1, y1, x2, y2 in (rois[:, 1:] * scale).tolist():
            covered[int(y1) : math.ceil(y2), int(x1) : math.ceil(x2)] = True
        pixels = int(covered.sum()) + len(rois) * side**2
        total += pixels * features.shape[1] * features.element_size()
    return total


def measure_copy_rate() -> float:
    """Return the bytes a second that a copy of 256 MB reads and writes, the best of five."""
    source = torch.ones(64 * 2**20)
    target = torch.empty_like(source)
    return 2 * 4 * len(source) / min(time_once(lambda: target.copy_(source)) for _ in range(5))


def draw_boxes(number: int, kind: str = "around cells") -> tuple[Tensor, Tensor]:
    """Draw boxes (N, 4) within 1024 px, and scores (N,) without ties."""
    rng = np.random.default_rng(0)
    cells = max(number // 12, 1)
    own = rng.integers(0, cells, number)
    centers = rng.uniform(0, 1024, (cells, 2))[own] + rng.normal(0, 3, (number, 2))
    sides = rng.uniform(16, 60, (cells, 2))[own] * np.exp(rng.normal(0, 0.15, (number, 2)))
    if kind == "at one place":
        centers, sides = rng.normal(512, 3, (number, 2)), rng.normal(40, 3, (number, 2))
    if kind == "of several sizes":
        centers = rng.uniform(0, 1024, (number, 2))
        sides = 2 ** rng.uniform(3, 9, (number, 1)) * np.exp(rng.normal(0, 0.2, (number, 2)))
    boxes = np.concatenate([centers - sides / 2, centers + sides / 2], axis=1)
    scores = rng.permutation(number) / number
    return torch.from_numpy(boxes).float().clamp(0, 1024), torch.from_numpy(scores).float()


def run_prediction(
    align: Callable[..., Tensor], features: Tensor, rois: Tensor, side: int
) -> Tensor:
    """Sample RoIs without gradients."""
    with torch.no_grad():
        return align(features, rois, (side, side), 0.25, 0)


def run_training(align: Callable[..., Tensor], features: Tensor, rois: Tensor, side: int) -> Tensor:
    """Sample RoIs and send a gradient back to the features."""
    features = features.detach().requires_grad_()
    values = align(features, rois, (side, side), 0.25, 0)
    return torch.autograd.grad(values, features, values.detach())[0]


def time_workload(work: OpsWorkload, runs: int, is_compiled: bool, rate: float) -> list[str]:
    """Run both sides in turns, check that they agree, and make a row of the table."""
    if is_compiled:
        torch.testing.assert_close(work.ours(), work.theirs(), rtol=1e-4, atol=1e-4)
    both: list[tuple[float, float]] = []
    for _ in range(runs):
        ours = time_once(work.ours)
        both.append((ours, time_once(work.theirs) if is_compiled else float("nan")))
    ours, theirs = ([1000 * seconds for seconds in side] for side in zip(*both, strict=True))
    floor = write_ms(1000 * work.floor_bytes / rate) if work.floor_bytes else ""
    if not is_compiled:
        return [work.name, spread(ours, write_ms), "-", "-", floor]
    ratios = [a / b for a, b in both]
    return [work.name, *(spread(values, write_ms) for values in (ours, theirs, ratios)), floor]


def time_once(function: Callable[[], Tensor]) -> float:
    """Return the processor seconds of a call, as a mean of as many as fit into 50 ms."""
    calls, start = 0, time.process_time()
    while calls == 0 or time.process_time() - start < 0.05:
        function()
        calls += 1
    return (time.process_time() - start) / calls


def write_ms(value: float) -> str:
    """Write a number to three digits, with separators of thousands."""
    return f"{float(f'{value:.3g}'):,.10g}"


if __name__ == "__main__":
    main()
