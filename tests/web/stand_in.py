"""A model that finds dark blobs, counts how often it is asked, and can be made to wait."""

import threading
from collections.abc import Callable, Sequence

import numpy as np
from skimage.measure import label as label_components

from cellseg.images import ImageSource
from cellseg.inference.predictor import TileCells
from cellseg.inference.scale_choice import ScaleChoice
from cellseg.inference.tile_plan import TilePlan
from cellseg.inference.tiles import make_tile_grid
from cellseg.palette import choose_palette
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_label_map
from cellseg.web.cell_edits import make_step
from cellseg.web.page_images import PageImage

CLASS_NAMES = ("epithelial", "<b>round</b>")
TILE_PX = 256


class BlobFinder:
    """Take every dark blob for a cell; the first one of a tile has the highest score.

    Attributes:
        calls: Size (H, W) of every tile it was given.
        busy: Set while it looks at an image.
        may_finish: Cleared to make it wait inside a call.
        fault: Raised in place of an answer.
    """

    class_names = CLASS_NAMES
    palette = choose_palette(2)
    image_format: dict = {"channel_order": "rgb"}
    score_thr = 0.05
    model_name = "blobs"

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []
        self.busy = threading.Event()
        self.may_finish = threading.Event()
        self.may_finish.set()
        self.fault: Exception | None = None
        self._lock = threading.Lock()
        self.was_shared = False

    def choose_scale(self, source: ImageSource) -> ScaleChoice:
        return ScaleChoice(None, "as it is")

    def plan_tiles(self, size: ImageSource, choice: ScaleChoice | None = None) -> TilePlan:
        longest = max(size.height, size.width)
        side = TILE_PX if longest > TILE_PX else longest
        tiles = make_tile_grid(size.height, size.width, side, 32 if longest > TILE_PX else 0)
        scale = 1.0 if len(tiles) > 1 or (choice and choice.factor) else None
        return TilePlan(tuple(tiles), tuple((i,) for i in range(len(tiles))), scale)

    def predict_batches(
        self,
        source: ImageSource,
        plan: TilePlan,
        batches: Sequence[int] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> TileCells:
        self.was_shared |= not self._lock.acquire(blocking=False)
        try:
            result = TileCells()
            for index in [i for batch in batches or () for i in plan.batches[batch]]:
                tile = plan.tiles[index]
                self.calls.append((tile.height, tile.width))
                self.busy.set()
                if self.fault is not None:
                    raise self.fault
                assert self.may_finish.wait(60)
                pixels = source.read(tile.x1, tile.y1, tile.width, tile.height)
                cells = self._find(pixels).offset_to(tile.x1, tile.y1, source.height, source.width)
                if len(cells):
                    result.parts.append((index, cells))
                result.num_tiles += 1
            return result
        finally:
            self._lock.release()

    def merge(self, source: ImageSource, plan: TilePlan, found: TileCells) -> Cells:
        from cellseg.inference.merging import merge_tiles

        cells = Cells.empty(source.height, source.width, CLASS_NAMES)
        if not found.parts:
            return cells
        cells = Cells.concatenate([cells, *(part for _, part in found.parts)])
        ids = np.repeat([i for i, _ in found.parts], [len(part) for _, part in found.parts])
        return merge_tiles(cells, ids, plan.tiles) if len(plan.tiles) > 1 else cells

    def warn_of_surprises(
        self, cells: Cells, source: ImageSource, choice: ScaleChoice, where: str
    ) -> list[str]:
        return []

    def _find(self, pixels: np.ndarray) -> Cells:
        ids, boxes, _, rles = encode_label_map(label_components(pixels.mean(axis=2) < 128))
        scores = np.linspace(0.95, 0.15, len(ids)) if len(ids) > 1 else np.full(len(ids), 0.95)
        labels = np.arange(len(ids)) % 2
        return Cells(boxes, scores, labels, rles, *pixels.shape[:2], CLASS_NAMES)


def draw_blobs(count: int, size: int = 96) -> np.ndarray:
    """Draw (size, size, 3) uint8 R, G, B with up to 16 dark squares of 12 pixels on pink."""
    image = np.full((size, size, 3), (240, 200, 220), np.uint8)
    for index in range(count):
        y, x = 6 + 22 * (index // 4), 6 + 22 * (index % 4)
        image[y : y + 12, x : x + 12] = (90, 40, 110)
    return image


def edit(image: PageImage, **action: object) -> None:
    """Apply an action of the page to an open image."""
    assert image.opened is not None
    image.opened.log.apply(make_step(image.opened.log, image.canvas(len(CLASS_NAMES)), action))
