"""Count the parameters of every config, and estimate the memory that its training needs.

python benchmarks/recipe_memory.py
python benchmarks/recipe_memory.py --configs mask-rcnn_r18_small-anchor --sides 256 320
python benchmarks/recipe_memory.py --quick    # one small config, written elsewhere

What autograd keeps of a forward pass is counted for one image of two sizes, on a CPU and from
random weights, and extrapolated to the config's own input and batch size: one part of it grows with
the area, the other is that of the largest number of sampled RoIs. Weights, gradients, the
optimizer's moments and the average of the weights are added. What operators need temporarily and
what an allocator leaves unused is not counted.
Writes docs/recipe_memory.md.
"""

import contextlib
import math
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from dense.scenes import DrawnScene
from dense.stock import build_model, read_config
from dense.workloads_model import read_batch
from frame import CONFIGS, find_page, make_parser, run_apart, write_page, write_table
from mmengine.config import Config
from rich.progress import track

_CELLS_PER_MEGAPIXEL = 400
_FLOAT_BYTES = 4
_MOST_CELL_ROIS = 128  # a quarter of 512, in MMDetection's samplers


class Memory(NamedTuple):
    """What the training of a config is expected to need.

    Attributes:
        name: The config.
        parameters: Trainable parameters.
        input_px: Height and width of a training image.
        batch: Images per step.
        half: Whether it trains in mixed precision.
        states_gb: Weights, gradients, moments and weight average, in 1e9 bytes.
        kept_gb: What autograd keeps of a step's forward pass, in 1e9 bytes.
    """

    name: str
    parameters: int
    input_px: tuple[int, int]
    batch: int
    half: bool
    states_gb: float
    kept_gb: float


def expect_memory(name: str, sides: tuple[int, int], folder: Path) -> Memory:
    """Count the parameters of a config and what its training keeps in memory.

    Args:
        name: A config of configs/cell.
        sides: Pixels of the two images that a forward pass is measured on.
        folder: For the drawn images.

    Returns:
        The memory.
    """
    cfg = read_config(name)
    height, width = cfg.model.data_preprocessor.batch_augments[0]["size"]
    model = build_model(name, "ours", max(sides)).train()
    areas = [side**2 for side in sides]
    kept = [count_kept(model, cfg, side, folder) for side in sides]
    slope = (kept[1] - kept[0]) / (areas[1] - areas[0])
    per_image = kept[1] + slope * (height * width - areas[1])
    trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
    total = sum(value.numel() for value in model.parameters())
    averages = any("EMA" in hook["type"] for hook in cfg.custom_hooks)
    # Adam holds two moments of whatever it trains.
    states = _FLOAT_BYTES * (total * (2 if averages else 1) + 3 * trained)
    batch = cfg.train_dataloader.batch_size
    half = is_half(cfg)
    return Memory(
        name, trained, (height, width), batch, half, states / 1e9, batch * per_image / 1e9
    )


def is_half(cfg: Config) -> bool:
    """Return whether a config trains in mixed precision."""
    return "Amp" in cfg.optim_wrapper.type


def count_kept(model: torch.nn.Module, cfg: Config, side: int, folder: Path) -> int:
    """Count the bytes that autograd keeps of a forward pass over one image, without weights.

    Args:
        model: In training mode.
        cfg: Its config.
        side: Height and width of the image in pixels.
        folder: For the drawn image.

    Returns:
        The bytes of all storages kept, each counted once.
    """
    scene = DrawnScene(max(round(_CELLS_PER_MEGAPIXEL * side**2 / 2**20), 1), side, 1, folder)
    batch = read_batch(scene, "ours")
    crowd_cells(batch, cfg)
    for augment in model.data_preprocessor.batch_augments:
        augment.size = (side, side)
    weights = {value.untyped_storage().data_ptr() for value in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    lower = torch.autocast("cpu", torch.bfloat16) if is_half(cfg) else contextlib.nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), lower:
        data = model.data_preprocessor(batch, training=True)
        losses = model(**data, mode="loss")  # alive until counted, and with it what it keeps
    del losses
    return sum(kept.values())


def crowd_cells(batch: dict[str, Any], cfg: Config) -> None:
    """Repeat the cells until they fill their share of the sampled RoIs, in the config's classes.

    Random weights propose few cells. Trained ones fill that share, and only then do two sizes
    differ by their area alone.
    """
    last = len(cfg.test_dataloader.dataset.metainfo["classes"]) - 1
    for sample in batch["data_samples"]:
        cells = sample.gt_instances
        cells.labels.clamp_(max=last)
        times = math.ceil(_MOST_CELL_ROIS / len(cells))
        sample.gt_instances = cells[torch.arange(len(cells)).repeat(times)]


def tabulate(rows: list[Memory]) -> str:
    """Write the configs as a Markdown table."""
    return write_table(
        ["config", "trainable parameters", "images per step", "precision"]
        + ["weights and optimizer", "kept of a step", "together"],
        [
            [
                f"`{row.name}`",
                f"{row.parameters / 1e6:.0f} M",
                f"{row.batch} of {row.input_px[0]} x {row.input_px[1]} px",
                "mixed" if row.half else "float32",
                f"{row.states_gb:.1f} GB",
                f"{row.kept_gb:.1f} GB",
                f"{math.ceil(row.states_gb + row.kept_gb)} GB",
            ]
            for row in rows
        ],
    )


def main() -> None:
    """Count every config, and write the page."""
    parser = make_parser(__doc__, "one small config")
    names = sorted(path.stem for path in CONFIGS.glob("*.py"))
    parser.add_argument("--configs", nargs="+", choices=names, default=names)
    parser.add_argument(
        "--sides", nargs=2, type=int, default=(192, 256), help="pixels of the two images"
    )
    args = parser.parse_args()
    if args.quick:
        args.configs, args.sides = ["mask-rcnn_r18_small-anchor_demo"], (96, 128)
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            run_apart(expect_memory, name, tuple(args.sides), Path(folder))
            for name in track(args.configs, description="configs")
        ]
    low, high = args.sides
    body = TEXT.format(table=tabulate(rows), low=low, high=high)
    title = "Parameters and expected memory of every config"
    print(write_page(find_page(args, "recipe_memory"), title, "recipe_memory.py", body))


TEXT = """{table}

These numbers are expected, not measured on a GPU. What autograd keeps of a forward pass was counted
for one image of {low} and one of {high} px, with enough cells to fill their share of the sampled
RoIs, and extrapolated to the config's input size and images per step; mixed precision was counted
in bfloat16. Weights, gradients, Adam's two moments and, where the config has one, the average of
the weights are added. What operators need temporarily, such as a convolution's workspace, and what
the allocator leaves unused is not counted: allow a quarter more. GB are 1e9 bytes; the last column
is rounded up.
"""


if __name__ == "__main__":
    main()
