"""Parts of a drawn H&E image: tissue background, cell shapes and stain densities; pure.

Everything is painted as two stain densities, hematoxylin (blue, nuclei) and eosin (pink, cytoplasm
and stroma), which `mix_stains` turns into color the way light passes through a slide.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray

# Optical density per unit of stain in R, G, B, near Ruifrok and Johnston's vectors.
HEMATOXYLIN_RGB = np.array([0.64, 0.70, 0.31], np.float32)
EOSIN_RGB = np.array([0.12, 0.92, 0.38], np.float32)


@dataclass(frozen=True)
class Stain:
    """Densities of a patch: hematoxylin and eosin, each (h, w) float32."""

    hematoxylin: Array
    eosin: Array


@dataclass(frozen=True)
class CellKind:
    """What one class of cell looks like.

    Attributes:
        class_id: 1 to 4, as in class{k}.tif.
        name: Class name.
        radius_px: Lowest and highest mean radius.
        max_elongation: Largest ratio of the long to the short axis.
        roughness: Relative amplitude of the outline's waves.
        paint: Gives the stain densities of a patch from (rng, u, v, rim, background); u and v are
            the cell's own coordinates with the outline near radius 1, rim is the radius relative
            to the outline.
    """

    class_id: int
    name: str
    radius_px: tuple[float, float]
    max_elongation: float
    roughness: float
    paint: Callable[[np.random.Generator, Array, Array, Array], Stain]


def draw_smooth_noise(rng: np.random.Generator, height: int, width: int, scale_px: float) -> Array:
    """Draw noise whose hills are about scale_px wide.

    Args:
        rng: Source of randomness.
        height: Rows.
        width: Columns.
        scale_px: Size of a hill, in pixels.

    Returns:
        (height, width) float32 of about zero mean and unit variance.
    """
    rows, cols = _spread(height, scale_px), _spread(width, scale_px)
    coarse = rng.standard_normal((rows.shape[1], cols.shape[1])).astype(np.float32)
    return rows @ coarse @ cols.T  # (H, h) @ (h, w) @ (w, W)


def _spread(length: int, scale_px: float) -> Array:
    """Return (length, knots) weights that turn coarse white noise into smooth unit noise."""
    knots = np.arange(-2, length / scale_px + 3, dtype=np.float32) * scale_px
    offset = (np.arange(length, dtype=np.float32)[:, None] - knots) / (0.7 * scale_px)
    weights = np.exp(-0.5 * offset**2)
    return weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))


def draw_background(rng: np.random.Generator, height: int, width: int) -> Stain:
    """Draw stroma with wavy fibres, dark bands as dense as nuclei, and pale lumens.

    Args:
        rng: Source of randomness.
        height: Rows.
        width: Columns.

    Returns:
        Densities of the empty tissue, each (height, width) float32.
    """
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    waves = 3.5 * draw_smooth_noise(rng, height, width, 45.0)
    fibres = np.sin(along / rng.uniform(1.4, 2.4) + waves)
    grain = draw_smooth_noise(rng, height, width, 3.0)

    band = _soft_step(np.sin(along / rng.uniform(16, 28) + 0.5 * waves), 0.45, 6.0)
    band *= _soft_step(draw_smooth_noise(rng, height, width, 60.0), -0.4, 3.0)
    lumen = _soft_step(draw_smooth_noise(rng, height, width, 50.0), 1.15, 8.0)

    eosin = 0.42 + 0.08 * fibres + 0.04 * grain + 0.45 * band
    hematoxylin = 0.14 + 0.03 * grain + (0.62 + 0.10 * fibres) * band
    return Stain(
        hematoxylin=np.maximum(hematoxylin * (1 - 0.95 * lumen), 0.02),
        eosin=np.maximum(eosin * (1 - 0.9 * lumen), 0.03),
    )


def _soft_step(values: Array, threshold: float, steepness: float) -> Array:
    """Rise smoothly from 0 below the threshold to 1 above it."""
    return 1 / (1 + np.exp(-steepness * (values - threshold)))


def draw_outline(
    rng: np.random.Generator, radius_px: float, elongation: float, roughness: float
) -> tuple[Array, Array, Array]:
    """Draw one closed, star-shaped outline on a patch that just holds it.

    Args:
        rng: Source of randomness.
        radius_px: Mean radius, in pixels.
        elongation: Ratio of the long to the short axis, at least 1.
        roughness: Relative amplitude of the outline's waves.

    Returns:
        (2r + 1, 2r + 1) float32 u, v (the cell's own axes, in units of the half axes) and rim
        (radius relative to the outline: the cell is rim <= 1); the center is the middle pixel.
    """
    stretch = np.sqrt(elongation)
    reach = int(np.ceil(radius_px * stretch * (1 + 2 * roughness))) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    u = (x * np.cos(angle) + y * np.sin(angle)) / (radius_px * stretch)
    v = (y * np.cos(angle) - x * np.sin(angle)) / (radius_px / stretch)
    theta = np.arctan2(v, u)
    edge = np.ones_like(theta)
    for order in (2, 3, 4, 5):
        edge += rng.normal(0, roughness / order) * np.cos(order * theta + rng.uniform(0, 2 * np.pi))
    return u, v, np.hypot(u, v) / np.clip(edge, 0.5, 1 + 2 * roughness)


def _paint_epithelial(rng: np.random.Generator, u: Array, v: Array, rim: Array) -> Stain:
    """Paint a pale vesicular nucleus: a thin dark membrane, clear inside, one to three nucleoli."""
    hematoxylin = rng.uniform(0.30, 0.48) + 0.08 * rng.standard_normal(rim.shape)
    hematoxylin += 0.55 * np.exp(-(((rim - 0.93) / 0.10) ** 2))
    for _ in range(rng.integers(1, 4)):
        distance = np.hypot(u - rng.uniform(-0.5, 0.5), v - rng.uniform(-0.4, 0.4))
        hematoxylin += 0.95 * np.exp(-((distance / 0.17) ** 2))
    return Stain(hematoxylin, np.full_like(rim, 0.22))


def _paint_lymphocyte(rng: np.random.Generator, u: Array, v: Array, rim: Array) -> Stain:
    """Paint a round, dense nucleus with clumped chromatin."""
    clumps = 0.22 * np.sin(9 * u + rng.uniform(0, 6)) * np.sin(9 * v + rng.uniform(0, 6))
    hematoxylin = rng.uniform(1.15, 1.55) + clumps - 0.25 * (rim > 0.9)
    return Stain(hematoxylin, np.full_like(rim, 0.30))


def _paint_neutrophil(rng: np.random.Generator, u: Array, v: Array, rim: Array) -> Stain:
    """Paint a pink granular body with a dark nucleus of three or four lobes."""
    lobes = np.zeros_like(rim)
    num_lobes, turn = int(rng.integers(3, 5)), rng.uniform(0, 2 * np.pi)
    for lobe in range(num_lobes):
        direction = turn + lobe * 4.2 / (num_lobes - 1)
        distance = np.hypot(u - 0.48 * np.cos(direction), v - 0.48 * np.sin(direction))
        lobes = np.maximum(lobes, np.exp(-((distance / 0.33) ** 4)))
    granules = 0.12 * rng.standard_normal(rim.shape)
    return Stain(0.06 + 1.5 * lobes, 0.62 + granules - 0.25 * lobes)


def _paint_macrophage(rng: np.random.Generator, u: Array, v: Array, rim: Array) -> Stain:
    """Paint a large body of pale foam with a small bean-shaped nucleus off its center."""
    foam = np.sin(rng.uniform(7, 9) * u + rng.uniform(0, 6)) * np.sin(
        rng.uniform(7, 9) * v + rng.uniform(0, 6)
    )
    turn = rng.uniform(0, 2 * np.pi)
    across = u * np.cos(turn) + v * np.sin(turn) - 0.3
    beside = v * np.cos(turn) - u * np.sin(turn)
    bean = np.exp(-((np.hypot((across + 0.6 * beside**2) / 0.22, beside / 0.4)) ** 4))
    membrane = np.exp(-(((rim - 0.95) / 0.07) ** 2))
    eosin = 0.13 + 0.09 * foam + 0.22 * membrane + 0.1 * bean
    return Stain(0.05 + 0.03 * foam + 0.08 * membrane + 0.68 * bean, eosin)


EPITHELIAL = CellKind(1, "epithelial", (10.0, 14.0), 1.6, 0.06, _paint_epithelial)
LYMPHOCYTE = CellKind(2, "lymphocyte", (6.5, 8.5), 1.15, 0.05, _paint_lymphocyte)
NEUTROPHIL = CellKind(3, "neutrophil", (8.0, 10.0), 1.2, 0.08, _paint_neutrophil)
MACROPHAGE = CellKind(4, "macrophage", (14.0, 19.0), 1.4, 0.20, _paint_macrophage)
CELL_KINDS = (EPITHELIAL, LYMPHOCYTE, NEUTROPHIL, MACROPHAGE)


def paint_fibroblast(rng: np.random.Generator) -> tuple[Array, Stain]:
    """Draw a spindle nucleus of the stroma: dark, thin, and not a labeled cell.

    Args:
        rng: Source of randomness.

    Returns:
        (h, w) bool shape and its densities.
    """
    _, _, rim = draw_outline(rng, rng.uniform(4.0, 6.0), rng.uniform(5.0, 9.0), 0.03)
    return rim <= 1, Stain(np.full_like(rim, rng.uniform(0.7, 1.2)), np.full_like(rim, 0.5))


def mix_stains(stain: Stain, hematoxylin_rgb: Array, eosin_rgb: Array, light: Array) -> Array:
    """Turn stain densities into color by the Beer-Lambert law.

    Args:
        stain: Densities, each (H, W).
        hematoxylin_rgb: (3,) optical density per unit in R, G, B.
        eosin_rgb: The same for eosin.
        light: (H, W) illumination, 1 is white.

    Returns:
        (H, W, 3) float32 in B, G, R order, 0 to about 255.
    """
    density = stain.hematoxylin[..., None] * hematoxylin_rgb[::-1]
    density += stain.eosin[..., None] * eosin_rgb[::-1]
    return 248 * light[..., None] * np.exp(-density)
