"""Draw what mmdet's transforms work on, with cells as label maps; compare it with bitmaps."""

import numpy as np
import torch

from cellseg.structures.label_map_masks import LabelMapMasks


def draw_results(seed: int, height: int, width: int, num_cells: int) -> dict:
    """Draw an image of noise with cells in three layers; those of one layer do not overlap."""
    rng = np.random.default_rng(seed)
    layers = np.zeros((3, height, width), dtype=np.int32)
    layer_inds = rng.integers(0, 3, size=num_cells)
    for label_id, layer in enumerate(layer_inds, start=1):
        y, x = rng.integers(0, height - 4), rng.integers(0, width - 4)
        h, w = rng.integers(2, 18, size=2)
        free = layers[layer, y : y + h, x : x + w] == 0
        layers[layer, y : y + h, x : x + w][free] = label_id
    masks = LabelMapMasks(layers, layer_inds, np.arange(1, num_cells + 1))
    masks = masks[masks.areas > 0]
    return {
        "img": rng.integers(0, 256, size=(height, width, 3), dtype=np.uint8),
        "img_shape": (height, width),
        "ori_shape": (height, width),
        "img_id": seed,
        "img_path": f"image-{seed}.tif",
        "gt_bboxes": masks.get_bboxes("hbox"),
        "gt_bboxes_labels": rng.integers(0, 4, size=len(masks)),
        "gt_ignore_flags": rng.random(len(masks)) < 0.1,
        "gt_masks": masks,
    }


def assert_same(ours: dict | None, stock: dict | None) -> None:
    """Check that label maps gave what bitmaps give."""
    if stock is None:
        assert ours is None
        return
    assert isinstance(ours["gt_masks"], LabelMapMasks)
    assert ours["img_shape"] == stock["img_shape"]
    assert np.array_equal(ours["img"], stock["img"])
    assert torch.equal(ours["gt_bboxes"].tensor, stock["gt_bboxes"].tensor)
    assert np.array_equal(ours["gt_bboxes_labels"], stock["gt_bboxes_labels"])
    assert np.array_equal(ours["gt_ignore_flags"], stock["gt_ignore_flags"])
    assert np.array_equal(ours["gt_masks"].to_ndarray(), stock["gt_masks"].to_ndarray())
