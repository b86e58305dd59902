"""Fixtures for tests of image files."""

import pytest
import tifffile


@pytest.fixture
def tiff(tmp_path):
    def write(array, **options):
        path = tmp_path / "file.tif"
        tifffile.imwrite(path, array, **options)
        return path

    return write
