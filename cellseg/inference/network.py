"""A network with its test pipeline: images of one size go in, their cells come out."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.logging import print_log
from numpy.typing import NDArray

from cellseg.datasets.resize_factors import find_constant_factor, find_resize_factors
from cellseg.inference.detector import DetectionLimits
from cellseg.inference.tile_plan import LEAST_TILE_PX
from cellseg.structures.cells import Cells

# Of a model that enlarges all images alike: the input that a tile makes, and the side of the test
# images that its limits of proposals and cells are meant for.
_TILE_INPUT_PX, _TEST_IMAGE_PX = 1024, 1000
_LEAST_CELL_AREA_PX = 16  # of the input: there are no more cells or proposals than fit into it


class InputPipeline:
    """A config's test pipeline without loading, at any scale.

    Args:
        steps: The test pipeline of the config.

    Attributes:
        constant_scale: Network pixels per pixel where the pipeline resizes all images alike, by
            another factor than 1; None elsewhere.
        input_size: The size that it resizes to, in pixels, or one for tiles where it has none.
        limit_area: Pixels of the input that the model's limits of cells are meant for.
    """

    def __init__(self, steps: Sequence[dict[str, Any]]) -> None:
        """Keep the steps; see the class."""
        self._steps = [step for step in steps if not str(step["type"]).startswith("Load")]
        constant = find_constant_factor(self._steps)
        self.constant_scale = None if constant == 1.0 else constant
        self.input_size = _find_input_size(self._steps, self.constant_scale)
        self.limit_area = float(math.prod(self.input_size))
        if self.constant_scale is not None:
            side = max(_TEST_IMAGE_PX * self.constant_scale, *self.input_size)
            self.limit_area = side**2
        self._built: dict[float | None, Compose] = {}

    def fit(self, size: tuple[int, int], scale: float | None) -> float | None:
        """Return a scale that leaves a pixel of a thin image: the wanted one, or a larger one."""
        least = (0.5 + 1e-6) / min(size)  # rounded, that is a pixel
        if scale is not None:
            return max(scale, least)
        factors = find_resize_factors(self._steps, *size)
        return least if factors is not None and factors.low < least else None

    def build(self, scale: float | None) -> Compose:
        """Build the pipeline for one scale; None resizes as the config says."""
        if scale not in self._built:
            steps = copy.deepcopy(self._steps)
            if scale is not None:
                for index, step in enumerate(steps):
                    if str(step["type"]).endswith("Resize"):
                        steps[index] = {"type": "Resize", "scale_factor": scale, "keep_ratio": True}
            self._built[scale] = Compose(steps)
        return self._built[scale]


class CellNetwork:
    """A network that finds the cells of images.

    Args:
        model: What finds cells: a detector, an ensemble, or either with test-time views.
        single: One detector of it, for estimates, which need no views or further models.
        pipeline: The test pipeline.
        class_names: Names of all classes.
        amp: Whether to compute in bfloat16 on a CPU, float16 on a GPU.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        single: torch.nn.Module,
        pipeline: InputPipeline,
        class_names: tuple[str, ...],
        device: torch.device,
        amp: bool,
    ) -> None:
        """Move the model to its device; see the class."""
        self.model = model.to(device, memory_format=torch.channels_last).eval()
        self._single = single
        self._pipeline = pipeline
        self._class_names = class_names
        self._device = device
        self._amp = amp
        self._limits = DetectionLimits(model)
        self._limits_said: set[int] = set()

    def find_cells(
        self, images: Sequence[NDArray[np.uint8]], scale: float | None, score_thr: float
    ) -> list[Cells]:
        """Find the cells of images.

        Args:
            images: (H, W, 3) uint8 B, G, R, all of one size; may be none.
            scale: Network pixels per pixel; None resizes as the config says.
            score_thr: Cells below this confidence are left out.

        Returns:
            The cells of each, in its pixels, highest score first.
        """
        if not images:
            return []
        samples = self._run(self.model, images, scale, score_thr)
        most = self._limits.most_cells
        if most is not None and any(len(sample.pred_instances) >= most for sample in samples):
            self._warn_of_limit(most)
        return [
            self._to_cells(sample.pred_instances, image.shape, score_thr)
            for sample, image in zip(samples, images, strict=True)
        ]

    def estimate_cells(self, image: NDArray[np.uint8], scale: float, score_thr: float) -> Cells:
        """Find the cells of one image for an estimate: one detector, one view."""
        samples = self._run(self._single, [image], scale, score_thr)
        return self._to_cells(samples[0].pred_instances, image.shape, score_thr)

    @torch.inference_mode()
    def _run(
        self,
        model: torch.nn.Module,
        images: Sequence[NDArray[np.uint8]],
        scale: float | None,
        score_thr: float,
    ) -> list[Any]:
        """Send images of one size through a network; mmdet's samples."""
        height, width = images[0].shape[:2]  # as are the others'
        scale = self._pipeline.fit((height, width), scale)
        pipeline = self._pipeline.build(scale)
        packed = [pipeline(_as_entry(image)) for image in images]
        batch = {
            "inputs": [item["inputs"] for item in packed],
            "data_samples": [item["data_samples"] for item in packed],
        }
        if scale is None:
            self._limits.scale(1.0)
        else:
            area = height * width * scale**2
            self._limits.scale(area / self._pipeline.limit_area, area / _LEAST_CELL_AREA_PX)
        self._limits.drop_below(score_thr)
        lower = torch.bfloat16 if self._device.type == "cpu" else torch.float16
        precision = torch.autocast(self._device.type, dtype=lower) if self._amp else nullcontext()
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
        cells = Cells.from_prediction(instances, shape[0], shape[1], self._class_names)
        cells = cells[cells.confidences >= score_thr]
        cells = cells[cells.areas > 0]
        return cells[np.argsort(-cells.confidences, kind="stable")]


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
