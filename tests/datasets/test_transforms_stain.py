"""Stain jitter against scikit-image's color deconvolution, and what it must never change."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmdet.registry import TRANSFORMS
from skimage.color import rgb2hed

from cellseg.datasets.transforms_stain import RGB_FROM_HED, StainJitter, change_stains

SKIMAGE_UNIT = -np.log(1e-6)  # rgb2hed measures optical density in this many natural units


def draw_tissue(seed: int = 0, side: int = 24) -> np.ndarray:
    """Mix the three stains in amounts whose colors stay well inside 8 bits, as B, G, R."""
    amounts = np.random.default_rng(seed).uniform(0.1, 0.6, size=(side, side, 3))
    return np.rint(255 * np.exp(-amounts @ RGB_FROM_HED))[..., ::-1].astype(np.uint8)


@pytest.mark.parametrize("stain", [0, 1, 2])
def test_stains_when_scaled_then_scikit_image_sees_those_amounts(stain: int) -> None:
    image, scales = draw_tissue(), np.ones(3)
    scales[stain] = 1.3
    changed = change_stains(image, scales, np.zeros(3))
    before, after = rgb2hed(image[..., ::-1]), rgb2hed(changed[..., ::-1])
    np.testing.assert_allclose(after, before * scales, atol=0.03 / SKIMAGE_UNIT)


def test_stains_when_shifted_then_scikit_image_sees_the_shift() -> None:
    image, shifts = draw_tissue(), np.array([0.1, -0.05, 0.03])
    changed = change_stains(image, np.ones(3), shifts)
    before, after = rgb2hed(image[..., ::-1]), rgb2hed(changed[..., ::-1])
    np.testing.assert_allclose(after, before + shifts / SKIMAGE_UNIT, atol=0.03 / SKIMAGE_UNIT)


def test_stains_when_unchanged_then_every_grey_level_stays() -> None:
    levels = np.arange(256, dtype=np.uint8)
    image = np.dstack((*np.meshgrid(levels, levels[::-1]), np.full((256, 256), 90)))
    same = change_stains(image.astype(np.uint8), np.ones(3), np.zeros(3))
    np.testing.assert_array_equal(same, np.maximum(image, 1))  # black has no logarithm


@given(
    st.lists(st.floats(0.1, 2.0), min_size=3, max_size=3),
    st.lists(st.floats(-1.0, 1.0), min_size=3, max_size=3),
    st.integers(0, 5),
)
def test_stains_when_changed_by_any_amount_then_shape_and_type_stay(
    scales: list[float], shifts: list[float], seed: int
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, size=(5, seed, 3), dtype=np.uint8)
    changed = change_stains(image, np.array(scales), np.array(shifts))
    assert (changed.shape, changed.dtype) == (image.shape, np.uint8)


def test_stains_when_only_scaled_then_white_stays_white() -> None:
    white = np.full((4, 4, 3), 255, dtype=np.uint8)
    assert (change_stains(white, np.array([1.3, 0.7, 1.2]), np.zeros(3)) == 255).all()


def test_jitter_when_seeded_alike_then_alike_and_the_source_is_untouched() -> None:
    jitter = TRANSFORMS.build(dict(type="StainJitter"))
    image = draw_tissue()
    kept = image.copy()
    outputs = []
    for seed in (3, 3, 4):
        np.random.seed(seed)
        outputs.append(jitter({"img": image})["img"])
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert (outputs[0] != outputs[2]).any()
    np.testing.assert_array_equal(image, kept)


def test_jitter_when_never_applied_then_the_very_image() -> None:
    image = draw_tissue()
    assert StainJitter(prob=0.0)({"img": image})["img"] is image


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4, 3), dtype=np.float32), np.zeros((4, 4), dtype=np.uint8)]
)
def test_jitter_when_image_is_no_color_image_then_error_names_the_file(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="odd.tif"):
        StainJitter()({"img": image, "img_path": "odd.tif"})


@pytest.mark.parametrize("options", [{"scale_range": 1.0}, {"shift_range": -0.1}, {"prob": 1.5}])
def test_jitter_when_options_make_no_sense_then_error(options: dict) -> None:
    with pytest.raises(ValueError, match="StainJitter needs"):
        StainJitter(**options)
