import cv2
import numpy as np
import pytest

from cellseg.images import ArraySource, ResampledSource


@pytest.fixture
def image():
    noise = np.random.default_rng(0).integers(0, 256, (240, 300, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


@pytest.mark.parametrize("factor", [0.5, 1.3, 2.0, 3.7])
def test_resampled_regions_equal_cuts_of_the_whole(image, factor):
    source = ResampledSource(ArraySource(image), factor)
    whole = source.read(0, 0, source.width, source.height).astype(int)
    part = source.read(11, 7, 40, 30)
    assert np.abs(whole[7:37, 11:51] - part).max() <= 1
    expected = cv2.resize(
        image,
        (source.width, source.height),
        interpolation=cv2.INTER_AREA if factor > 1 else cv2.INTER_LINEAR,
    )
    assert np.abs(whole - expected).mean() < 6  # no shift: a pixel's shift gives more than 10
