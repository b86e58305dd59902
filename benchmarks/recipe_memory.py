"""Count the parameters of every config, and the memory that its training should need.

python benchmarks/recipe_memory.py
python benchmarks/recipe_memory.py --configs mask-rcnn_r18_small-anchor --sides 256 320

What autograd keeps of a forward pass is counted for one image of two sizes, on a CPU and from
random weights, and carried forward to the config's own input and batch size: one part of it grows
with the area, the other is that of as many RoIs as are sampled at most. Added are weights,
gradients, the optimizer's moments and the average of the weights. What operators need for a moment
and what an allocator leaves unused comes on top.
Writes docs/recipe_memory.md.
"""

import argparse
import contextlib
import math
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import torch
from dense.report import describe_machine
from dense.scenes import Scene
from dense.stock import CONFIGS, read_config, read_model_config
from dense.works_model import read_batch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from rich.progress import track

from cellseg.engine.process_group import set_thread_counts
from cellseg.fileio import write_atomically

ROOT = Path(__file__).resolve().parents[1]
_CELLS_A_MEGAPIXEL = 400
_FLOAT_BYTES = 4
_MOST_CELL_ROIS = 128  # a quarter of 512, in MMDetection's samplers


class Memory(NamedTuple):
    """What the training of a config should need.

    Attributes:
        name: The config.
        parameters: Trainable parameters.
        input_px: Height and width of a training image.
        batch: Images a step.
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


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Parameters and expected memory of every config.")
    names = sorted(path.stem for path in CONFIGS.glob("*.py"))
    parser.add_argument("--configs", nargs="+", choices=names, default=names)
    parser.add_argument(
        "--sides", nargs=2, type=int, default=(192, 256), help="pixels of the two images"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of the report")
    return parser.parse_args()


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
    model = build_model(name, max(sides))
    areas = [side**2 for side in sides]
    kept = [count_kept(model, cfg, side, folder) for side in sides]
    slope = (kept[1] - kept[0]) / (areas[1] - areas[0])
    an_image = kept[1] + slope * (height * width - areas[1])
    trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
    total = sum(value.numel() for value in model.parameters())
    averages = any("EMA" in hook["type"] for hook in cfg.custom_hooks)
    # Adam holds two moments of whatever it trains.
    states = _FLOAT_BYTES * (total * (2 if averages else 1) + 3 * trained)
    batch = cfg.train_dataloader.batch_size
    half = is_half(cfg)
    return Memory(name, trained, (height, width), batch, half, states / 1e9, batch * an_image / 1e9)


def build_model(name: str, side: int) -> torch.nn.Module:
    """Build a config's model with random weights, for images of side x side pixels, to train."""
    init_default_scope("mmdet")
    model = MODELS.build(read_model_config(name, "ours", side))
    model.init_weights()
    return model.train()


def is_half(cfg: Config) -> bool:
    """Tell whether a config trains in mixed precision."""
    return "Amp" in cfg.optim_wrapper.type


def count_kept(model: torch.nn.Module, cfg: Config, side: int, folder: Path) -> int:
    """Count the bytes that autograd keeps of a forward pass over one image; weights aside.

    Args:
        model: In training mode.
        cfg: Its config.
        side: Height and width of the image in pixels.
        folder: For the drawn image.

    Returns:
        The bytes of all storages kept, each counted once.
    """
    scene = Scene(max(round(_CELLS_A_MEGAPIXEL * side**2 / 2**20), 1), side, 1, folder)
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
    """Repeat the cells until they fill the share of RoIs that cells may have, in classes it knows.

    Random weights propose few cells; trained ones fill that share, and only then do two sizes
    differ by their area alone.
    """
    last = len(cfg.test_dataloader.dataset.metainfo["classes"]) - 1
    for sample in batch["data_samples"]:
        cells = sample.gt_instances
        cells.labels.clamp_(max=last)
        times = math.ceil(_MOST_CELL_ROIS / len(cells))
        sample.gt_instances = cells[torch.arange(len(cells)).repeat(times)]


def write_table(rows: list[Memory]) -> str:
    """Write the rows as a Markdown table."""
    lines = [
        "| config | trainable parameters | images a step | precision "
        "| weights and optimizer | kept of a step | together |",
        "|---" * 7 + "|",
    ]
    for row in rows:
        height, width = row.input_px
        lines.append(
            f"| `{row.name}` | {row.parameters / 1e6:.0f} M | {row.batch} of {height} x {width} px "
            f"| {'mixed' if row.half else 'float32'} | {row.states_gb:.1f} GB "
            f"| {row.kept_gb:.1f} GB | {math.ceil(row.states_gb + row.kept_gb)} GB |"
        )
    return "\n".join(lines)


def main() -> None:
    """Count every config, and write the report."""
    args = parse_args()
    # Each in a process of its own, which gives back all memory.
    children = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, children, set_thread_counts, max_tasks_per_child=1) as pool,
    ):
        jobs = [
            pool.submit(expect_memory, name, tuple(args.sides), Path(folder))
            for name in args.configs
        ]
        rows = [job.result() for job in track(jobs, description="configs")]
    table = write_table(rows)
    low, high = args.sides
    text = TEXT.format(
        date=date.today().isoformat(),
        machine=describe_machine(),
        table=table,
        low=low,
        high=high,
    )
    write_atomically(args.out / "recipe_memory.md", text)
    print(table)


TEXT = """# Parameters and expected memory of every config

Written by `python benchmarks/recipe_memory.py`, {date}. {machine}.

{table}

Expected, not measured on a GPU: what autograd keeps of a forward pass was counted for one image of
{low} and of {high} px, with as many cells as fill their share of the sampled RoIs, and carried
forward to the config's input size and images a step; mixed precision was counted in bfloat16.
Weights, gradients, Adam's two moments and, where the config has one, the average of the weights are
added. What operators need for a moment, such as a convolution's workspace, and what the allocator
leaves unused comes on top: leave a quarter more. GB are 1e9 bytes, the last column is rounded up.
"""


if __name__ == "__main__":
    main()
