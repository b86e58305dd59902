"""Parts of drawn tissue: physical, repeatable, and each class as it is described."""

import numpy as np
import pytest
from scipy import ndimage

from cellseg.datasets.synthetic_tissue import (
    CELL_KINDS,
    EOSIN_RGB,
    HEMATOXYLIN_RGB,
    CellKind,
    Stain,
    draw_background,
    draw_outline,
    draw_smooth_noise,
    mix_stains,
    paint_fibroblast,
)


@pytest.mark.parametrize("scale_px", [3.0, 45.0])
def test_noise_when_drawn_then_smooth_of_unit_variance(scale_px: float) -> None:
    noise = draw_smooth_noise(np.random.default_rng(0), 600, 500, scale_px)
    assert noise.shape == (600, 500)
    assert noise.std() == pytest.approx(1, abs=0.25)
    steps = np.abs(np.diff(noise, axis=1)).mean()
    assert steps < 2 / scale_px


@pytest.mark.parametrize(("height", "width"), [(1, 1), (40, 7), (64, 64)])
def test_background_of_any_size_has_positive_densities(height: int, width: int) -> None:
    stain = draw_background(np.random.default_rng(1), height, width)
    for density in (stain.hematoxylin, stain.eosin):
        assert density.shape == (height, width)
        assert density.min() > 0


@pytest.mark.parametrize("kind", CELL_KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("seed", range(3))
def test_cell_of_a_class_is_in_one_piece_of_its_size_and_inside_its_patch(
    kind: CellKind, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    radius = float(np.mean(kind.radius_px))
    u, v, rim = draw_outline(rng, radius, kind.max_elongation, kind.roughness)
    mask = rim <= 1
    assert ndimage.label(mask)[1] == 1
    assert not mask[[0, -1]].any()
    assert not mask[:, [0, -1]].any()
    assert mask[len(mask) // 2, len(mask) // 2]
    assert 0.5 * radius < np.sqrt(mask.sum() / np.pi) < 1.5 * radius
    stain = kind.paint(rng, u, v, rim)
    assert stain.hematoxylin.shape == stain.eosin.shape == rim.shape


def test_classes_are_numbered_as_the_files_are() -> None:
    assert [kind.class_id for kind in CELL_KINDS] == [1, 2, 3, 4]


def test_fibroblast_is_longer_than_wide_and_darker_than_the_stroma() -> None:
    shape, stain = paint_fibroblast(np.random.default_rng(0))
    points = np.argwhere(shape)
    short, long = np.sqrt(np.linalg.eigvalsh(np.cov(points.T)))
    assert long > 3 * short
    assert stain.hematoxylin.min() >= 0.7


def test_mix_when_there_is_no_stain_then_white_and_more_stain_is_darker() -> None:
    light = np.ones((2, 2), np.float32)
    nothing = Stain(np.zeros((2, 2)), np.zeros((2, 2)))
    np.testing.assert_allclose(mix_stains(nothing, HEMATOXYLIN_RGB, EOSIN_RGB, light), 248)
    some, more = (Stain(np.full((2, 2), d), np.zeros((2, 2))) for d in (0.5, 1.0))
    faint, dark = (mix_stains(s, HEMATOXYLIN_RGB, EOSIN_RGB, light) for s in (some, more))
    assert (dark < faint).all()
    np.testing.assert_allclose(dark * 248, faint**2, rtol=1e-5)  # Beer and Lambert's law
    assert dark[0, 0, 0] > dark[0, 0, 2]  # blue, green, red: nuclei are blue
