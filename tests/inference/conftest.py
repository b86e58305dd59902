"""Predictors that see perfectly, and cells made of label maps."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from cellseg.inference import Cells, Predictor, TileOptions
from cellseg.structures.rle import encode_label_map

from .oracle import CLASS_NAMES, oracle_config, score_of


@pytest.fixture
def make_predictor() -> Callable[..., Predictor]:
    """Return a function that makes an oracle predictor with the given tile options."""

    def make(tta: bool | dict = False, score_thr: float = 0.0, **tiling) -> Predictor:
        options = TileOptions(**{"scale": 1.0, **tiling})
        return Predictor(
            oracle_config(), None, device="cpu", score_thr=score_thr, tiling=options, tta=tta
        )

    return make


@pytest.fixture
def make_cells() -> Callable[..., Cells]:
    """Return a function that turns a label map into cells."""

    def make(label_map: NDArray[np.integer], **attributes) -> Cells:
        ids, boxes, _, rles = encode_label_map(label_map)
        height, width = label_map.shape
        labels = ids % len(CLASS_NAMES)
        return Cells(boxes, score_of(ids), labels, rles, height, width, CLASS_NAMES, **attributes)

    return make
