"""Data and model must know equally many classes."""

import pytest

from cellseg.config_files import list_configs
from cellseg.engine.class_counts import check_class_counts, list_class_names
from cellseg.engine.configs import read_config
from cellseg.errors import CellsegError


@pytest.mark.parametrize("name", list(list_configs()))
def test_shipped_config_when_checked_then_its_classes_agree(name: str) -> None:
    check_class_counts(read_config(name))


@pytest.mark.parametrize(
    "key", ["model.roi_head.bbox_head.num_classes", "model.roi_head.mask_head.num_classes"]
)
def test_check_when_a_head_counts_other_classes_then_key_and_classes_are_named(key: str) -> None:
    config = read_config("mask-rcnn_r18_small-anchor", {key: 2})
    with pytest.raises(CellsegError, match=rf"have 4 classes \(epithelial.*{key} is 2"):
        check_class_counts(config)


def test_check_when_test_data_name_other_classes_then_it_is_refused() -> None:
    names = ["lymphocyte", "epithelial", "neutrophil", "macrophage"]
    options = {"test_dataloader.dataset.metainfo.classes": names}
    config = read_config("mask-rcnn_r18_small-anchor", options)
    with pytest.raises(CellsegError, match="The test data .* name the classes lymphocyte, epi"):
        check_class_counts(config)


def test_names_when_the_config_gives_none_then_they_are_the_data_sets_own() -> None:
    config = read_config("mask-rcnn_r18_small-anchor", {"val_dataloader.dataset.metainfo": None})
    assert list_class_names(config)["val"][0] == "epithelial"
