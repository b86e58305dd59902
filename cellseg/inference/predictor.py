"""Predict the cells of images of any size: whole, or tile by tile, with a trained model.

from cellseg.inference import Predictor

predictor = Predictor("nuclei-he")  # a name or folder; Predictor() takes the shipped model
predictor = Predictor("configs/cell/mask-rcnn_r18_small-anchor.py", "best.pth")
cells = predictor(image)          # (H, W, 3) uint8 R, G, B; or a path
cells.boxes, cells.scores, cells.classes, cells.rles, cells.label_map()
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from numpy.typing import NDArray

from cellseg.datasets.resize_factors import find_constant_factor
from cellseg.engine.class_counts import check_class_counts
from cellseg.engine.configs import find_test_dataset, read_class_names, read_config, read_palette
from cellseg.errors import CellsegError
from cellseg.images import ArraySource, ImageSize, ImageSource, open_image
from cellseg.inference.detector import (
    DetectionLimits,
    build_detector,
    find_device,
    fold_batch_norms,
)
from cellseg.inference.ensemble import CellEnsemble
from cellseg.inference.mask_tta import CellTTAModel
from cellseg.inference.merging import merge_tiles
from cellseg.inference.model_source import open_model
from cellseg.inference.scale_choice import (
    ScaleChoice,
    ScaleOptions,
    choose_scale,
    settle_scale,
    warn_of_other_ground,
    warn_of_other_sizes,
)
from cellseg.inference.tile_plan import (
    LEAST_TILE_PX,
    TileOptions,
    TilePlan,
    check_tiling,
    plan_tiles,
)
from cellseg.inference.tiles import is_background
from cellseg.structures.cells import Cells

_ROUGH_SCORE = 0.3  # of cells that count in an estimate
# Of a model that enlarges all images alike: the input that a tile makes, and the side of the test
# images that its limits of proposals and cells are meant for.
_TILE_INPUT_PX, _TEST_IMAGE_PX = 1024, 1000

ImageLike = NDArray[np.uint8] | str | Path | ImageSource
Progress = Callable[[int, int], None]
Member = tuple[str | Path | Config | None, str | Path | None]


@dataclass
class TileCells:
    """What was found in some or all tiles of an image.

    Attributes:
        parts: Tile index and cells, in the pixels of the image, of each tile with cells, in the
            order of the tiles.
        num_tiles: How many tiles were done.
        num_background: How many of them were skipped as background.
    """

    parts: list[tuple[int, Cells]] = field(default_factory=list)
    num_tiles: int = 0
    num_background: int = 0

    @classmethod
    def join(cls, shares: Sequence[TileCells]) -> TileCells:
        """Join the shares of several processes."""
        return cls(
            sorted((part for share in shares for part in share.parts), key=lambda part: part[0]),
            sum(share.num_tiles for share in shares),
            sum(share.num_background for share in shares),
        )


class Predictor:
    """A trained model, ready to find cells.

    Args:
        config: The name or folder of a model; a checkpoint that holds its record; or the config
            that `checkpoint` was trained with. The model that comes with the package when None.
        checkpoint: The weights of a config; only weights are read, nothing in the file is run. None
            with a config leaves the weights as they are initialized, for tests.
        device: "cuda", "cpu", ...; a GPU where there is one, when None.
        score_thr: Cells below this confidence are dropped.
        tiling: How large images are cut.
        tta: Whether to merge the views of `CellTTAModel`, or its options.
        amp: Whether to compute in bfloat16 on a CPU, float16 on a GPU; faster, a little less exact.
        cfg_options: Overrides of the config.
        diameter_px: Median diameter of the cells in pixels of the image, from which the scale
            follows. Without it, or `tiling.scale`, each image's scale follows from its pixel size
            or, where that is unknown, from the size of its cells; see `choose_scale`.
        is_resampled: Whether images come at a pixel size chosen for the model: they are shown as
            in training, whatever their pixel size.
        ensemble: Further models whose cells are merged with the first one's, as pairs of config
            and checkpoint; a config of None is the first one's. Images reach all of them as the
            first config says.

    Raises:
        CellsegError: If the config, checkpoint, device or tiling cannot be used, or they do not
            fit.
    """

    def __init__(
        self,
        config: str | Path | Config | None = None,
        checkpoint: str | Path | None = None,
        device: str | None = None,
        score_thr: float = 0.5,
        tiling: TileOptions | None = None,
        tta: bool | dict[str, Any] = False,
        amp: bool = False,
        cfg_options: dict[str, Any] | None = None,
        ensemble: Sequence[Member] = (),
        diameter_px: float | None = None,
        is_resampled: bool = False,
    ) -> None:
        """Build the model and load its weights; see the class."""
        self.source = open_model(config, checkpoint, cfg_options)
        self.cfg = self.source.config
        self.device = find_device(device)
        self.score_thr = score_thr
        self.tiling = tiling or TileOptions()
        self.amp = amp
        init_default_scope(self.cfg.get("default_scope", "mmdet"))
        dataset = find_test_dataset(self.cfg)
        check_class_counts(self.cfg, ("test",))
        self._pipeline_cfg = [
            step for step in dataset["pipeline"] if not str(step["type"]).startswith("Load")
        ]
        constant = find_constant_factor(self._pipeline_cfg)
        self._constant_scale = None if constant == 1.0 else constant
        self._input_size = _find_input_size(self._pipeline_cfg, self._constant_scale)
        self._limit_area = float(math.prod(self._input_size))
        if self._constant_scale is not None:
            side = max(_TEST_IMAGE_PX * self._constant_scale, *self._input_size)
            self._limit_area = side**2
        check_tiling(self.tiling, self._input_size)
        self.scale_options = ScaleOptions(self.tiling.scale, diameter_px, is_resampled)
        self.settle_scale()  # what contradicts itself is said before the weights are loaded
        model = build_detector(self.cfg, self.source.path, self.source.checkpoint)
        model = fold_batch_norms(model)
        self.source = replace(self.source, checkpoint=None)  # its weights are copied
        self.class_names: tuple[str, ...] = read_class_names(dataset)
        self.palette = read_palette(dataset)
        single = model
        if ensemble:
            others = [self._build_member(*member, cfg_options) for member in ensemble]
            model = CellEnsemble([model, *others])
        if tta:
            options = {**self.cfg.get("tta_model", {}), **(tta if isinstance(tta, dict) else {})}
            options.pop("type", None)
            model = CellTTAModel(model, **options)
        self.model = model.to(self.device, memory_format=torch.channels_last).eval()
        self._single = single  # estimates need no views or further models
        self.image_format: dict[str, Any] = {
            key: dataset[key] for key in ("channel_order", "intensity_range") if key in dataset
        }
        self._pipelines: dict[float | None, Compose] = {}
        self._limits = DetectionLimits(model)
        self._limits_said: set[int] = set()

    @property
    def model_name(self) -> str:
        """What to call the model."""
        return self.source.name

    def __call__(
        self,
        image: ImageLike,
        progress: Progress | None = None,
        choice: ScaleChoice | None = None,
        channel_order: str = "rgb",
    ) -> Cells:
        """Find the cells of one image.

        Args:
            image: (H, W, 3) uint8, in the order of channel_order; a file; or an open ImageSource.
            progress: Called after each batch with the number of tiles done in it, and of cells
                found.
            choice: The scale, from `choose_scale`; chosen for the image when None.
            channel_order: Order of an array's channels, 'rgb' or 'bgr'; files say theirs.

        Returns:
            The cells in the pixels of the image, highest score first.

        Raises:
            CellDataError: If a file cannot be read.
            ValueError: If channel_order is another word, or the array is no such image.
        """
        if channel_order not in ("rgb", "bgr"):
            raise ValueError(f"channel_order must be 'rgb' or 'bgr', not {channel_order!r}.")
        if isinstance(image, np.ndarray):
            array = image if channel_order == "bgr" else np.ascontiguousarray(image[..., ::-1])
            return self.predict_source(ArraySource(array), progress, choice)
        if isinstance(image, (str, Path)):
            with open_image(image, self.image_format) as source:
                return self.predict_source(source, progress, choice)
        return self.predict_source(image, progress, choice)

    def predict_source(
        self,
        source: ImageSource,
        progress: Progress | None = None,
        choice: ScaleChoice | None = None,
    ) -> Cells:
        """Find the cells of an open image; under a launcher, this process's share is all of it."""
        choice = choice or self.choose_scale(source)
        plan = self.plan_tiles(source, choice)
        cells = self.merge(source, plan, self.predict_batches(source, plan, progress=progress))
        self.warn_of_surprises(cells, source, choice, "The image")
        return cells

    def warn_of_surprises(
        self, cells: Cells, source: ImageSource, choice: ScaleChoice, where: str
    ) -> list[str]:
        """Warn where an image, or the cells found in it, are unlike those of the training.

        Args:
            cells: Its cells.
            source: The image, open.
            choice: The scale that was chosen.
            where: The image, for the messages.

        Returns:
            The warnings, which are logged, too.
        """
        record = self.source.record
        found = (
            warn_of_other_ground(source, record, where),
            warn_of_other_sizes(cells, choice.factor, record, where),
        )
        return [text for text in found if text is not None]

    def settle_scale(self) -> ScaleChoice | None:
        """Choose the scale of all images; None where each needs its own."""
        return settle_scale(self.scale_options, self.source.record, self._constant_scale)

    def choose_scale(self, source: ImageSource) -> ScaleChoice:
        """Choose the scale of one image, and say why; it may take a few passes of the network."""
        choice = self.settle_scale()
        record = self.source.record
        if choice is None and record is not None:
            choice = choose_scale(source, self._find_roughly, record, self._constant_scale)
        return choice or ScaleChoice(self._constant_scale, "as its test pipeline says")

    def plan_tiles(
        self, size: ImageSource | ImageSize, choice: ScaleChoice | None = None
    ) -> TilePlan:
        """Plan the tiles of an image, open or known by its size only.

        Args:
            size: The image.
            choice: From `choose_scale`; when None, the scale of the options.

        Returns:
            The plan.
        """
        tiling = self.tiling
        if choice is not None and choice.factor is not None:
            tiling = replace(tiling, scale=choice.factor)
        return plan_tiles(size.height, size.width, tiling, self._input_size)

    def predict_batches(
        self,
        source: ImageSource,
        plan: TilePlan,
        batches: Sequence[int] | None = None,
        progress: Progress | None = None,
    ) -> TileCells:
        """Find the cells of some batches of tiles, reading ahead while the network works.

        Args:
            source: The image.
            plan: From `plan_tiles`.
            batches: Which of the plan's batches to do; None for all.
            progress: As for `__call__`.

        Returns:
            What was found in their tiles.
        """
        wanted = plan.batches if batches is None else [plan.batches[index] for index in batches]
        result = TileCells()
        for indices, images in self._read_ahead(source, plan, wanted):
            kept = [
                place for place, image in zip(indices, images, strict=True) if image is not None
            ]
            found = self._predict([image for image in images if image is not None], plan.scale)
            for index, cells in zip(kept, found, strict=True):
                tile = plan.tiles[index]
                if len(cells):
                    result.parts.append(
                        (index, cells.offset_to(tile.x1, tile.y1, source.height, source.width))
                    )
            result.num_tiles += len(indices)
            result.num_background += len(indices) - len(kept)
            if progress is not None:
                progress(len(indices), sum(len(cells) for cells in found))
        return TileCells.join([result])

    def merge(self, source: ImageSource, plan: TilePlan, found: TileCells) -> Cells:
        """Merge the cells of all tiles of an image, whichever process found them."""
        cells = Cells.empty(source.height, source.width, self.class_names)
        if found.parts:
            cells = Cells.concatenate([cells, *(part for _, part in found.parts)])
            ids = np.repeat(
                [index for index, _ in found.parts], [len(part) for _, part in found.parts]
            )
            if len(plan.tiles) > 1:
                cells = merge_tiles(cells, ids, plan.tiles)
        return replace(cells, pixel_size_um=source.pixel_size_um, downsample=source.downsample)

    def share_of(self, work: Sequence[Any]) -> list[int]:
        """Choose which of a list of works this process does, as MMEngine's sampler shards data."""
        return (
            list(DefaultSampler(work, shuffle=False, seed=0, round_up=False)) if len(work) else []
        )

    def _build_member(
        self,
        config: str | Path | Config | None,
        checkpoint: str | Path | None,
        cfg_options: dict[str, Any] | None,
    ) -> torch.nn.Module:
        """Build a further model of an ensemble, which must know the same classes."""
        cfg = self.cfg if config is None else read_config(config, cfg_options)
        names = read_class_names(find_test_dataset(cfg))
        check_class_counts(cfg, ("test",))
        if names != self.class_names:
            raise CellsegError(
                f"The models of an ensemble must know the same classes; {cfg.filename} has "
                f"{', '.join(names)} in place of {', '.join(self.class_names)}."
            )
        return fold_batch_norms(build_detector(cfg, checkpoint))

    def _read_ahead(
        self, source: ImageSource, plan: TilePlan, batches: Sequence[tuple[int, ...]]
    ) -> Iterator[tuple[tuple[int, ...], list[NDArray[np.uint8] | None]]]:
        """Read batches of tiles one ahead, in a thread; a tile of background comes as None."""
        can_skip = self.tiling.skip_background and len(plan.tiles) > 1

        def read(batch: tuple[int, ...]) -> list[NDArray[np.uint8] | None]:
            images = []
            for index in batch:
                tile = plan.tiles[index]
                image = source.read(tile.x1, tile.y1, tile.width, tile.height)
                images.append(None if can_skip and is_background(image) else image)
            return images

        with ThreadPoolExecutor(1) as reader:
            ahead = [reader.submit(read, batch) for batch in batches[:1]]
            for place, batch in enumerate(batches):
                images = ahead.pop().result()
                ahead += [reader.submit(read, after) for after in batches[place + 1 : place + 2]]
                yield batch, images

    def _find_roughly(self, image: NDArray[np.uint8], scale: float) -> Cells:
        """Find cells for an estimate: one model, one view, low scores included."""
        samples = self._run_network(self._single, [image], scale, _ROUGH_SCORE)
        return self._to_cells(samples[0].pred_instances, image.shape, _ROUGH_SCORE)

    def _predict(self, images: Sequence[NDArray[np.uint8]], scale: float | None) -> list[Cells]:
        """Send images of one size through the network; cells in the pixels of each image."""
        if not images:
            return []
        samples = self._run_network(self.model, images, scale, self.score_thr)
        most = self._limits.most_cells
        if most is not None and any(len(sample.pred_instances) >= most for sample in samples):
            self._warn_of_limit(most)
        return [
            self._to_cells(sample.pred_instances, image.shape, self.score_thr)
            for sample, image in zip(samples, images, strict=True)
        ]

    @torch.inference_mode()
    def _run_network(
        self,
        model: torch.nn.Module,
        images: Sequence[NDArray[np.uint8]],
        scale: float | None,
        score_thr: float,
    ) -> list[Any]:
        """Send images of one size through a network; mmdet's samples."""
        pipeline = self._pipeline(scale)
        packed = [pipeline(_as_entry(image)) for image in images]
        batch = {
            "inputs": [item["inputs"] for item in packed],
            "data_samples": [item["data_samples"] for item in packed],
        }
        if scale is None:
            self._limits.scale(1.0)
        else:
            height, width = images[0].shape[:2]  # as are the others'
            self._limits.scale(height * width * scale**2 / self._limit_area)
        self._limits.drop_below(score_thr)
        lower = torch.bfloat16 if self.device.type == "cpu" else torch.float16
        precision = torch.autocast(self.device.type, dtype=lower) if self.amp else nullcontext()
        with precision:
            samples: list[Any] = model.test_step(batch)
        return samples

    def _warn_of_limit(self, most: int) -> None:
        """Say once for each limit that an image or tile gave as many cells as it may."""
        if most not in self._limits_said:
            self._limits_said.add(most)
            print_log(
                f"An image or tile gave {most} cells, the limit that follows from "
                "model.test_cfg.rcnn.max_per_img: cells beyond it are missing. Raise that setting "
                "with --cfg-options.",
                "current",
                logging.WARNING,
            )

    def _to_cells(self, instances: Any, shape: tuple[int, ...], score_thr: float) -> Cells:
        """Turn mmdet's predictions of one image into cells; those without a pixel are left out."""
        cells = Cells.from_prediction(instances, shape[0], shape[1], self.class_names)
        cells = cells[cells.confidences >= score_thr]
        cells = cells[cells.areas > 0]
        return cells[np.argsort(-cells.confidences, kind="stable")]

    def _pipeline(self, scale: float | None) -> Compose:
        """Build the test pipeline without loading, for one way of resizing."""
        if scale not in self._pipelines:
            steps = copy.deepcopy(self._pipeline_cfg)
            if scale is not None:
                for index, step in enumerate(steps):
                    if str(step["type"]).endswith("Resize"):
                        steps[index] = {"type": "Resize", "scale_factor": scale, "keep_ratio": True}
            self._pipelines[scale] = Compose(steps)
        return self._pipelines[scale]


def _find_input_size(pipeline: Sequence[dict[str, Any]], constant: float | None) -> tuple[int, int]:
    """Find the size that a test pipeline resizes to, in pixels; one for tiles where it has none."""
    if constant is not None:
        return _TILE_INPUT_PX, _TILE_INPUT_PX
    for step in pipeline:
        if str(step["type"]).endswith("Resize") and "scale" in step:
            size = step["scale"]
            return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    return (LEAST_TILE_PX, LEAST_TILE_PX)


def _as_entry(image: NDArray[np.uint8]) -> dict[str, Any]:
    """Make the entry that the pipeline expects after loading."""
    return {
        "img": image,
        "img_path": "",
        "img_id": 0,
        "img_name": "",
        "img_shape": image.shape[:2],
        "ori_shape": image.shape[:2],
        "height": image.shape[0],
        "width": image.shape[1],
    }
