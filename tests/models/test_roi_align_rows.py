"""The layer gives what RoIAlign, written plainly, gives."""

import numpy as np
import pytest
import torch

from cellseg.models.roi_align_rows import RowRoIAlign
from tests.ops.reference import plain_roi_align


@pytest.mark.parametrize("number", [0, 1, 9])
@pytest.mark.parametrize(("samples", "aligned"), [(0, True), (2, True), (0, False)])
def test_forward_when_rois_lie_anywhere_then_equal_to_the_plain_way(
    number: int, samples: int, aligned: bool
) -> None:
    rng = np.random.default_rng(number)
    features = rng.standard_normal((2, 3, 12, 16)).astype(np.float32)
    corners = rng.uniform(-8, 60, (number, 2))
    sides = rng.uniform(1, 40, (number, 2))
    owners = rng.integers(0, 2, (number, 1))
    rois = np.concatenate([owners, corners, corners + sides], axis=1).astype(np.float32)
    layer = RowRoIAlign((4, 5), 0.25, samples, "avg", aligned)
    got = layer(torch.from_numpy(features), torch.from_numpy(rois)).numpy()
    assert got.shape == (number, 3, 4, 5)
    if number:
        expected, _ = plain_roi_align(features, rois, (4, 5), 0.25, samples, aligned, got)
        np.testing.assert_allclose(got, expected, atol=1e-4)


def test_layer_always_has_no_parameters_and_lets_gradients_through() -> None:
    layer = RowRoIAlign(3, 0.5, 0)
    assert list(layer.parameters()) == []
    features = torch.ones(1, 2, 8, 8, requires_grad=True)
    layer(features, torch.tensor([[0.0, 2, 2, 12, 12]])).sum().backward()
    assert features.grad is not None
    assert features.grad.sum().item() == pytest.approx(2 * 9, rel=1e-4)
