"""Predict the cells of images of any size: whole, or tile by tile, with a trained model.

from cellseg.inference import Predictor

predictor = Predictor("configs/cell/mask-rcnn_r18_small-anchor.py", "best.pth")
cells = predictor(image)          # (H, W, 3) uint8 B, G, R; or a path
cells.boxes, cells.scores, cells.classes, cells.rles, cells.label_map()
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.registry import init_default_scope
from numpy.typing import NDArray

from cellseg.engine.checkpoint_loading import load_checkpoint_file
from cellseg.errors import CellsegError
from cellseg.images import ArraySource, ImageSize, ImageSource, open_image
from cellseg.inference.cells import Cells, masks_to_rles
from cellseg.inference.ensemble import CellEnsemble
from cellseg.inference.mask_tta import CellTTAModel
from cellseg.inference.merging import merge_tiles
from cellseg.inference.tiles import Tile, check_range, is_background, make_tile_grid

ImageLike = NDArray[np.uint8] | str | Path | ImageSource
Progress = Callable[[int, int], None]
Member = tuple[str | Path | Config | None, str | Path | None]

_STRIDE = 64  # of the coarsest feature level: tiles moved by it look the same to the network
_LEAST_TILE = 512


@dataclass(frozen=True)
class TileOptions:
    """How large images are cut.

    Attributes:
        tile_px: Side of a tile in image pixels; when None, the side of the network's input, at
            least 512. Where the scale allows, it is rounded up to whole strides of the network, so
            that a tile is resized just as the whole image is. Images up to twice this are
            predicted whole.
        overlap_px: Least overlap of tiles, more than the largest cell; a quarter of a tile, up to
            128, when None.
        scale: Pixels of the network's input per image pixel. When None, tiles are shown as they
            are (1.0), whole images at the size the test pipeline gives them.
        whole: True predicts every image whole, False every image tiled, None by size.
        batch_size: Tiles that go through the network together.
        skip_background: Whether flat tiles, with no cell to be seen, are skipped.
    """

    tile_px: int | None = None
    overlap_px: int | None = None
    scale: float | None = None
    whole: bool | None = None
    batch_size: int = 2
    skip_background: bool = True

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            CellsegError: If one makes no sense, so that it is said before an image is read.
        """
        check_range("The side of a tile", self.tile_px, 1)
        check_range("The overlap of tiles", self.overlap_px, 0)
        check_range("The scale", self.scale, 0, open_end=True)
        check_range("The batch size", self.batch_size, 1)


@dataclass
class TileCount:
    """What became of the tiles of an image: how many there were, and how many were background."""

    tiles: int = 0
    background: int = 0


class DetectionLimits:
    """How many proposals and cells a detector keeps, in proportion to the area it looks at.

    The config's limits are meant for the input size of its test pipeline. On a larger image they
    would starve the detector; on a smaller tile they would let through proposals that it never has
    to judge otherwise, so that tiles and whole images would differ.

    Args:
        model: The detector; models without such limits are left alone.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        """Note the limits of every part of the model."""
        self._limits: list[tuple[Any, str, int]] = []
        for part in model.modules():
            test_cfg = getattr(part, "test_cfg", None)
            for name in ("nms_pre", "max_per_img"):
                if isinstance(test_cfg, dict) and isinstance(test_cfg.get(name), int):
                    self._limits.append((test_cfg, name, test_cfg[name]))
            if isinstance(getattr(part, "max_per_img", None), int):
                self._limits.append((vars(part), "max_per_img", part.max_per_img))

    def scale(self, factor: float) -> None:
        """Set every limit to the config's times factor; limits that keep all (below 1) stay."""
        for holder, name, value in self._limits:
            holder[name] = max(math.ceil(value * factor), 1) if value > 0 else value


class Predictor:
    """A trained model, ready to find cells.

    Args:
        config: Config file or config that the checkpoint was trained with.
        checkpoint: Its weights; only weights are read, nothing in the file is run. None leaves the
            weights as they are initialised, for tests.
        device: "cuda", "cpu", ...; a GPU where there is one, when None.
        score_thr: Cells below this confidence are dropped.
        tiling: How large images are cut.
        tta: Whether to merge the views of `CellTTAModel`, or its options.
        amp: Whether to compute in bfloat16 on a CPU, float16 on a GPU; faster, a little less exact.
        cfg_options: Overrides of the config.
        ensemble: Further models whose cells are merged with the first one's, as pairs of config
            and checkpoint; a config of None is the first one's. Images reach all of them as the
            first config says.

    Raises:
        CellsegError: If the config, checkpoint, device or tiling cannot be used, or they do not
            fit.
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path | None,
        device: str | None = None,
        score_thr: float = 0.5,
        tiling: TileOptions | None = None,
        tta: bool | dict[str, Any] = False,
        amp: bool = False,
        cfg_options: dict[str, Any] | None = None,
        ensemble: Sequence[Member] = (),
    ) -> None:
        """Build the model and load its weights; see the class."""
        self.cfg = _read_config(config, cfg_options)
        self.device = _find_device(device)
        self.score_thr = score_thr
        self.tiling = tiling or TileOptions()
        self.amp = amp
        init_default_scope(self.cfg.get("default_scope", "mmdet"))
        dataset = _test_dataset(self.cfg)
        self._pipeline_cfg = [
            step for step in dataset["pipeline"] if not str(step["type"]).startswith("Load")
        ]
        self._check_tiles()
        model = _build_model(self.cfg, checkpoint)
        self.class_names: tuple[str, ...] = _class_names(dataset)
        if ensemble:
            others = [self._build_member(*member, cfg_options) for member in ensemble]
            model = CellEnsemble([model, *others])
        if tta:
            options = {**self.cfg.get("tta_model", {}), **(tta if isinstance(tta, dict) else {})}
            options.pop("type", None)
            model = CellTTAModel(model, **options)
        self.model = model.to(self.device, memory_format=torch.channels_last).eval()
        self.image_format: dict[str, Any] = {
            key: dataset[key] for key in ("channel_order", "intensity_range") if key in dataset
        }
        self._pipelines: dict[float | None, Compose] = {}
        self._limits = DetectionLimits(model)
        self.last_count = TileCount()

    def __call__(self, image: ImageLike, progress: Progress | None = None) -> Cells:
        """Find the cells of one image.

        Args:
            image: (H, W, 3) uint8 in the order B, G, R; a file; or an open ImageSource.
            progress: Called after each batch with the number of tiles done in it, and of cells
                found.

        Returns:
            The cells in the pixels of the image, highest score first.

        Raises:
            CellDataError: If a file cannot be read.
        """
        if isinstance(image, np.ndarray):
            return self.predict_source(ArraySource(image), progress)
        if isinstance(image, (str, Path)):
            with open_image(image, self.image_format) as source:
                return self.predict_source(source, progress)
        return self.predict_source(image, progress)

    def predict_source(self, source: ImageSource, progress: Progress | None = None) -> Cells:
        """Find the cells of an open image; under a launcher, this process's share is all of it."""
        tiles = self.plan_tiles(source)
        batches = range(len(self.plan_batches(tiles)))
        parts = self.predict_batches(source, tiles, batches, progress)
        return self.merge(source, tiles, parts)

    def plan_tiles(self, source: ImageSource | ImageSize) -> list[Tile]:
        """Cut an image as the options say; a single tile that covers it is predicted whole."""
        tile_px, overlap_px, align_px = self._tile_sizes()
        whole = self.tiling.whole
        if whole is None:
            whole = max(source.height, source.width) <= 2 * tile_px
        if whole:
            return make_tile_grid(source.height, source.width, max(source.height, source.width), 0)
        return make_tile_grid(source.height, source.width, tile_px, overlap_px, align_px)

    def plan_batches(self, tiles: Sequence[Tile]) -> list[list[int]]:
        """Group tiles of equal size into batches; the same ones whatever the number of processes.

        Tiles at the right and lower border may be smaller than the others. Beside those they would
        be padded, and the detector's limits would be set for the larger ones: the cells found would
        depend on the batch size.

        Args:
            tiles: From `plan_tiles`.

        Returns:
            Indices into tiles, each in one batch; batches in the order of their first tiles.
        """
        alike: dict[tuple[int, int], list[int]] = {}
        for index, tile in enumerate(tiles):
            alike.setdefault((tile.height, tile.width), []).append(index)
        step = self.tiling.batch_size
        return sorted(
            group[begin : begin + step]
            for group in alike.values()
            for begin in range(0, len(group), step)
        )

    def predict_batches(
        self,
        source: ImageSource,
        tiles: Sequence[Tile],
        batches: Sequence[int] | range,
        progress: Progress | None = None,
    ) -> list[tuple[int, Cells]]:
        """Find the cells of some batches of tiles, reading ahead while the network works.

        Args:
            source: The image.
            tiles: From `plan_tiles`.
            batches: Which of `plan_batches` to do.
            progress: As for `__call__`.

        Returns:
            Tile index and cells, in the pixels of the image, of each tile with cells, in the order
            of the tiles.
        """
        planned = self.plan_batches(tiles)
        self.last_count = TileCount()
        parts = []
        for indices, images in self._read_ahead(
            source, tiles, [planned[index] for index in batches]
        ):
            kept = [
                place for place, image in zip(indices, images, strict=True) if image is not None
            ]
            scale = self._scale(len(tiles) > 1)
            found = self._predict([image for image in images if image is not None], scale)
            for index, cells in zip(kept, found, strict=True):
                tile = tiles[index]
                if len(cells):
                    parts.append(
                        (index, cells.placed(tile.x1, tile.y1, source.height, source.width))
                    )
            self.last_count.tiles += len(indices)
            self.last_count.background += len(indices) - len(kept)
            if progress is not None:
                progress(len(indices), sum(len(cells) for cells in found))
        return sorted(parts, key=_tile_of)

    def merge(
        self, source: ImageSource, tiles: Sequence[Tile], parts: Sequence[tuple[int, Cells]]
    ) -> Cells:
        """Merge the cells of an image's tiles, whichever process found them."""
        parts = sorted(parts, key=_tile_of)
        cells = Cells.empty(source.height, source.width, self.class_names)
        if parts:
            cells = Cells.concatenate([cells, *(part for _, part in parts)])
            ids = np.repeat([index for index, _ in parts], [len(part) for _, part in parts])
            if len(tiles) > 1:
                cells = merge_tiles(cells, ids, tiles)
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
        cfg = self.cfg if config is None else _read_config(config, cfg_options)
        names = _class_names(_test_dataset(cfg))
        if names != self.class_names:
            raise CellsegError(
                f"The models of an ensemble must know the same classes; {cfg.filename} has "
                f"{', '.join(names)} in place of {', '.join(self.class_names)}."
            )
        return _build_model(cfg, checkpoint)

    def _check_tiles(self) -> None:
        """Raise CellsegError if no image could be tiled as the options say."""
        if self.tiling.whole:
            return
        try:
            make_tile_grid(1, 1, *self._tile_sizes())
        except ValueError as error:
            raise CellsegError(str(error)) from error

    def _tile_sizes(self) -> tuple[int, int, int]:
        """Settle the tiles' side, overlap and alignment, in image pixels."""
        options = self.tiling
        scale = options.scale or 1.0
        tile_px = options.tile_px or max(math.ceil(max(self._input_size()) / scale), _LEAST_TILE)
        overlap_px = min(tile_px // 4, 128) if options.overlap_px is None else options.overlap_px
        align = _STRIDE / scale
        align_px = round(align) if abs(align - round(align)) < 1e-9 and align >= 1 else 1
        return math.ceil(tile_px / align_px) * align_px, overlap_px, align_px

    def _input_size(self) -> tuple[int, int]:
        """Find the size that the test pipeline resizes to."""
        for step in self._pipeline_cfg:
            if str(step["type"]).endswith("Resize") and "scale" in step:
                size = step["scale"]
                return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        return (_LEAST_TILE, _LEAST_TILE)

    def _scale(self, is_tile: bool) -> float | None:
        """Choose the factor that images are resized by; None for the pipeline's own way."""
        return self.tiling.scale or (1.0 if is_tile else None)

    def _read_ahead(
        self, source: ImageSource, tiles: Sequence[Tile], batches: Sequence[list[int]]
    ) -> Iterator[tuple[list[int], list[NDArray[np.uint8] | None]]]:
        """Read batches of tiles one ahead, in a thread; a tile of background comes as None."""

        def read(batch: list[int]) -> list[NDArray[np.uint8] | None]:
            images = []
            for index in batch:
                tile = tiles[index]
                image = source.read(tile.x1, tile.y1, tile.width, tile.height)
                skip = self.tiling.skip_background and len(tiles) > 1 and is_background(image)
                images.append(None if skip else image)
            return images

        with ThreadPoolExecutor(1) as reader:
            ahead = [reader.submit(read, batch) for batch in batches[:1]]
            for place, batch in enumerate(batches):
                images = ahead.pop().result()
                ahead += [reader.submit(read, after) for after in batches[place + 1 : place + 2]]
                yield batch, images

    @torch.inference_mode()
    def _predict(self, images: Sequence[NDArray[np.uint8]], scale: float | None) -> list[Cells]:
        """Send images of one size through the network; cells in the pixels of each image."""
        if not images:
            return []
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
            self._limits.scale(height * width * scale**2 / math.prod(self._input_size()))
        lower = torch.bfloat16 if self.device.type == "cpu" else torch.float16
        precision = torch.autocast(self.device.type, dtype=lower) if self.amp else nullcontext()
        with precision:
            samples = self.model.test_step(batch)
        return [
            self._to_cells(sample.pred_instances, image.shape)
            for sample, image in zip(samples, images, strict=True)
        ]

    def _to_cells(self, instances: Any, shape: tuple[int, ...]) -> Cells:
        """Turn mmdet's predictions of one image into cells; those without a pixel are left out."""
        height, width = shape[:2]
        scores = instances.scores.float().cpu().numpy()
        sure = np.flatnonzero(scores >= self.score_thr)
        rles = masks_to_rles(instances.masks, height, width)
        cells = Cells(
            instances.bboxes.float().cpu().numpy()[sure],
            scores[sure],
            instances.labels.cpu().numpy()[sure],
            [rles[index] for index in sure.tolist()],
            height,
            width,
            self.class_names,
        )
        cells = cells[cells.measure()[1] > 0]
        return cells[np.argsort(-cells.scores, kind="stable")]

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


def _tile_of(part: tuple[int, Cells]) -> int:
    """Give the index of the tile that a part was found in."""
    return part[0]


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


def _find_device(name: str | None) -> torch.device:
    """Find the device of a name, a GPU where there is one when None; it must work."""
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise CellsegError(
            f"The device {name} cannot be used ({reason}); give cpu, cuda or cuda:1, or leave it "
            "out."
        ) from error
    return device


def _read_config(config: str | Path | Config, options: dict[str, Any] | None) -> Config:
    """Read a config, or copy one, and apply options."""
    if isinstance(config, Config):
        cfg = copy.deepcopy(config)
    elif Path(config).is_file():
        cfg = Config.fromfile(config)
    else:
        raise CellsegError(
            f"There is no config file {config}; the project's configs lie in configs/cell/."
        )
    if options:
        cfg.merge_from_dict(options)
    return cfg


def _build_model(cfg: Config, checkpoint: str | Path | None) -> torch.nn.Module:
    """Build a detector and load its weights, without fetching anything it was initialised from."""
    model_cfg = copy.deepcopy(cfg.model)
    _forget_init(model_cfg)
    model = MODELS.build(model_cfg)
    if checkpoint is None:
        model.init_weights()
        return model
    loaded = load_checkpoint_file(checkpoint)
    weights = loaded.get("state_dict", loaded)
    expected = model.state_dict()
    misfits = [
        name
        for name, value in expected.items()
        if name not in weights or tuple(weights[name].shape) != tuple(value.shape)
    ]
    if misfits:
        raise CellsegError(
            f"The checkpoint {checkpoint} does not fit the config {cfg.filename}: {len(misfits)} "
            f"of {len(expected)} "
            f"weights are missing or of another shape, such as {misfits[0]}; give the config it "
            f"was trained with."
        )
    model.load_state_dict({name: weights[name] for name in expected})
    return model


def _forget_init(part: Any) -> None:
    """Remove pretrained weights to fetch from a model's config, at every depth."""
    if isinstance(part, dict):
        init = part.get("init_cfg")
        if isinstance(init, dict) and init.get("type") == "Pretrained":
            part["init_cfg"] = None
        for value in part.values():
            _forget_init(value)
    elif isinstance(part, (list, tuple)):
        for value in part:
            _forget_init(value)


def _test_dataset(cfg: Config) -> dict[str, Any]:
    """Find the test data set's config, wrappers taken off."""
    dataset = (cfg.get("test_dataloader") or cfg.get("val_dataloader") or {}).get("dataset")
    while dataset is not None and "dataset" in dataset:
        dataset = dataset["dataset"]
    if dataset is None or "pipeline" not in dataset:
        raise CellsegError(
            f"The config {cfg.filename} has no test_dataloader with a pipeline, which says how "
            f"images reach the model."
        )
    return dataset


def _class_names(dataset: dict[str, Any]) -> tuple[str, ...]:
    """Read the class names from a data set's config."""
    names = (dataset.get("metainfo") or {}).get("classes")
    if names is None:
        raise CellsegError(
            "The config's test data set names no classes; set metainfo=dict(classes=(...))."
        )
    return (names,) if isinstance(names, str) else tuple(names)
