"""The visualizer of dense images: outlines and counts in place of a label on every cell."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmdet.registry import VISUALIZERS
from mmdet.structures import DetDataSample
from mmdet.structures.mask.structures import BaseInstanceMasks
from mmdet.visualization import DetLocalVisualizer
from mmengine.dist import master_only
from mmengine.structures import InstanceData
from numpy.typing import NDArray

from cellseg.fileio import write_atomically
from cellseg.palette import IGNORED_COLOR, Color, choose_palette, color_of
from cellseg.structures.cells import Cells
from cellseg.visualization.overlays import draw_boxes, draw_outlines
from cellseg.visualization.panels import CaptionEntry, join_panels, resize_for_display


@VISUALIZERS.register_module()
class CellVisualizer(DetLocalVisualizer):
    """Draw ground truth beside predictions as outlines, with counts in a caption.

    Takes masks as RLE lists, LabelMapMasks, bitmaps or polygons. Ground truth is the data sample's
    `gt_instances` where they hold masks of the image's size, and its `instances` otherwise.

    Args:
        name: Name of this instance.
        args: As for DetLocalVisualizer.
        show_scores: Write the score of every predicted cell; unreadable on dense images.
        min_side_px: Images whose longer side is shorter are enlarged, at most 4 times.
        max_side_px: Images whose longer side is longer are shrunk; None leaves them.
        kwargs: As for DetLocalVisualizer.
    """

    def __init__(
        self,
        name: str = "visualizer",
        *args: Any,
        show_scores: bool = False,
        min_side_px: int = 768,
        max_side_px: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, *args, **kwargs)
        self.show_scores = show_scores
        self.min_side_px = min_side_px
        self.max_side_px = max_side_px

    def draw_comparison(
        self,
        image: NDArray[np.uint8],
        data_sample: DetDataSample | None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        pred_score_thr: float = 0.3,
        max_side_px: int | None = None,
    ) -> NDArray[np.uint8]:
        """Draw ground truth and predictions side by side. Works in every process of a test.

        Args:
            image: (H, W, 3) uint8 RGB.
            data_sample: What to draw; None shows the image alone.
            draw_gt: Draw a panel of the ground truth, where there is one.
            draw_pred: Draw a panel of the predictions, where there are some.
            pred_score_thr: Draw predictions above this score.
            max_side_px: Overrides the visualizer's own.

        Returns:
            (h, w, 3) uint8 RGB with one or two panels and their captions.
        """
        limit = self.max_side_px if max_side_px is None else max_side_px
        shown, scale = resize_for_display(image, self.min_side_px, limit)
        parts: list[tuple[str, Cells]] = []
        if data_sample is not None:
            data_sample = data_sample.cpu()
            truth = (
                find_ground_truth(data_sample, (image.shape[0], image.shape[1]))
                if draw_gt
                else None
            )
            if truth is not None:
                parts.append(("ground truth", truth))
            if draw_pred and "pred_instances" in data_sample:
                cells = find_predictions(data_sample.pred_instances, image.shape, pred_score_thr)
                parts.append((f"predicted, score > {pred_score_thr:g}", cells))
        if not parts:
            return shown
        palette = self._palette(*(cells for _, cells in parts))
        panels = [
            (self._draw_cells(shown, cells, palette, scale), title, self._count(cells, palette))
            for title, cells in parts
        ]
        return join_panels(panels)

    @master_only
    def add_datasample(
        self,
        name: str,
        image: NDArray[np.uint8],
        data_sample: DetDataSample | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | Path | None = None,
        pred_score_thr: float = 0.3,
        step: int = 0,
    ) -> None:
        """Draw a data sample and show it, write it, or send it to the backends, as mmdet does.

        Args:
            name: Name of the image in the backends and of the window.
            image: (H, W, 3) RGB.
            data_sample: What to draw.
            draw_gt: Draw the ground truth.
            draw_pred: Draw the predictions.
            show: Open a window.
            wait_time: Seconds that the window stays; 0 waits for a key.
            out_file: Write here, and not to the backends.
            pred_score_thr: Draw predictions above this score.
            step: Step in the backends.
        """
        drawn = self.draw_comparison(
            image.clip(0, 255).astype(np.uint8), data_sample, draw_gt, draw_pred, pred_score_thr
        )
        self.set_image(drawn)
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is not None:
            write_image(out_file, drawn)
        else:
            self.add_image(name, drawn, step)

    def _draw_instances(
        self,
        image: NDArray[np.uint8],
        instances: InstanceData,
        classes: list[str] | None,
        palette: list[Color] | None,
    ) -> NDArray[np.uint8]:
        """Draw instances as outlines, where mmdet's own code asks for it.

        Args:
            image: (H, W, 3) uint8 RGB.
            instances: With labels, and masks or bboxes.
            classes: Unused: outlines carry no text.
            palette: Colors of the classes.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        cells = _read_instances(instances, image.shape)
        drawn = self._draw_cells(image, cells, palette or self._palette(cells), 1.0)
        self.set_image(drawn)
        return drawn

    def _draw_cells(
        self,
        shown: NDArray[np.uint8],
        cells: Cells,
        palette: Sequence[Color],
        scale: float,
    ) -> NDArray[np.uint8]:
        """Draw masks, or boxes where there are no masks, on a resized image."""
        if cells.masks is None:
            return draw_boxes(shown, cells.boxes, cells.labels, palette, scale)
        scores = cells.scores if self.show_scores else None
        return draw_outlines(shown, cells.crops(), cells.labels, palette, scores, scale)

    def _count(self, cells: Cells, palette: Sequence[Color]) -> list[CaptionEntry]:
        """Say how many cells of each class there are."""
        names = (self.dataset_meta or {}).get("classes") or ()
        num_classes = max(len(names), int(cells.labels.max(initial=-1)) + 1)
        counts = np.bincount(cells.labels[cells.labels >= 0], minlength=num_classes)
        entries = [
            CaptionEntry(
                f"{names[k] if k < len(names) else f'class {k}'}: {count}", color_of(k, palette)
            )
            for k, count in enumerate(counts.tolist())
        ]
        ignored = int((cells.labels < 0).sum())
        if ignored:
            entries.append(CaptionEntry(f"ignored: {ignored}", IGNORED_COLOR))
        return entries

    def _palette(self, *drawn: Cells) -> list[Color]:
        """Return the data set's colors, or the default ones where it has none."""
        names = (self.dataset_meta or {}).get("classes") or ()
        labels = [int(cells.labels.max(initial=-1)) + 1 for cells in drawn]
        palette = (self.dataset_meta or {}).get("palette")
        own = palette if isinstance(palette, list | tuple) else None
        return choose_palette(max(len(names), *labels), own)


def find_ground_truth(data_sample: DetDataSample, shape: tuple[int, int]) -> Cells | None:
    """Find the ground truth of a data sample that fits an image.

    Args:
        data_sample: With gt_instances (in the frame of the network's input) or `instances` (in the
            frame of the file), or neither.
        shape: (H, W) of the image to draw on.

    Returns:
        The annotated cells; None where nothing says whether there are any.
    """
    truth = data_sample.get("gt_instances")
    if truth is not None and "labels" in truth and _fits(truth.get("masks"), shape):
        cells = _read_instances(truth, shape)
        ignored = data_sample.get("ignored_instances")
        if ignored is not None and "labels" in ignored and _fits(ignored.get("masks"), shape):
            regions = _read_instances(ignored, shape)
            regions = replace(regions, labels=np.full(len(regions), -1))
            return Cells.concatenate([cells, regions])
        return cells
    instances = data_sample.get("instances")
    if instances is None:
        return None
    height, width = data_sample.get("ori_shape", shape)[:2]
    cells = Cells.from_instances(instances, height, width)
    return replace(cells, labels=np.where(cells.is_ignored, -1, cells.labels))


def find_predictions(
    pred_instances: InstanceData, shape: tuple[int, ...], score_thr: float
) -> Cells:
    """Pick the predictions above a score.

    Args:
        pred_instances: With scores, labels, bboxes, and masks (RLEs or bitmaps) if predicted.
        shape: (H, W) of the image that they are of.
        score_thr: Scores must be above it.

    Returns:
        The cells, highest score first.
    """
    cells = _read_instances(pred_instances, shape)
    scores = cells.confidences
    picked = np.argsort(-scores, kind="stable")
    return cells[picked[scores[picked] > score_thr]]


def write_image(path: str | Path, image: NDArray[np.uint8]) -> Path:
    """Write an RGB image (H, W, 3) as PNG or JPEG, by the file's suffix; PNG if there is none."""
    suffix = Path(path).suffix.lower()
    done, encoded = cv2.imencode(
        suffix if suffix in (".png", ".jpg", ".jpeg") else ".png",
        cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
    )
    if not done:
        raise OSError(f"{path} cannot be encoded as an image; use .png or .jpg.")
    return write_atomically(path, encoded.tobytes())


def _read_instances(instances: InstanceData, shape: tuple[int, ...]) -> Cells:
    """Read labels, masks, boxes and scores; an instance set without fields is empty."""
    found = {key: instances.get(key) for key in ("labels", "masks", "bboxes", "scores")}
    if found["labels"] is None:
        found["labels"] = np.zeros(0, dtype=np.int64)
    if found["bboxes"] is None:
        found["bboxes"] = np.zeros((len(found["labels"]), 4))
    return Cells.from_prediction(found, shape[0], shape[1])


def _fits(masks: Any, shape: tuple[int, int]) -> bool:
    """Return whether masks that know their size have this one."""
    return isinstance(masks, BaseInstanceMasks) and (masks.height, masks.width) == tuple(shape)
