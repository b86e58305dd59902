"""Draw H&E-like sample images with exact labels, in the layout that CellDataset reads.

    rng = np.random.default_rng(0)
    image_bgr, label_maps = draw_cell_image(rng, 256, 256, num_cells=50)
    write_sample("data/sample/train/0000", image_bgr, label_maps)

The images stand in for microscopy where none is at hand: the demo trains on them, the tests and
benchmarks count on them. Cells touch but never overlap; the background is as dark as some cells.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tifffile
from scipy import ndimage

from cellseg.datasets.synthetic_tissue import (
    CELL_KINDS,
    EOSIN_RGB,
    HEMATOXYLIN_RGB,
    CellKind,
    Stain,
    draw_background,
    draw_outline,
    draw_smooth_noise,
    mix_stains,
    paint_fibroblast,
)
from cellseg.fileio import write_atomically

CLASS_WEIGHTS = (0.28, 0.36, 0.18, 0.18)
NEIGHBOR_SHARE = 0.6  # how many cells are set beside one of their own class
MAX_COVERAGE = 0.5  # of the image by cells; above it the cells are drawn smaller
TRIES_PER_SIZE = 12
MIN_KEPT_SHARE = 0.8  # of a cell's pixels that must be free where it is set
MIN_RADIUS_PX = 2.0
DRAWING_VERSION = 1


class _Canvas:
    """One image in the making: its densities and who owns each pixel."""

    def __init__(self, background: Stain, height: int, width: int) -> None:
        self.hematoxylin = background.hematoxylin
        self.eosin = background.eosin
        self.owner = np.zeros((height, width), np.int32)
        self.centers: dict[int, list[tuple[float, float, float]]] = {}

    def free_part(self, shape: np.ndarray, row: int, col: int) -> tuple[np.ndarray, tuple, tuple]:
        """Return the part of a shape that is free there, with its window in image and patch."""
        reach = shape.shape[0] // 2
        height, width = self.owner.shape
        top, bottom = max(row - reach, 0), min(row + reach + 1, height)
        left, right = max(col - reach, 0), min(col + reach + 1, width)
        image_window = (slice(top, bottom), slice(left, right))
        patch_window = (
            slice(top - row + reach, bottom - row + reach),
            slice(left - col + reach, right - col + reach),
        )
        free = shape[patch_window] & (self.owner[image_window] == 0)
        return free, image_window, patch_window

    def paint(self, free: np.ndarray, image_window: tuple, patch_window: tuple, s: Stain) -> None:
        """Put the densities of a patch where the shape is free."""
        self.hematoxylin[image_window][free] = s.hematoxylin[patch_window][free]
        self.eosin[image_window][free] = s.eosin[patch_window][free]


def draw_cell_image(
    rng: np.random.Generator,
    height: int,
    width: int,
    num_cells: int,
    class_weights: Sequence[float] | np.ndarray = CLASS_WEIGHTS,
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Draw one H&E-like image and the label map of each class in it.

    Cells touch but never overlap, within a class or across classes. Where num_cells would cover
    more than half of the image, the cells are drawn smaller.

    Args:
        rng: Source of randomness; the same state draws the same image.
        height: Rows.
        width: Columns.
        num_cells: Number of cells; fewer are drawn only where no more fit.
        class_weights: Shares of the classes 1 to 4; a share of 0 leaves a class out.

    Returns:
        (height, width, 3) uint8 image in B, G, R order, and the (height, width) int32 label map of
        each class that occurs, by class id. Ids are unique over the classes and not contiguous;
        no cell gives an empty dict.

    Raises:
        ValueError: If a size or number is out of range.
    """
    if height < 1 or width < 1 or num_cells < 0:
        message = "height and width must be positive and num_cells must not be negative."
        raise ValueError(f"{message} Got {height}, {width} and {num_cells}.")
    shares = np.asarray(class_weights, np.float64)
    if shares.shape != (len(CELL_KINDS),) or (shares < 0).any() or shares.sum() <= 0:
        message = f"class_weights must be {len(CELL_KINDS)} numbers >= 0 with a positive sum."
        raise ValueError(f"{message} Got {class_weights}.")
    canvas = _Canvas(draw_background(rng, height, width), height, width)
    _add_fibroblasts(rng, canvas)
    kind_of_id = _add_cells(rng, canvas, num_cells, shares / shares.sum())
    return _develop(rng, canvas), _split_classes(canvas.owner, kind_of_id)


def _add_fibroblasts(rng: np.random.Generator, canvas: _Canvas) -> None:
    """Scatter unlabeled spindle nuclei; cells are painted over them."""
    height, width = canvas.owner.shape
    for _ in range(rng.poisson(height * width / 3000)):
        shape, stain = paint_fibroblast(rng)
        row, col = int(rng.integers(height)), int(rng.integers(width))
        canvas.paint(*canvas.free_part(shape, row, col), stain)


def _add_cells(
    rng: np.random.Generator, canvas: _Canvas, num_cells: int, shares: np.ndarray
) -> dict[int, int]:
    """Set the cells, large kinds first so that all fit; return each id's class."""
    class_index = rng.choice(len(CELL_KINDS), size=num_cells, p=shares)
    kinds = [CELL_KINDS[i] for i in class_index]
    kinds.sort(key=lambda kind: -kind.radius_px[1])
    expected_px = sum(np.pi * np.mean(kind.radius_px) ** 2 for kind in kinds)
    shrink = min(1.0, np.sqrt(MAX_COVERAGE * canvas.owner.size / max(expected_px, 1.0)))
    ids = np.cumsum(rng.integers(1, 4, size=num_cells))  # unique, with gaps
    kind_of_id: dict[int, int] = {}
    for kind, label_id in zip(kinds, ids, strict=True):
        if _add_cell(rng, canvas, kind, int(label_id), shrink):
            kind_of_id[int(label_id)] = kind.class_id
    return kind_of_id


def _add_cell(
    rng: np.random.Generator, canvas: _Canvas, kind: CellKind, label_id: int, shrink: float
) -> bool:
    """Set one cell where it fits, smaller if it fits nowhere; return whether it was set."""
    radius = rng.uniform(*kind.radius_px) * shrink
    while radius >= MIN_RADIUS_PX:
        elongation = rng.uniform(1.0, kind.max_elongation)
        u, v, rim = draw_outline(rng, radius, elongation, kind.roughness)
        shape = rim <= 1
        for _ in range(TRIES_PER_SIZE):
            row, col = _choose_place(rng, canvas, kind, radius)
            free, image_window, patch_window = canvas.free_part(shape, row, col)
            cell = _keep_largest_part(free, MIN_KEPT_SHARE * np.count_nonzero(shape))
            if cell is None:
                continue
            canvas.paint(cell, image_window, patch_window, kind.paint(rng, u, v, rim))
            canvas.owner[image_window][cell] = label_id
            canvas.centers.setdefault(kind.class_id, []).append((row, col, radius))
            return True
        radius *= 0.85
    return False


def _choose_place(
    rng: np.random.Generator, canvas: _Canvas, kind: CellKind, radius: float
) -> tuple[int, int]:
    """Return a center: beside a cell of the same class, or anywhere."""
    height, width = canvas.owner.shape
    neighbors = canvas.centers.get(kind.class_id)
    if neighbors and rng.random() < NEIGHBOR_SHARE:
        row, col, other_radius = neighbors[rng.integers(len(neighbors))]
        distance = (radius + other_radius) * rng.uniform(0.9, 1.1)
        angle = rng.uniform(0, 2 * np.pi)
        row, col = int(row + distance * np.sin(angle)), int(col + distance * np.cos(angle))
        if 0 <= row < height and 0 <= col < width:
            return row, col
    return int(rng.integers(height)), int(rng.integers(width))


def _keep_largest_part(free: np.ndarray, min_area_px: float) -> np.ndarray | None:
    """Return the largest connected part of a free shape, or None where it is too small."""
    if np.count_nonzero(free) < min_area_px:
        return None
    parts, num_parts = ndimage.label(free)
    if num_parts <= 1:
        return free
    areas = np.bincount(parts.ravel())[1:]
    return parts == areas.argmax() + 1 if areas.max() >= min_area_px else None


def _develop(rng: np.random.Generator, canvas: _Canvas) -> np.ndarray:
    """Turn the densities into a picture: optics, stain variation, uneven light, camera noise."""
    height, width = canvas.owner.shape
    strength = rng.uniform(0.85, 1.15, size=2).astype(np.float32)
    drift = 1 + 0.10 * draw_smooth_noise(rng, height, width, 70.0)
    stain = Stain(
        ndimage.gaussian_filter(canvas.hematoxylin * drift * strength[0], 0.8),
        ndimage.gaussian_filter(canvas.eosin * drift * strength[1], 0.8),
    )
    tint = rng.normal(1, 0.05, size=(2, 3)).astype(np.float32)
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    slope_y, slope_x = rng.uniform(-0.12, 0.12, size=2)
    light = (0.97 + slope_y * y + slope_x * x - 0.05 * (x**2 + y**2)).astype(np.float32)
    image = mix_stains(stain, HEMATOXYLIN_RGB * tint[0], EOSIN_RGB * tint[1], light)
    image += 3.0 * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _split_classes(owner: np.ndarray, kind_of_id: Mapping[int, int]) -> dict[int, np.ndarray]:
    """Return one label map per class that occurs, from the map of all cells."""
    class_of_id = np.zeros(int(owner.max()) + 1, np.int32)
    for label_id, class_id in kind_of_id.items():
        class_of_id[label_id] = class_id
    class_map = class_of_id[owner]
    return {
        class_id: np.where(class_map == class_id, owner, 0).astype(np.int32)
        for class_id in sorted(set(kind_of_id.values()))
    }


def write_sample(
    folder: str | Path, image_bgr: np.ndarray, label_maps: Mapping[int, np.ndarray]
) -> Path:
    """Write one image and its label maps as a folder; a folder that exists is always whole.

    Args:
        folder: Where the sample goes; a folder already there is replaced.
        image_bgr: (H, W, 3) uint8 in B, G, R order, written as B, G, R, alpha like hw3's files.
        label_maps: (H, W) label map of each class that occurs, by class id; may be empty.

    Returns:
        The folder.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        alpha = np.full((*image_bgr.shape[:2], 1), 255, np.uint8)
        tifffile.imwrite(
            aside / "image.tif",
            np.concatenate([image_bgr, alpha], axis=2),
            photometric="rgb",
            compression="lzw",
            predictor=2,
        )
        for class_id, label_map in label_maps.items():
            path = aside / f"class{class_id}.tif"
            tifffile.imwrite(path, label_map.astype(np.float64), compression="lzw")
        aside.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
    except BaseException as error:
        shutil.rmtree(aside, ignore_errors=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = str(folder)  # what is aside is gone, and TIFFs do not say their name
        raise
    return folder


@dataclass(frozen=True)
class SamplePlan:
    """How a sample data set is drawn.

    Attributes:
        num_train: Images in train/.
        num_val: Images in val/, from other seeds than train/.
        size_px: Height and width of every image.
        num_cells: Mean number of cells per image; each image has 0.7 to 1.3 times as many.
        seed: Draws another data set.
        version: Changes whenever the drawing changes.
    """

    num_train: int = 32
    num_val: int = 8
    size_px: int = 256
    num_cells: int = 50
    seed: int = 0
    version: int = DRAWING_VERSION


def draw_sample_set(
    root: str | Path,
    plan: SamplePlan,
    show_progress: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> list[Path]:
    """Draw root/train and root/val; samples already there are kept.

    Args:
        root: Folder of the data set; sample.json in it records the plan.
        plan: What to draw.
        show_progress: Wraps the list of folders to draw, for a progress bar.

    Returns:
        The folders drawn now; empty where all were there.

    Raises:
        ValueError: If root holds another data set, so that two would be mixed.
    """
    root = Path(root)
    _check_plan(root, plan)
    folders = [root / "train" / f"train_{i:04d}" for i in range(plan.num_train)]
    folders += [root / "val" / f"val_{i:04d}" for i in range(plan.num_val)]
    missing = [folder for folder in folders if not (folder / "image.tif").exists()]
    for folder in show_progress(missing):
        is_val, index = folder.parent.name == "val", int(folder.name.rpartition("_")[2])
        rng = np.random.default_rng([plan.seed, int(is_val), index])
        num_cells = round(plan.num_cells * rng.uniform(0.7, 1.3))
        weights = np.array(CLASS_WEIGHTS) * rng.uniform(0.6, 1.4, size=len(CLASS_WEIGHTS))
        if rng.random() < 0.2:
            weights[rng.integers(len(weights))] = 0  # an absent class has no file
        write_sample(folder, *draw_cell_image(rng, plan.size_px, plan.size_px, num_cells, weights))
    return missing


def _check_plan(root: Path, plan: SamplePlan) -> None:
    """Record the plan in an empty root, or compare it with the one recorded there."""
    record = root / "sample.json"
    if not record.exists():
        if any(root.glob("*/*/image.tif")):
            message = f"{root} holds images that were not drawn by this tool."
            raise ValueError(f"{message} Choose another folder.")
        write_atomically(record, json.dumps(asdict(plan), indent=2) + "\n")
        return
    found = json.loads(record.read_text(encoding="utf-8"))
    if found != asdict(plan):
        message = f"{root} holds a sample that was drawn otherwise ({found} instead of {plan})."
        raise ValueError(f"{message} Remove that folder, or choose another.")
