"""ConvNeXt is built by mmpretrain, and the error says how to get it."""

import sys
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from cellseg.errors import CellsegError
from tests.configs.small_models import skip_without_backbone

SETTINGS: Mapping[str, Any] = dict(
    type="ConvNeXt",
    arch=dict(depths=[1, 1, 1, 1], channels=[8, 16, 24, 32]),
    out_indices=[0, 1, 2, 3],
    gap_before_final_norm=False,
    init_cfg=None,
)


def test_convnext_when_mmpretrain_is_missing_then_one_sentence_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "mmpretrain", None)
    monkeypatch.delitem(sys.modules, "mmpretrain.models.backbones", raising=False)
    init_default_scope("mmdet")
    with pytest.raises(CellsegError, match=r"pip install 'cellseg-mmdet\[mmpretrain\]'") as caught:
        MODELS.build(SETTINGS)
    assert "onedl-mmpretrain" in str(caught.value)
    assert str(caught.value).count(". ") == 0


def test_convnext_when_mmpretrain_is_there_then_features_have_four_strides() -> None:
    skip_without_backbone(Config(dict(backbone=dict(SETTINGS))))
    init_default_scope("mmdet")
    backbone = MODELS.build(SETTINGS)
    with torch.no_grad():
        features = backbone(torch.zeros(2, 3, 64, 96))
    assert [tuple(level.shape) for level in features] == [
        (2, 8, 16, 24),
        (2, 16, 8, 12),
        (2, 24, 4, 6),
        (2, 32, 2, 3),
    ]
