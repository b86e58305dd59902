"""The copy-paste variant pastes rare cells, and nothing else, between images of any size."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from cellseg.datasets import CellCopyPaste
from cellseg.datasets.synthetic import draw_cell_image, write_sample

CONFIG_DIR = Path(__file__).resolve().parents[2] / "configs" / "cell"
SHAPES = [(96, 128), (33, 33), (160, 90), (1100, 240)]


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw images of different sizes with all four classes, the smallest without cells."""
    root = tmp_path_factory.mktemp("drawn")
    for number, (height, width) in enumerate(SHAPES):
        rng = np.random.default_rng(number)
        image, layers = draw_cell_image(rng, height, width, 0 if height == 33 else 24)
        write_sample(root / f"{number:04d}", image, layers)
    return root


def test_variant_when_samples_are_loaded_then_only_rare_cells_were_pasted(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = Config.fromfile(CONFIG_DIR / "cascade-mask-rcnn_x101-64x4d_coco_copy-paste.py")
    init_default_scope("mmdet")
    settings = cfg.train_dataloader.dataset
    settings.dataset.update(data_root=str(data_root), num_folds=0, cache=False)
    pasted: list[np.ndarray] = []
    copy_paste = CellCopyPaste._copy_paste

    def watch(self: CellCopyPaste, below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
        pasted.append(above["gt_bboxes_labels"])
        return copy_paste(self, below, above)

    monkeypatch.setattr(CellCopyPaste, "_copy_paste", watch)
    dataset = DATASETS.build(settings)
    random.seed(0)
    np.random.seed(0)
    samples = [dataset[number % len(SHAPES)] for number in range(12)]
    assert len(pasted) == len(samples)
    assert {2, 3} == set(np.concatenate(pasted).tolist())
    for sample, labels in zip(samples, pasted, strict=True):
        cells = sample["data_samples"].gt_instances
        assert sample["inputs"].shape == (3, 1024, 1024)
        assert cells.masks.layers.shape[1:] == (1024, 1024)
        assert cells.labels[len(cells) - len(labels) :].tolist() == labels.tolist()
    empty = [number for number, sample in enumerate(samples) if number % len(SHAPES) == 1]
    assert any(len(pasted[number]) for number in empty)
