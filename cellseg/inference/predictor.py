"""Predict the cells of images of any size: whole, or tile by tile, with a trained model.

from cellseg.inference import Predictor

predictor = Predictor("nuclei-he")  # a name or folder; Predictor() takes the shipped model
predictor = Predictor("configs/cell/mask-rcnn_r18_small-anchor.py", "best.pth")
cells = predictor(image)          # (H, W, 3) uint8 R, G, B; or a path
cells.boxes, cells.scores, cells.classes, cells.rles, cells.label_map()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from numpy.typing import NDArray

from cellseg.cores import count_cores
from cellseg.engine.class_counts import check_class_counts
from cellseg.engine.configs import find_test_dataset, read_class_names, read_config, read_palette
from cellseg.engine.cpu_amp import warn_of_slow_bfloat16
from cellseg.engine.keep_memory_hook import keep_freed_memory
from cellseg.errors import CellsegError
from cellseg.images import ArraySource, ImageSize, ImageSource, open_image
from cellseg.images.stain_check import warn_of_swapped_array
from cellseg.inference.detector import (
    build_detector,
    check_fit,
    find_device,
    fold_batch_norms,
)
from cellseg.inference.ensemble import CellEnsemble
from cellseg.inference.mask_tta import CellTTAModel
from cellseg.inference.merging import merge_tiles
from cellseg.inference.model_source import open_model
from cellseg.inference.network import CellNetwork, InputPipeline
from cellseg.inference.scale_choice import (
    ScaleChoice,
    ScaleOptions,
    choose_scale,
    settle_scale,
    warn_of_other_ground,
    warn_of_other_sizes,
)
from cellseg.inference.tile_plan import (
    TileOptions,
    TilePlan,
    check_tiling,
    plan_tiles,
    read_tiles,
)
from cellseg.models.fused_convolutions import can_fuse, fuse_activations
from cellseg.structures.cells import Cells

_MOST_READERS = 8  # threads that decode tiles for a GPU; a CPU's time is all in the network
_ROUGH_SCORE = 0.3  # of cells that count in an estimate

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

    On a CPU, the process keeps the memory that it frees from then on (glibc only), which saves a
    quarter of the time.

    Args:
        config: The name or folder of a model; a checkpoint that holds its record; or the config
            that `checkpoint` was trained with. The model that comes with the package when None.
        checkpoint: The weights of a config; only weights are read, nothing in the file is run. None
            with a config leaves the weights as they are initialized, for tests.
        device: "cuda", "cpu", ...; a GPU where there is one, when None.
        score_thr: Cells below this confidence are dropped.
        tiling: How large images are cut.
        tta: Whether to merge the views of `CellTTAModel`, or its options.
        amp: Whether to compute in bfloat16 on a CPU, float16 on a GPU; a little less exact, and
            faster where the processor computes in it (a CPU that does not gets a warning).
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

    In the folder of the repository:

    >>> from cellseg import Predictor
    >>> predictor = Predictor("nuclei-cc0", device="cpu")
    >>> cells = predictor("data/examples/val/ae570a676961/image.tif")
    >>> cells.width, cells.height, cells.class_names
    (320, 256, ('nucleus',))
    >>> large = cells[cells.areas > 100]
    >>> 0 < len(large) < len(cells) < 100
    True
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
        self.model_source = open_model(config, checkpoint, cfg_options)
        self.cfg = self.model_source.config
        self.device = find_device(device)
        self.score_thr = score_thr
        self.tiling = tiling or TileOptions()
        self.amp = amp
        self._said_swapped = False  # that an array looks so
        self._num_readers = 1 if self.device.type == "cpu" else min(count_cores(), _MOST_READERS)
        if self.device.type == "cpu":
            _prepare_cpu(amp)
        init_default_scope(self.cfg.get("default_scope", "mmdet"))
        with self.model_source.explain_building():
            check_class_counts(self.cfg, ("test",))
            self._read_dataset(find_test_dataset(self.cfg))
        check_tiling(self.tiling, self._pipeline.input_size)
        self.scale_options = ScaleOptions(self.tiling.scale, diameter_px, is_resampled)
        self.settle_scale()  # what contradicts itself is said before the weights are loaded
        with self.model_source.explain_building():
            if self.model_source.is_alone:
                source = self.model_source
                check_fit(self.cfg, source.checkpoint or {}, source.path or source.name)
            single = self._speed_up(
                build_detector(self.cfg, self.model_source.path, self.model_source.checkpoint)
            )
        self.model_source = replace(self.model_source, checkpoint=None)  # its weights are copied
        others = [self._build_member(*member, cfg_options) for member in ensemble]
        model = self._wrap(single, others, tta)
        self._network = CellNetwork(
            model, single, self._pipeline, self.class_names, self.device, amp
        )

    @property
    def model(self) -> torch.nn.Module:
        """What finds cells: the detector, or it with further models or views."""
        return self._network.model

    @property
    def model_name(self) -> str:
        """What to call the model."""
        return self.model_source.name

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
            if channel_order == "rgb" and not self._said_swapped and array.ndim == 3:
                self._said_swapped = warn_of_swapped_array(array)
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
        record = self.model_source.record
        found = (
            warn_of_other_ground(source, record, where),
            warn_of_other_sizes(cells, choice.factor, record, where),
        )
        return [text for text in found if text is not None]

    def settle_scale(self) -> ScaleChoice | None:
        """Choose the scale of all images; None where each needs its own."""
        return settle_scale(
            self.scale_options, self.model_source.record, self._pipeline.constant_scale
        )

    def choose_scale(self, source: ImageSource) -> ScaleChoice:
        """Choose the scale of one image, and say why; it may take a few passes of the network."""
        choice = self.settle_scale()
        record = self.model_source.record
        if choice is None and record is not None:
            choice = choose_scale(source, self.find_roughly, record, self._pipeline.constant_scale)
        return choice or ScaleChoice(self._pipeline.constant_scale, "as its test pipeline says")

    def find_roughly(self, image: NDArray[np.uint8], scale: float) -> Cells:
        """Find the cells of an array (H, W, 3) B, G, R for an estimate, low scores included."""
        return self._network.estimate_cells(image, scale, _ROUGH_SCORE)

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
        return plan_tiles(size.height, size.width, tiling, self._pipeline.input_size)

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
        skip, readers = self.tiling.skip_background, self._num_readers
        for indices, images in read_tiles(source, plan, wanted, skip, readers):
            kept = [
                place for place, image in zip(indices, images, strict=True) if image is not None
            ]
            shown = [image for image in images if image is not None]
            found = self._network.find_cells(shown, plan.scale, self.score_thr)
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

    def _read_dataset(self, dataset: Mapping[str, Any]) -> None:
        """Take over what the test data set of the config says of images and classes."""
        self._pipeline = InputPipeline(dataset["pipeline"])
        self.class_names: tuple[str, ...] = read_class_names(dataset)
        self.palette = read_palette(dataset)
        self.image_format: dict[str, Any] = {
            key: dataset[key] for key in ("channel_order", "intensity_range") if key in dataset
        }

    def _wrap(
        self,
        model: torch.nn.Module,
        others: Sequence[torch.nn.Module],
        tta: bool | dict[str, Any],
    ) -> torch.nn.Module:
        """Join a model with further ones, and let it see several views, where that is asked for."""
        if others:
            model = CellEnsemble([model, *others])
        if tta:
            options = {**self.cfg.get("tta_model", {}), **(tta if isinstance(tta, dict) else {})}
            options.pop("type", None)
            model = CellTTAModel(model, **options)
        return model

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
        return self._speed_up(build_detector(cfg, checkpoint))

    def _speed_up(self, model: torch.nn.Module) -> torch.nn.Module:
        """Fold batch norms and fuse activations into convolutions, where that can be done."""
        model = fold_batch_norms(model)
        if self.device.type == "cpu" and can_fuse(torch.bfloat16 if self.amp else torch.float32):
            fuse_activations(model)
        return model


def _prepare_cpu(amp: bool) -> None:
    """Let a CPU predict as fast as it can, and warn where mixed precision slows it down."""
    keep_freed_memory()  # else a quarter of the time goes into asking for it again
    if amp:
        warn_of_slow_bfloat16()
