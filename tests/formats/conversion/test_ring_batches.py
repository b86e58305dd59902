"""Outlines that are drawn together come out as they do one by one."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from cellseg.formats.conversion.annotations import Drawing, UnusableAnnotationError
from cellseg.formats.conversion.drawing import Ring, draw_polygons
from cellseg.formats.conversion.ring_batches import RingBatches

HEIGHT, WIDTH = 90, 70


def find_ring(shape: Any) -> Ring | None:
    return shape[0][0] if len(shape) == 1 and len(shape[0]) == 1 else None


def describe(draw: Any) -> tuple[Any, ...]:
    """Draw an annotation, or tell why it cannot be."""
    try:
        drawing: Drawing = draw(HEIGHT, WIDTH)
    except UnusableAnnotationError as error:
        return (str(error),)
    crop = drawing.crop
    return (crop.mask.shape, crop.mask.tobytes(), crop.x0, crop.y0, drawing.changes)


def make_shape(rng: np.random.Generator, number: int) -> list[list[list[list[float]]]]:
    """Draw a polygon that may cross itself, lie on pixel edges, outside, or have a hole."""
    points = rng.uniform(-20, 100, 2) + rng.uniform(-15, 15, (rng.integers(1, 12), 2))
    if number % 3 == 0:
        points = (points * 2).round() / 2
    if number % 50 == 1:
        points *= 1e8
    rings = [points.tolist(), (points * 0.5).tolist()] if number % 11 == 0 else [points.tolist()]
    return [rings, rings] if number % 13 == 0 else [rings]


@pytest.mark.parametrize("order", ["forward", "backward"])
def test_outlines_when_drawn_together_then_equal_to_each_alone(order: str) -> None:
    rng = np.random.default_rng(0)
    shapes = [make_shape(rng, number) for number in range(600)]
    shapes += [[[[[1, 2], ["x", 3], [4, 4]]]], [[[[0.0, 0], [60, 0], [60, 80], [0, 80]]]]]
    batches = RingBatches(shapes, find_ring, draw_polygons)
    indices = range(len(shapes)) if order == "forward" else range(len(shapes) - 1, -1, -5)
    for index in indices:
        alone = describe(partial(draw_polygons, shapes[index]))
        assert describe(partial(batches.draw, index)) == alone, index


def test_outlines_when_small_then_not_drawn_alone() -> None:
    shapes = [[[[[k, k], [k + 9, k], [k, k + 9]]]] for k in range(300)]
    alone: list[int] = []
    batches = RingBatches(
        shapes, find_ring, lambda shape, *size: alone.append(1) or draw_polygons(shape, *size)
    )
    drawings = [batches.draw(k, 400, 400) for k in range(300)]
    assert alone == []
    assert {int(drawing.crop.mask.sum()) for drawing in drawings} == {36}
