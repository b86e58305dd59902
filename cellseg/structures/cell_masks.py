"""The masks of the cells of one image, as runs, as COCO RLE, or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellseg.structures.rle import BLOCK_MASKS, RLE, crops_to_runs, decode_runs, encode_runs
from cellseg.structures.runs import (
    Crop,
    Runs,
    concatenate_runs,
    draw_columns,
    measure_runs,
    select_runs,
    shift_runs,
)


class CellMasks:
    """N masks of one image.

    They are given as RLEs or as runs. The other form is made when it is first asked for, and kept,
    so that no mask is parsed or written twice. Masks do not change.

    Attributes:
        height: Image height in pixels.
        width: Image width in pixels.
    """

    def __init__(
        self,
        height: int,
        width: int,
        *,
        rles: Sequence[RLE] | None = None,
        runs: Runs | None = None,
        num_masks: int | None = None,
    ) -> None:
        """Hold masks in the form they come in.

        Args:
            height: Image height in pixels.
            width: Image width in pixels.
            rles: N masks.
            runs: The runs of N masks, instead of or with the RLEs.
            num_masks: N, where only runs are given.

        Raises:
            ValueError: If there are neither RLEs nor runs with their number.
        """
        if rles is None and (runs is None or num_masks is None):
            raise ValueError("Masks are given as RLEs, or as runs and their number.")
        self.height, self.width = int(height), int(width)
        self._rles = None if rles is None else list(rles)
        self._runs = runs
        self._num_masks = int(num_masks or 0) if self._rles is None else len(self._rles)
        self._measures: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    @classmethod
    def from_crops(cls, crops: Sequence[Crop], height: int, width: int) -> CellMasks:
        """Place N crops in an image; what reaches outside is cut off."""
        masks = [crop.mask for crop in crops]
        x0s, y0s = [crop.x0 for crop in crops], [crop.y0 for crop in crops]
        runs = crops_to_runs(masks, x0s, y0s, height, width)
        return cls(height, width, runs=runs, num_masks=len(masks))

    @classmethod
    def concatenate(cls, parts: Sequence[CellMasks]) -> CellMasks:
        """Join at least one group of masks of one image, in whichever form all of them have."""
        height, width = parts[0].height, parts[0].width
        filled = [part for part in parts if len(part)]
        if all(part._runs is not None for part in filled):
            counts = [len(part) for part in filled]
            runs = concatenate_runs([part.runs for part in filled], counts)
            joined = cls(height, width, runs=runs, num_masks=sum(counts))
        else:
            joined = cls(height, width, rles=[rle for part in filled for rle in part.rles])
        measures = [part._measures for part in filled if part._measures is not None]
        if filled and len(measures) == len(filled):
            boxes, areas = zip(*measures, strict=True)
            joined._measures = np.concatenate(boxes), np.concatenate(areas)
        return joined

    def __len__(self) -> int:
        """Count the masks."""
        return self._num_masks

    def __getitem__(self, places: NDArray[np.int64]) -> CellMasks:
        """Take the masks at integer places (M,), in whichever forms are there."""
        rles = None if self._rles is None else [self._rles[place] for place in places.tolist()]
        runs = None if self._runs is None else select_runs(self._runs, len(self), places)
        taken = CellMasks(self.height, self.width, rles=rles, runs=runs, num_masks=len(places))
        if self._measures is not None:
            taken._measures = self._measures[0][places], self._measures[1][places]
        return taken

    def __getstate__(self) -> dict[str, Any]:
        """Pickle one form only: RLEs, which are the smaller one, where they are there."""
        state = vars(self).copy()
        if self._rles is not None:
            state["_runs"] = None
        return state

    @property
    def rles(self) -> list[RLE]:
        """N masks as COCO RLE with text counts."""
        if self._rles is None:
            self._rles = encode_runs(self.runs, len(self), self.height, self.width)
        return self._rles

    @property
    def runs(self) -> Runs:
        """Runs of the N masks.

        Raises:
            ValueError: If an RLE is damaged or of another size than the image.
        """
        if self._runs is None:
            size = (self.height, self.width)
            for index, rle in enumerate(self.rles):
                if tuple(rle["size"]) != size:
                    raise ValueError(
                        f"Mask {index} has size {tuple(rle['size'])} (height, width), but the "
                        f"image has {size}; masks must be in the coordinates of the original image."
                    )
            firsts = range(0, len(self), BLOCK_MASKS)
            blocks = [self.rles[first : first + BLOCK_MASKS] for first in firsts]
            parts = [decode_runs(block) for block in blocks]
            self._runs = concatenate_runs(parts, [len(block) for block in blocks])
        return self._runs

    def measure(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Measure tight boxes (N, 4), x2 and y2 exclusive, and areas (N,), both in pixels."""
        if self._measures is None:
            self._measures = measure_runs(self.runs, len(self), self.height)
        return self._measures

    def draw_columns(self) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Draw all masks, each inside its tight box; the inverse of `rle.encode_columns`.

        Returns:
            For each mask in turn the pixels of its tight box, column after column (T,) bool, and
            the boxes (N, 4) as x1, y1, x2, y2 in pixels, x2 and y2 exclusive. T is the boxes' total
            area.
        """
        boxes, _ = self.measure()
        return draw_columns(self.runs, boxes, self.height), boxes

    def crops(self) -> list[Crop]:
        """Draw all masks as crops of their tight boxes; an empty mask is (0, 0) at 0, 0."""
        crops = []
        for begin in range(0, len(self), BLOCK_MASKS):
            own = slice(begin, min(begin + BLOCK_MASKS, len(self)))
            block = self if own == slice(0, len(self)) else self[np.arange(own.start, own.stop)]
            pixels, boxes = block.draw_columns()
            first = 0
            for x1, y1, x2, y2 in boxes.tolist():
                last = first + (x2 - x1) * (y2 - y1)
                crops.append(Crop(pixels[first:last].reshape(x2 - x1, y2 - y1).T, x1, y1))
                first = last
        return crops

    def offset_to(self, x0: int, y0: int, height: int, width: int) -> CellMasks:
        """Move the masks by x0 columns and y0 rows into an image of height x width pixels.

        What reaches outside is cut off; a mask wholly outside is empty.
        """
        runs = shift_runs(self.runs, (x0, y0), self.height, height, width)
        return CellMasks(height, width, runs=runs, num_masks=len(self))
