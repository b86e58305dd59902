"""A fixed small model predicts and learns what it did with mmcv's compiled ops."""

import json

import numpy as np
import pytest

from tests.ops.small_model import REFERENCE, run_small_model


@pytest.mark.parametrize("extractor", ["SingleRoIExtractor", "Fp32SingleRoIExtractor"])
def test_small_model_when_run_without_compiled_ops_then_equals_the_reference(extractor) -> None:
    expected = json.loads(REFERENCE.read_text(encoding="utf-8"))
    found = run_small_model(extractor)
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert len(values) == len(found[key]) > 0, key
        largest = np.abs(values).max()
        np.testing.assert_allclose(found[key], values, rtol=1e-5, atol=1e-5 * largest, err_msg=key)
