"""Every config's training pipeline takes images of any size, with and without cells, in a batch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmcv.transforms import Compose
from mmdet.registry import MODELS
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.config import Config
from mmengine.registry import init_default_scope

import cellseg  # noqa: F401  (registers the project's parts)
from cellseg.structures.label_map_masks import LabelMapMasks

CONFIG_DIR = Path(__file__).resolve().parents[2] / "configs" / "cell"


def make_results(height: int, width: int, num_cells: int) -> dict[str, Any]:
    """Give what the loading transforms give: cells of 12 px side by side."""
    layer = np.zeros((1, height, width), dtype=np.int32)
    for number in range(num_cells):
        layer[0, 4:16, 2 + 15 * number : 14 + 15 * number] = number + 1
    masks = LabelMapMasks(layer, [0] * num_cells, np.arange(1, num_cells + 1))
    return {
        "img": np.full((height, width, 3), 200, dtype=np.uint8),
        "img_shape": (height, width),
        "ori_shape": (height, width),
        "img_id": 1,
        "img_name": "drawn",
        "img_path": "drawn/image.tif",
        "image_format": {},
        "gt_bboxes": masks.get_bboxes(HorizontalBoxes),
        "gt_bboxes_labels": np.zeros(num_cells, dtype=np.int64),
        "gt_ignore_flags": np.zeros(num_cells, dtype=bool),
        "gt_masks": masks,
    }


@pytest.mark.parametrize("path", sorted(CONFIG_DIR.glob("*.py")), ids=lambda path: path.stem)
def test_batch_of_33_px_and_2500_px_and_no_cells_when_made_then_one_tensor(path: Path) -> None:
    cfg = Config.fromfile(path)
    init_default_scope("mmdet")
    steps = cfg.train_dataloader.dataset.pipeline
    assert [step.type for step in steps[:2]] == ["LoadCellImage", "LoadLabelMaps"]
    pipeline = Compose(steps[2:])
    np.random.seed(0)
    # 33 px and 2500 px stand side by side, and neither tiny nor large ones need hold a cell
    shapes = [(33, 33, 2), (33, 20, 0), (1700, 2500, 9), (2500, 1700, 0)]
    packed = [pipeline(make_results(*shape)) for shape in shapes]
    assert all(entry is not None for entry in packed)
    batch = {key: [entry[key] for entry in packed] for key in ("inputs", "data_samples")}
    data = MODELS.build(cfg.model.data_preprocessor)(batch, training=True)
    height, width = data["inputs"].shape[-2:]
    assert data["inputs"].shape[:2] == (len(shapes), 3)
    assert max(height, width) <= 1024
    for sample in data["data_samples"]:
        masks = sample.gt_instances.masks
        assert (masks.height, masks.width) == (height, width)
    assert len(data["data_samples"][0].gt_instances) == 2
    assert len(data["data_samples"][1].gt_instances) == 0
