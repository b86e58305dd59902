import pytest

from cellseg.datasets.cell_dataset import CellDataset
from cellseg.palette import DEFAULT_PALETTE, IGNORED_COLOR, choose_palette, color_of


@pytest.mark.parametrize("num_classes", [1, 4, 5, 30])
def test_choose_palette_when_there_is_none_then_classes_differ_and_are_those_of_a_dataset(
    num_classes,
):
    palette = choose_palette(num_classes)
    assert len(set(palette)) == num_classes
    names = tuple(f"class {index}" for index in range(num_classes))
    own = CellDataset(metainfo={"classes": names}, lazy_init=True).metainfo["palette"]
    assert palette == list(own)[:num_classes]


def test_choose_palette_when_a_config_has_one_then_takes_it():
    own = [[1, 2, 3], [4.0, 5, 6]]
    assert choose_palette(3, own) == [(1, 2, 3), (4, 5, 6), (1, 2, 3)]
    assert choose_palette(2, []) == list(DEFAULT_PALETTE[:2])
    assert choose_palette(0) == []


def test_color_of_when_a_label_is_negative_then_gray():
    assert color_of(-1, DEFAULT_PALETTE) == IGNORED_COLOR
