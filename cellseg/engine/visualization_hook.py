"""Overlays during training and for `--show-dir`, named by image and read by our own reader."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop
from numpy.typing import NDArray

from cellseg.images import read_cell_image
from cellseg.visualization.cell_visualizer import CellVisualizer, write_image


@HOOKS.register_module()
class CellVisualizationHook(Hook):
    """Draw ground truth beside predictions, as outlines.

    Validation draws the same few images at every evaluation, spread over the validation set, and
    sends them to the visualizer's backends (files and TensorBoard). A test draws every image, to
    test_out_dir if given and to the backends otherwise. Unlike mmdet's hook, files are named by the
    image's folder (there, all are called image.tif), images are read with the sample's own
    image_format (there, hw3's tissue comes out brown), and every process of a test draws its share.

    Args:
        draw: Draw at all.
        interval: Draw at every interval-th evaluation of a training, from the first one on.
        num_images: How many images an evaluation draws.
        score_thr: Draw predictions above this score.
        show: Open a window for each image.
        wait_time: Seconds that the window stays; 0 waits for a key.
        test_out_dir: Folder for the overlays of a test; a relative one lies in the folder of the
            test's log, `<work_dir>/<timestamp>/`, as in MMDetection.
        val_max_side_px: Overlays of an evaluation are shrunk to this, in pixels of the longer side
            of a panel, as the backends keep every one of them.

    Raises:
        ValueError: If interval or num_images is below 1.
    """

    def __init__(
        self,
        draw: bool = False,
        interval: int = 1,
        num_images: int = 4,
        score_thr: float = 0.3,
        show: bool = False,
        wait_time: float = 0.0,
        test_out_dir: str | None = None,
        val_max_side_px: int = 1024,
    ) -> None:
        if interval < 1 or num_images < 1:
            raise ValueError(
                "interval and num_images must be at least 1; draw=False draws nothing."
            )
        self.draw = draw
        self.interval = interval
        self.num_images = num_images
        self.score_thr = score_thr
        self.show = show
        self.wait_time = wait_time
        self.test_out_dir = test_out_dir
        self.val_max_side_px = val_max_side_px
        self._evaluations = 0
        self._num_tested = 0
        self._taken: dict[str, Any] = {}

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[DetDataSample] | None = None,
    ) -> None:
        """Draw the first image of a few batches, always the same ones."""
        if not self.draw or not outputs or self._evaluations % self.interval:
            return
        if batch_idx not in _spread(len(runner.val_dataloader), self.num_images):
            return
        sample = outputs[0]
        drawn = self._draw(runner, sample, self.val_max_side_px)
        if self.show:
            runner.visualizer.show(drawn, win_name=name_of(sample), wait_time=self.wait_time)
        runner.visualizer.add_image(f"val_{name_of(sample)}", drawn, step=_iteration_of(runner))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Count evaluations."""
        self._evaluations += 1

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[DetDataSample] | None = None,
    ) -> None:
        """Draw every image of a test batch."""
        if not self.draw:
            return
        for sample in outputs or ():
            self._num_tested += 1
            drawn = self._draw(runner, sample)
            if self.show:
                runner.visualizer.show(drawn, win_name=name_of(sample), wait_time=self.wait_time)
            if self.test_out_dir is not None:
                write_image(self._out_folder(runner) / f"{self._unique_name(sample)}.png", drawn)
            elif not self.show:
                name = f"test_{name_of(sample)}"
                runner.visualizer.add_image(name, drawn, step=self._num_tested)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Say where the overlays lie."""
        if self.draw and self.test_out_dir is not None and self._num_tested:
            message = f"Drew {self._num_tested} overlays into {self._out_folder(runner)}"
            print_log(message, logger="current")

    def _draw(
        self, runner: Runner, sample: DetDataSample, max_side_px: int | None = None
    ) -> NDArray[np.uint8]:
        """Read a sample's image and draw it (h, w, 3) RGB."""
        visualizer = runner.visualizer
        if not isinstance(visualizer, CellVisualizer):
            raise TypeError(
                "CellVisualizationHook draws with CellVisualizer; set visualizer=dict("
                f"type='CellVisualizer', ...) in the config, not {type(visualizer).__name__}."
            )
        image = read_cell_image(sample.img_path, sample.get("image_format"))
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        return visualizer.draw_comparison(
            image, sample, pred_score_thr=self.score_thr, max_side_px=max_side_px
        )

    def _out_folder(self, runner: Runner) -> Path:
        """Return the folder of a test's overlays."""
        return Path(runner.work_dir) / runner.timestamp / str(self.test_out_dir)

    def _unique_name(self, sample: DetDataSample) -> str:
        """Name a file by its image, and by the id too where two images share a name."""
        name, img_id = name_of(sample), sample.get("img_id")
        if self._taken.setdefault(name, img_id) != img_id:
            name = f"{name}__{img_id}"
        return name


def name_of(sample: DetDataSample) -> str:
    """Name a sample for files: its image name, or its folder's, without slashes.

    Args:
        sample: With img_name (`slide7/patch2`), or at least img_path.

    Returns:
        A name such as `slide7__patch2`.
    """
    path = Path(sample.img_path)
    name = str(sample.get("img_name") or "").replace("\\", "/").strip("./")
    return (name or path.parent.name or path.stem).replace("/", "__")


def _spread(num_batches: int, num_images: int) -> set[int]:
    """Pick batches spread evenly over all, the first among them."""
    count = min(num_batches, num_images)
    return {index * num_batches // count for index in range(count)}


def _iteration_of(runner: Runner) -> int:
    """Return the training's iteration without building a loop for it; 0 where none runs."""
    loop = runner._train_loop
    return int(loop.iter) if isinstance(loop, BaseLoop) else 0
