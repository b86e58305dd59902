"""Time NMS and RoIAlign beside mmcv's compiled ops, in one process and in turns.

python benchmarks/ops.py            # five minutes, in an environment with a compiled mmcv
python benchmarks/ops.py --quick    # small inputs once, written elsewhere

Without a compiled mmcv there is nothing to compare with: our own times stand alone. Writes
docs/ops.md. Times are processor seconds of one thread, which other programs disturb least.
"""

import itertools
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from frame import find_page, make_parser, spread, write_page, write_row, write_table
from torch import Tensor

import cellseg  # noqa: F401  (lets mmcv.ops be imported without compiled ops)
from cellseg import ops

ROI_CASES = ((10, 7, 0), (100, 7, 0), (1000, 7, 0), (1000, 14, 0), (4000, 7, 0), (512, 7, 1))
NMS_KINDS = ("around cells", "of several sizes", "at one place")
NMS_CASES = [*itertools.product((1000, 8000), NMS_KINDS), (40_000, "around cells")]
NMS_CASES.append((40_000, "at one place"))
ALONE = " mmcv's compiled ops are not installed here, so there is nothing to compare with."

TEXT = """Milliseconds of processor time of one thread, medians of {runs} runs with the range in
brackets; both sides take turns in one process. The ratio is our time to that of mmcv's compiled op:
below 1 ours is faster.{remark}

{table}

NMS at IoU 0.5 and 0.7 gets boxes in a 1024 px image: some 12 around each cell, as a proposal
network gives them; of sides from 8 to 512 px; or nearly the same box again and again. RoIAlign
gets one image's features of 256 channels at stride 4 (256 x 256) and boxes of 16 to 60 px;
"training" is one forward and one backward pass.

A call of ours has a fixed cost: NMS takes 0.1 to 0.2 ms and RoIAlign 1 to 2.5 ms however little
there is to do. So mmcv's ops are faster for fewer than some 300 boxes of NMS, where nearly all of
1,000 boxes overlap, and for a few RoIs on small features.
"""


class OpsWorkload(NamedTuple):
    """One row of the table."""

    name: str
    ours: Callable[[], Tensor]
    theirs: Callable[[], Tensor]


def main() -> None:
    """Time everything and write the table."""
    parser = make_parser(__doc__, "small inputs once")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    runs = 1 if args.quick else args.runs
    torch.set_num_threads(1)
    is_compiled = has_compiled_ops()
    rows = []
    for work in list_workloads(args.quick):
        rows.append(time_workload(work, runs, is_compiled))
        print(write_row(rows[-1]), flush=True)
    table = write_table(("", "ours, ms", "mmcv, ms", "ratio"), rows)
    body = TEXT.format(runs=runs, remark="" if is_compiled else ALONE, table=table)
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
            )
        )
    return workloads


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


def time_workload(work: OpsWorkload, runs: int, is_compiled: bool) -> list[str]:
    """Run both sides in turns, check that they agree, and make a row of the table."""
    if is_compiled:
        torch.testing.assert_close(work.ours(), work.theirs(), rtol=1e-4, atol=1e-4)
    both: list[tuple[float, float]] = []
    for _ in range(runs):
        ours = time_once(work.ours)
        both.append((ours, time_once(work.theirs) if is_compiled else float("nan")))
    ours, theirs = ([1000 * seconds for seconds in side] for side in zip(*both, strict=True))
    if not is_compiled:
        return [work.name, spread(ours, write_ms), "-", "-"]
    ratios = [a / b for a, b in both]
    return [work.name, *(spread(values, write_ms) for values in (ours, theirs, ratios))]


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
