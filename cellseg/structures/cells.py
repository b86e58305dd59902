"""The cells of one image: one type from label maps and networks to scores and files.

>>> import numpy as np
>>> label_map = np.array([[1, 1, 0, 0], [1, 0, 0, 2]])
>>> cells = Cells.from_label_map(label_map, class_names=("nucleus",))
>>> cells.boxes.tolist(), cells.areas.tolist()
([[0.0, 0.0, 2.0, 2.0], [3.0, 1.0, 4.0, 2.0]], [3, 1])
>>> cells[cells.areas > 1].label_map().tolist()
[[1, 1, 0, 0], [1, 0, 0, 0]]
>>> len(cells[[]]), cells[1].classes
(0, ['nucleus'])
>>> moved = cells.offset_to(x0=1, y0=0, height=2, width=4)  # a tile's cells in their image
>>> Cells.concatenate([cells, moved]).boxes[:, 0].tolist()
[0.0, 3.0, 1.0]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellseg.structures.cell_masks import CellMasks
from cellseg.structures.cell_outputs import CellOutputs
from cellseg.structures.rle import RLE, encode_crop, find_runs
from cellseg.structures.runs import Crop, Runs, paint_runs


@dataclass(eq=False, repr=False)
class Cells(CellOutputs):
    """The cells of one image, in the pixels of that image; N may be 0.

    Attributes:
        boxes: (N, 4) float32 as x1, y1, x2, y2 in pixels, x2 and y2 exclusive.
        scores: (N,) confidences, float32 (float64 is kept where it is given); None for ground truth
            and for tools that give none.
        labels: (N,) int64 classes, indices into class_names; -1 for a region of no class.
        masks: N masks, also taken as a list of RLEs; None where there are boxes only.
        height: Image height in pixels.
        width: Image width in pixels.
        class_names: Names of all classes; may be left out where only indices matter.
        pixel_size_um: Side of a pixel in micrometers, where it is known.
        downsample: Full-resolution pixels per pixel here; 1 unless a coarser level was predicted.
        ignored: (N,) bool, True for regions that are excluded from scoring; None for none.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.floating] | None
    labels: NDArray[np.int64]
    masks: CellMasks | None
    height: int
    width: int
    class_names: tuple[str, ...] = ()
    pixel_size_um: float | None = None
    downsample: float = 1.0
    ignored: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        """Bring the arrays to their dtypes and check that they belong together.

        Raises:
            ValueError: If the parts differ in length.
        """
        self.boxes = np.asarray(self.boxes, dtype=np.float32).reshape(-1, 4)
        self.labels = np.asarray(self.labels, dtype=np.int64).reshape(-1)
        self.class_names = tuple(self.class_names)
        if self.scores is not None:
            is_double = getattr(self.scores, "dtype", None) == np.float64
            scores: NDArray[Any] = np.asarray(self.scores, np.float64 if is_double else np.float32)
            self.scores = scores.reshape(-1)
        if self.ignored is not None:
            self.ignored = np.asarray(self.ignored, dtype=bool).reshape(-1)
        if self.masks is not None and not isinstance(self.masks, CellMasks):
            self.masks = CellMasks(self.height, self.width, rles=self.masks)
        parts = (self.boxes, self.scores, self.labels, self.masks, self.ignored)
        lengths = [None if part is None else len(part) for part in parts]
        if len(set(lengths) - {None}) != 1:
            boxes, num_scores, labels, masks, ignored = lengths
            raise ValueError(
                f"Cells need one box, score, label and mask each, not {boxes}, {num_scores}, "
                f"{labels} and {masks}; and if ignored is given, one of it, not {ignored}."
            )

    @classmethod
    def empty(cls, height: int, width: int, class_names: Sequence[str], **attributes: Any) -> Cells:
        """Make the prediction of an image without cells; attributes are further fields by name."""
        nothing = np.zeros(0, dtype=np.float32)
        masks = CellMasks(height, width, rles=[])
        labels = nothing.astype(np.int64)
        return cls(nothing, nothing, labels, masks, height, width, tuple(class_names), **attributes)

    @classmethod
    def from_label_map(
        cls,
        label_map: NDArray[np.integer],
        labels: ArrayLike = 0,
        class_names: Sequence[str] = (),
        **attributes: Any,
    ) -> Cells:
        """Make cells of a label map, in one pass.

        Args:
            label_map: (H, W) integer; 0 is background, each positive value one cell, in one piece
                or several. Values need not be contiguous.
            labels: The class of all cells, or (N,) that of each, ids ascending.
            class_names: Names of all classes.
            **attributes: Further fields by name.

        Returns:
            N cells without scores, ids ascending; their boxes are tight.

        Raises:
            ValueError: If label_map is not a two-dimensional integer array.
        """
        ids, runs = find_runs(label_map)
        height, width = label_map.shape
        masks = CellMasks(height, width, runs=runs, num_masks=len(ids))
        labels = np.broadcast_to(np.asarray(labels, dtype=np.int64), (len(ids),))
        boxes = masks.measure()[0].astype(np.float32)
        fields: dict[str, Any] = {"scores": None, "class_names": tuple(class_names), **attributes}
        return cls(boxes, labels=labels, masks=masks, height=height, width=width, **fields)

    @classmethod
    def from_rles(
        cls,
        rles: Sequence[RLE],
        height: int,
        width: int,
        labels: ArrayLike = 0,
        scores: ArrayLike | None = None,
        **attributes: Any,
    ) -> Cells:
        """Make cells of masks; their boxes are tight.

        Args:
            rles: N masks.
            height: Image height in pixels.
            width: Image width in pixels.
            labels: The class of all cells, or (N,) that of each.
            scores: (N,) confidences, or None.
            **attributes: Further fields by name.

        Returns:
            The N cells.
        """
        masks = CellMasks(height, width, rles=rles)
        labels = np.asarray(labels, dtype=np.int64)
        labels = labels if labels.ndim else np.full(len(masks), labels)
        scores = None if scores is None else np.asarray(scores)
        boxes = masks.measure()[0].astype(np.float32)
        return cls(boxes, scores, labels, masks, height, width, **attributes)

    @classmethod
    def from_instances(
        cls,
        instances: Sequence[Mapping[str, Any]],
        height: int,
        width: int,
        class_names: Sequence[str] = (),
    ) -> Cells:
        """Read the ground truth of an image as MMDetection's data sets hold it.

        Args:
            instances: N dicts with bbox (x1, y1, x2, y2 in px), bbox_label, and if known
                ignore_flag and mask (RLE).
            height: Image height in pixels.
            width: Image width in pixels.
            class_names: Names of all classes.

        Returns:
            The cells and the regions to ignore; without masks if an instance has none.
        """
        boxes = np.array([i["bbox"] for i in instances], dtype=np.float32).reshape(-1, 4)
        labels = np.array([i["bbox_label"] for i in instances], dtype=np.int64)
        ignored = np.array([bool(i.get("ignore_flag", 0)) for i in instances], dtype=bool)
        has_masks = all(i.get("mask") is not None for i in instances)
        rles = to_rles([i["mask"] for i in instances]) if has_masks else None
        masks = None if rles is None else CellMasks(height, width, rles=rles)
        names = tuple(class_names)
        return cls(boxes, None, labels, masks, height, width, names, ignored=ignored)

    @classmethod
    def from_prediction(
        cls, prediction: Any, height: int, width: int, class_names: Sequence[str] = ()
    ) -> Cells:
        """Read MMDetection's predictions of an image, fetching each tensor from its device once.

        Args:
            prediction: A mapping (or InstanceData) with bboxes (N, 4), labels (N,), and where there
                are any, scores (N,) and masks in any form that `to_rles` takes.
            height: Image height in pixels.
            width: Image width in pixels.
            class_names: Names of all classes.

        Returns:
            The cells in the order given.
        """
        scores, masks = prediction.get("scores"), prediction.get("masks")
        boxes = prediction["bboxes"]
        return cls(
            to_numpy(getattr(boxes, "tensor", boxes)).astype(np.float32),
            None if scores is None else to_numpy(scores),
            to_numpy(prediction["labels"]).astype(np.int64),
            None if masks is None else CellMasks(height, width, rles=to_rles(masks)),
            height,
            width,
            tuple(class_names),
        )

    @classmethod
    def from_crops(
        cls, crops: Iterable[Crop], scores: ArrayLike, labels: ArrayLike, like: Cells
    ) -> Cells:
        """Make cells of crops, for an image as `like` describes it; boxes are the masks' own.

        Args:
            crops: N crops; they may reach outside the image, where they are cut off.
            scores: (N,) confidences.
            labels: (N,) classes.
            like: Gives the image size, class names and pixel size.

        Returns:
            The cells that have a pixel inside the image.
        """
        masks = CellMasks.from_crops(list(crops), like.height, like.width)
        boxes, areas = masks.measure()
        scores = np.asarray(scores, dtype=np.float32)
        cells = replace(
            like,
            boxes=boxes.astype(np.float32),
            scores=scores,
            labels=np.asarray(labels),
            masks=masks,
            ignored=None,
        )
        return cells[areas > 0]

    @classmethod
    def concatenate(cls, parts: Sequence[Cells]) -> Cells:
        """Join cells of the same image; scores, masks and ignored where all parts have them.

        Raises:
            ValueError: If there is no part, or the parts differ in image size.
        """
        if not parts or len({(part.height, part.width) for part in parts}) != 1:
            raise ValueError(
                "Only cells of one image size can be joined, and at least one part is needed."
            )
        joined: dict[str, Any] = {}
        for name in ("boxes", "scores", "labels", "ignored"):
            columns = [getattr(part, name) for part in parts]
            whole = all(column is not None for column in columns)
            joined[name] = np.concatenate(columns) if whole else None
        if any(part.ignored is not None for part in parts):
            joined["ignored"] = np.concatenate([part.is_ignored for part in parts])
        masks = [part.masks for part in parts if part.masks is not None]
        joined["masks"] = CellMasks.concatenate(masks) if len(masks) == len(parts) else None
        return replace(parts[0], **joined)

    def __len__(self) -> int:
        """Count the cells."""
        return len(self.labels)

    def __getitem__(self, index: ArrayLike | slice) -> Cells:
        """Select cells by an index, a slice, a bool mask (N,) or integer indices (or none: [])."""
        if not isinstance(index, slice):
            index = np.asarray(index)
            index = index if index.size else index.astype(bool if index.dtype == bool else int)
        places = np.atleast_1d(np.arange(len(self))[index])
        return replace(
            self,
            boxes=self.boxes[places],
            scores=None if self.scores is None else self.scores[places],
            labels=self.labels[places],
            masks=None if self.masks is None else self.masks[places],
            ignored=None if self.ignored is None else self.ignored[places],
        )

    @property
    def classes(self) -> list[str]:
        """Class name of each cell."""
        return [self.class_names[label] for label in self.labels.tolist()]

    @property
    def confidences(self) -> NDArray[np.floating]:
        """(N,) scores; infinite where there are none, so that such cells pass every threshold."""
        return np.full(len(self), np.inf) if self.scores is None else self.scores

    @property
    def is_ignored(self) -> NDArray[np.bool_]:
        """(N,) bool, True for regions that are excluded from scoring."""
        return np.zeros(len(self), dtype=bool) if self.ignored is None else self.ignored

    @property
    def rles(self) -> list[RLE]:
        """N masks as COCO RLE of the whole image, with text counts."""
        return self.get_masks().rles

    @property
    def runs(self) -> Runs:
        """Runs of the N masks."""
        return self.get_masks().runs

    @property
    def areas(self) -> NDArray[np.int64]:
        """(N,) pixels of the masks, or of the boxes where there are no masks."""
        if self.masks is None:
            boxes = self.boxes.astype(np.float64)
            return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).astype(np.int64)
        return self.measure()[1]

    def measure(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Measure tight mask boxes (N, 4), x2 and y2 exclusive, and areas (N,), both in pixels."""
        return self.get_masks().measure()

    def crops(self) -> list[Crop]:
        """Draw all masks, each inside its tight box; together they cost the cells' area."""
        return self.get_masks().crops()

    def label_map(self) -> NDArray[np.int32]:
        """Paint the cells into one (H, W) int32 map: i + 1 is cell i, 0 is background.

        Where cells overlap the higher score wins, then the earlier cell.
        """
        priority = np.zeros(len(self)) if self.scores is None else self.scores
        return paint_runs(self.get_masks().runs, priority, self.height, self.width)

    def offset_to(self, x0: int, y0: int, height: int, width: int) -> Cells:
        """Move the cells of a tile into the image that the tile was cut from.

        Args:
            x0: Image column of the tile's first column, in pixels.
            y0: Image row of the tile's first row, in pixels.
            height: Image height in pixels; what reaches outside the image is cut off.
            width: Image width in pixels.

        Returns:
            The same cells in the pixels of the image; those wholly outside are left out.
        """
        moved = self.boxes + np.array([x0, y0, x0, y0], dtype=np.float32)
        moved = moved.clip(0, np.array([width, height, width, height], dtype=np.float32))
        masks = self.get_masks().offset_to(x0, y0, height, width)
        cells = replace(self, boxes=moved, masks=masks, height=height, width=width)
        present = masks.measure()[1] > 0
        return cells if present.all() else cells[present]

    def get_masks(self) -> CellMasks:
        """Return the masks; raise ValueError where there are boxes only."""
        if self.masks is None:
            raise ValueError("These cells have boxes only, no masks.")
        return self.masks


def to_rles(masks: Any) -> list[RLE]:
    """Bring masks of any kind that MMDetection knows to RLE.

    Args:
        masks: A list of N RLEs (counts may be bytes), LabelMapMasks, BitmapMasks, PolygonMasks, or
            (N, H, W) bool tensor or array; N may be 0.

    Returns:
        N RLEs with text counts.
    """
    if isinstance(masks, list | tuple):
        return [_with_text_counts(rle) for rle in masks]
    if hasattr(masks, "encode_rles"):  # LabelMapMasks
        rles: list[RLE] = masks.encode_rles()
        return rles
    bitmaps = masks.to_ndarray() if hasattr(masks, "to_ndarray") else to_numpy(masks)
    return [encode_crop(bitmap.astype(bool), 0, 0, *bitmap.shape) for bitmap in bitmaps]


def to_numpy(values: Any) -> NDArray[Any]:
    """Bring a tensor to the CPU as an array, in float32 where it is of half precision."""
    if hasattr(values, "detach"):
        values = values.detach()
        values = values.float() if values.is_floating_point() and values.itemsize < 4 else values
        values = values.cpu().numpy()
    return np.asarray(values)


def _with_text_counts(rle: RLE) -> RLE:
    """Return an RLE whose counts are text; pycocotools' encoder gives bytes."""
    if isinstance(rle["counts"], bytes):
        return RLE(size=list(rle["size"]), counts=rle["counts"].decode("ascii"))
    return rle
