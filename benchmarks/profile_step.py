"""Show where the time of a training step and of a test run goes.

python benchmarks/profile_step.py                    # R18, 1024 px, 400 cells, batch 2
python benchmarks/profile_step.py --quick            # seconds, written elsewhere
python benchmarks/profile_step.py --config mask-rcnn_r101_small-anchor --cells 1000 --out r101.md

Time is assigned to the innermost named part it was spent in; what has no name of its own, such as
the backward pass, is assigned by its operator. Writes docs/profile.md.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

from dense.scenes import Scene
from dense.workloads_data import prepare_pipeline
from dense.workloads_model import prepare_step, prepare_test_step
from frame import DRAWN, find_page, make_parser, write_page, write_table
from mmcv.ops import RoIAlign
from mmdet.models.dense_heads import AnchorHead, RPNHead
from mmdet.models.roi_heads import mask_heads
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.task_modules.samplers import BaseSampler
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from timing import time_once
from torch.autograd.profiler import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from cellseg.models import CroppedMaskHead, SparseMaxIoUAssigner
from cellseg.models.roi_align_rows import RowRoIAlign

NETWORK = "network"
OPTIMIZER = "optimizer"
STEP = "backward pass and optimizer"
OTHER = "other operators"
PYTHON = "Python between operators"
PARTS: list[tuple[type, str, str]] = [
    (AnchorHead, "get_anchors", "anchors"),
    (AnchorHead, "get_targets", "RPN targets, except the assignment"),
    (SparseMaxIoUAssigner, "assign", "assignment (RPN and RoI heads)"),
    (BaseSampler, "sample", "sampling"),
    (RPNHead, "_predict_by_feat_single", "proposals: decode and NMS"),
    (BBoxHead, "get_targets", "box targets"),
    (BBoxHead, "_predict_by_feat_single", "detections: decode and NMS"),
    (mask_heads.FCNMaskHead, "get_targets", "mask targets"),
    (CroppedMaskHead, "predict_by_feat", "paste and RLE"),
    (RoIAlign, "forward", "RoIAlign"),
    (RowRoIAlign, "forward", "RoIAlign"),
    (AnchorHead, "loss_by_feat", "losses"),
    (BBoxHead, "loss", "losses"),
    (mask_heads.FCNMaskHead, "loss_and_target", "losses"),
    (OptimWrapper, "update_params", STEP),  # split by its operators
]
OPERATORS = [  # parts of an operator's name, and what it belongs to; the first that fits
    *((word, OPTIMIZER) for word in ("Optimizer.", "foreach")),  # the latter clip gradients
    ("convolution", NETWORK),
    ("RoIAlign", "RoIAlign"),
    *((word, NETWORK) for word in ("mkldnn", "slow_conv", "mm", "linear", "batch_norm", "relu")),
    *((word, NETWORK) for word in ("threshold", "max_pool", "upsample", "_conv")),
    ("loss", "losses"),
    ("binary_cross_entropy", "losses"),
]


def main() -> None:
    """Profile a training step and a test run, and write both tables."""
    parser = make_parser(__doc__, "8 cells on 128 px")
    parser.add_argument("--config", default="mask-rcnn_r18_small-anchor", help="of configs/cell")
    parser.add_argument("--cells", type=int, default=400)
    parser.add_argument("--size-px", type=int, default=1024)
    parser.add_argument("--side", default="ours", choices=["ours", "ours-other-order", "stock"])
    parser.add_argument("--drawn", type=Path, default=DRAWN, help="folder of drawn images")
    args = parser.parse_args()
    if args.quick:
        args.cells, args.size_px = 8, 128
    MMLogger.get_instance("profile", log_level="ERROR")  # no line for each weight that is set
    scene = Scene(args.cells, args.size_px, 2, args.drawn)
    tables = []
    for prepare in (prepare_step, prepare_test_step):
        run = prepare(args.config, scene, args.side)
        run()
        tables.append(tabulate(*profile_run(run)))
    body = TEXT.format(step=tables[0], test=tables[1], data_s=time_data(scene, args.side))
    setting = (
        f"`{args.config}`, side {args.side}, {args.cells} drawn cells per image of "
        f"{args.size_px} x {args.size_px} pixels, second run in its process, under torch's profiler"
    )
    page = find_page(args, "profile")
    print(write_page(page, "Where the time of a step goes", "profile_step.py", body, setting))


def time_data(scene: Scene, side: str) -> float:
    """Time the training pipeline of a scene's images, in seconds."""
    loads = [prepare_pipeline(scene, side, number) for number in range(scene.images)]
    return time_once(lambda: [load() for load in loads])


def profile_run(run: Callable[[], Any]) -> tuple[dict[str, float], float]:
    """Run a workload under torch's profiler.

    Returns:
        Seconds by part, and the wall time in seconds.
    """
    with ExitStack() as stack:
        for owner, method, name in PARTS:
            stack.enter_context(_named(owner, method, name))
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            wall = time_once(run)
    seconds: dict[str, float] = defaultdict(float)
    for event in profiler.events():
        seconds[name_of(event)] += event.self_cpu_time_total / 1e6
    seconds[PYTHON] += max(wall - sum(seconds.values()), 0.0)
    return dict(seconds), wall


@contextmanager
def _named(owner: type, method: str, name: str) -> Iterator[None]:
    """Name the time spent in a method."""
    original = getattr(owner, method)

    @wraps(original)
    def named(*args: Any, **kwargs: Any) -> Any:
        with record_function(f"part: {name}"):
            return original(*args, **kwargs)

    with patch.object(owner, method, named):
        yield


def name_of(event: FunctionEvent) -> str:
    """Find the part that an operator belongs to."""
    names = _names_upwards(event)
    parts = [name.removeprefix("part: ") for name in names if name.startswith("part: ")]
    if parts and parts[0] != STEP:
        own = _operator_part(names)
        return own if own in (NETWORK, "RoIAlign") and parts[0] == "losses" else parts[0]
    return _operator_part(names)


def _names_upwards(event: FunctionEvent) -> list[str]:
    """List the names of an event and of all that it lies in, innermost first."""
    names = []
    while event is not None:
        names.append(event.name)
        event = event.cpu_parent
    return names


def _operator_part(names: list[str]) -> str:
    """Find the part of an operator that lies in no named part, outermost name first."""
    for name in reversed([name for name in names if not name.startswith("part: ")]):
        for word, part in OPERATORS:
            if word.lower() in name.lower():
                return part
    return OTHER


def tabulate(seconds: dict[str, float], wall: float) -> str:
    """Write the parts by their share, and everything but the network."""
    rows = sorted(seconds.items(), key=lambda item: -item[1])
    rest = wall - seconds.get(NETWORK, 0.0)
    shares = [[name, f"{spent:.3f}", f"{100 * spent / wall:.1f}"] for name, spent in rows]
    shares += [["all", f"{wall:.3f}", "100"]]
    shares += [["everything but the network", f"{rest:.3f}", f"{100 * rest / wall:.1f}"]]
    return write_table(["part", "s", "%"], shares)


TEXT = """## A training step, 2 images

{step}

## A test run, 1 image

{test}

*Network* is convolutions, matrix products, norms, activations and pooling, forward and backward;
clipping the gradients is part of the *optimizer*. Weights are random; the test run keeps as many
detections as there are cells. Loading 2 images takes {data_s:.3f} s in a data loader's process,
beside the step.
"""


if __name__ == "__main__":
    main()
