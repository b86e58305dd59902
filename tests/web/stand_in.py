"""A model that finds dark blobs, counts how often it is asked, and can be made to wait."""

import threading
from collections.abc import Callable

import numpy as np
from skimage.measure import label as label_components

from cellseg.images import ImageSource
from cellseg.inference.scale_choice import ScaleChoice
from cellseg.inference.tile_plan import TilePlan
from cellseg.inference.tiles import make_tile_grid
from cellseg.palette import choose_palette
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_label_map

CLASS_NAMES = ("epithelial", "<b>round</b>")


class BlobFinder:
    """Take every dark blob for a cell; the first one has the highest score.

    Attributes:
        calls: Size (H, W) of every image it was given.
        busy: Set while it looks at an image.
        may_finish: Cleared to make it wait inside a call.
        fault: Raised in place of an answer.
    """

    class_names = CLASS_NAMES
    palette = choose_palette(2)
    image_format: dict = {"channel_order": "rgb"}
    score_thr = 0.05

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []
        self.busy = threading.Event()
        self.may_finish = threading.Event()
        self.may_finish.set()
        self.fault: Exception | None = None
        self._lock = threading.Lock()
        self.was_shared = False

    model_name = "blobs"

    def choose_scale(self, source: ImageSource) -> ScaleChoice:
        return ScaleChoice(None, "as it is")

    def plan_tiles(self, size: ImageSource, choice: ScaleChoice | None = None) -> TilePlan:
        tiles = make_tile_grid(64, 100, 64, 16)  # two, whatever the size
        return TilePlan(tuple(tiles), ((0,), (1,)), None)

    def __call__(
        self,
        image: ImageSource,
        progress: Callable[[int, int], None] | None = None,
        choice: ScaleChoice | None = None,
    ) -> Cells:
        self.was_shared |= not self._lock.acquire(blocking=False)
        try:
            self.calls.append((image.height, image.width))
            self.busy.set()
            if self.fault is not None:
                raise self.fault
            assert self.may_finish.wait(60)
            if progress is not None:
                progress(1, 0)
                progress(1, 0)
            return self._find(image)
        finally:
            self._lock.release()

    def _find(self, image: ImageSource) -> Cells:
        pixels = image.read(0, 0, image.width, image.height)
        ids, boxes, _, rles = encode_label_map(label_components(pixels.mean(axis=2) < 128))
        scores = np.linspace(0.95, 0.15, len(ids)) if len(ids) > 1 else np.full(len(ids), 0.95)
        labels = np.arange(len(ids)) % 2
        return Cells(
            boxes, scores, labels, rles, image.height, image.width, CLASS_NAMES, image.pixel_size_um
        )


def draw_blobs(count: int, size: int = 96) -> np.ndarray:
    """Draw (size, size, 3) uint8 R, G, B with up to 16 dark squares of 12 pixels on pink."""
    image = np.full((size, size, 3), (240, 200, 220), np.uint8)
    for index in range(count):
        y, x = 6 + 22 * (index // 4), 6 + 22 * (index % 4)
        image[y : y + 12, x : x + 12] = (90, 40, 110)
    return image
