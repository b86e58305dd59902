"""The cells found in one image: what the predictor returns and the writers take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellseg.structures import rle as rle_runs
from cellseg.structures.rle import RLE, encode_columns, measure_rles, rles_to_label_map


class Crop(NamedTuple):
    """One mask inside its tight box: `mask` (h, w) bool, at image column x0 and row y0."""

    mask: NDArray[np.bool_]
    x0: int
    y0: int


@dataclass(eq=False)
class Cells:
    """The cells of one image, in the pixels of that image.

    Attributes:
        boxes: (N, 4) float32 predicted boxes as x1, y1, x2, y2 in pixels; N may be 0.
        scores: (N,) float32 confidences in 0 to 1.
        labels: (N,) int64 classes, indices into class_names.
        rles: N masks as COCO RLE of the whole image; none of them is empty.
        height: Image height in pixels.
        width: Image width in pixels.
        class_names: Names of all classes the model knows.
        pixel_size_um: Side of a pixel in micrometres, where it is known.
        downsample: Full-resolution pixels per pixel here; 1 unless a coarser level was predicted.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    rles: list[RLE]
    height: int
    width: int
    class_names: tuple[str, ...]
    pixel_size_um: float | None = None
    downsample: float = 1.0

    def __post_init__(self) -> None:
        """Bring the arrays to their dtypes and check that they belong together.

        Raises:
            ValueError: If the parts differ in length.
        """
        self.boxes = np.asarray(self.boxes, dtype=np.float32).reshape(-1, 4)
        self.scores = np.asarray(self.scores, dtype=np.float32).reshape(-1)
        self.labels = np.asarray(self.labels, dtype=np.int64).reshape(-1)
        self.class_names = tuple(self.class_names)
        lengths = {len(self.boxes), len(self.scores), len(self.labels), len(self.rles)}
        if len(lengths) != 1:
            raise ValueError(
                f"Cells need one box, score, label and mask each, not {len(self.boxes)}, "
                f"{len(self.scores)}, {len(self.labels)} and {len(self.rles)}."
            )

    @classmethod
    def empty(cls, height: int, width: int, class_names: Sequence[str], **attributes: Any) -> Cells:
        """Make the result of an image without cells; attributes are further fields by name."""
        no_boxes = np.zeros((0, 4), dtype=np.float32)
        nothing = np.zeros(0, dtype=np.float32)
        labels = np.zeros(0, dtype=np.int64)
        return cls(no_boxes, nothing, labels, [], height, width, tuple(class_names), **attributes)

    @classmethod
    def concatenate(cls, parts: Sequence[Cells]) -> Cells:
        """Join cells of the same image.

        Raises:
            ValueError: If there is no part, or the parts differ in image size.
        """
        if not parts or len({(part.height, part.width) for part in parts}) != 1:
            raise ValueError(
                "Only cells of one image size can be joined, and at least one part is needed."
            )
        return replace(
            parts[0],
            boxes=np.concatenate([part.boxes for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
            labels=np.concatenate([part.labels for part in parts]),
            rles=[rle for part in parts for rle in part.rles],
        )

    def __len__(self) -> int:
        """Count the cells."""
        return len(self.scores)

    def __getitem__(self, index: ArrayLike | slice) -> Cells:
        """Select cells by a slice, a bool mask (N,) or integer indices."""
        places = np.arange(len(self))[index if isinstance(index, slice) else np.asarray(index)]
        places = np.atleast_1d(places).astype(np.int64)
        return replace(
            self,
            boxes=self.boxes[places],
            scores=self.scores[places],
            labels=self.labels[places],
            rles=[self.rles[place] for place in places.tolist()],
        )

    @property
    def classes(self) -> list[str]:
        """Class name of each cell."""
        return [self.class_names[label] for label in self.labels.tolist()]

    def measure(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Measure tight mask boxes (N, 4), x2 and y2 exclusive, and areas (N,), both in pixels."""
        return measure_rles(self.rles)

    def crops(self) -> list[Crop]:
        """Decode all masks, each inside its tight box; together they cost the cells' area."""
        return decode_crops(self.rles)

    def label_map(self) -> NDArray[np.int32]:
        """Paint the cells into one (H, W) int32 map: i + 1 is cell i, 0 is background.

        Where cells overlap the higher score wins.
        """
        return rles_to_label_map(self.rles, self.scores, (self.height, self.width))

    def placed(self, x0: int, y0: int, height: int, width: int) -> Cells:
        """Move the cells of a tile into the image that the tile was cut from.

        Args:
            x0: Image column of the tile's first column, in pixels.
            y0: Image row of the tile's first row, in pixels.
            height: Image height in pixels; what reaches outside the image is cut off.
            width: Image width in pixels.

        Returns:
            The same cells in the pixels of the image; those wholly outside are left out.
        """
        pixels, boxes = decode_columns(self.rles)
        boxes = boxes + np.array([x0, y0, x0, y0])
        inside = (boxes[:, :2] >= 0).all(axis=1) & (boxes[:, 2:] <= (width, height)).all(axis=1)
        if inside.all():
            rles = encode_columns(pixels, boxes, height, width)
        else:
            crops = self.crops()
            places = boxes[:, :2]
            rles = rle_runs.encode_crops(
                [crop.mask for crop in crops], places[:, 0], places[:, 1], height, width
            )
        moved = self.boxes + np.array([x0, y0, x0, y0], dtype=np.float32)
        moved = moved.clip(0, np.array([width, height, width, height], dtype=np.float32))
        cells = replace(self, boxes=moved, rles=rles, height=height, width=width)
        return cells if inside.all() else cells[cells.measure()[1] > 0]


def decode_columns(rles: Sequence[RLE]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Decode masks of one image size into one array; the inverse of `rle.encode_columns`.

    Args:
        rles: N masks of one size; N may be 0.

    Returns:
        For each mask in turn the pixels of its tight box, column after column (T,) bool, and the
        boxes (N, 4) as x1, y1, x2, y2 in pixels, x2 and y2 exclusive. T is the boxes' total area.
    """
    height = int(rles[0]["size"][0]) if len(rles) else 1
    runs = rle_runs.decode_runs(rles)
    boxes, _ = rle_runs.measure_runs(runs, len(rles), height)
    box_heights = boxes[:, 3] - boxes[:, 1]
    sizes = (boxes[:, 2] - boxes[:, 0]) * box_heights
    offsets = np.cumsum(sizes) - sizes
    columns, rows = np.divmod(runs.starts, height)
    owners = runs.owners
    starts = offsets[owners] + (columns - boxes[owners, 0]) * box_heights[owners]
    starts += rows - boxes[owners, 1]
    edges = np.zeros(sizes.sum() + 1, dtype=np.int8)
    edges[starts] += 1
    edges[starts + runs.ends - runs.starts] -= 1  # starts and ends are unique, each on its own
    return np.cumsum(edges[:-1], dtype=np.int8).view(np.bool_), boxes


def decode_crops(rles: Sequence[RLE]) -> list[Crop]:
    """Decode masks of one image size, each inside its tight box.

    Args:
        rles: N masks of one size; N may be 0.

    Returns:
        N crops; that of an empty mask is (0, 0) at 0, 0.
    """
    crops = []
    for block in range(0, len(rles), rle_runs.BLOCK_MASKS):
        pixels, boxes = decode_columns(rles[block : block + rle_runs.BLOCK_MASKS])
        begin = 0
        for x1, y1, x2, y2 in boxes.tolist():
            end = begin + (x2 - x1) * (y2 - y1)
            crops.append(Crop(pixels[begin:end].reshape(x2 - x1, y2 - y1).T, x1, y1))
            begin = end
    return crops


def masks_to_rles(masks: Any, height: int, width: int) -> list[RLE]:
    """Bring predicted masks to RLE, whichever mask head made them.

    Args:
        masks: List of N RLEs, as CroppedMaskHead makes them, or (N, H, W) bool tensor or array.
        height: Image height in pixels.
        width: Image width in pixels.

    Returns:
        N RLEs; counts are text.
    """
    if isinstance(masks, (list, tuple)):
        return list(masks)
    bitmaps = masks.cpu().numpy() if hasattr(masks, "cpu") else np.asarray(masks)
    return [rle_runs.encode_crop(bitmap.astype(bool), 0, 0, height, width) for bitmap in bitmaps]


def cells_from_arrays(
    crops: Iterable[Crop], scores: ArrayLike, labels: ArrayLike, like: Cells
) -> Cells:
    """Make cells from crops, for an image as `like` describes it; boxes are the masks' tight boxes.

    Args:
        crops: N crops; they may reach outside the image, where they are cut off.
        scores: (N,) confidences.
        labels: (N,) classes.
        like: Gives the image size, class names and pixel size.

    Returns:
        The cells that have a pixel inside the image.
    """
    crops = list(crops)
    rles = rle_runs.encode_crops(
        [crop.mask for crop in crops],
        [crop.x0 for crop in crops],
        [crop.y0 for crop in crops],
        like.height,
        like.width,
    )
    boxes, areas = measure_rles(rles)
    cells = replace(
        like,
        boxes=boxes.astype(np.float32),
        scores=np.asarray(scores),
        labels=np.asarray(labels),
        rles=rles,
    )
    return cells[areas > 0]
