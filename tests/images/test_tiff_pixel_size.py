import numpy as np
import pytest
import tifffile

from cellseg.images.tiff_image import TiffImage


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (29, 33, 3), dtype=np.uint8)


def read_size(path):
    with TiffImage(path) as stored:
        return stored.read_pixel_size()


def read_side(path):
    return read_size(path).side_um


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (dict(resolution=(72, 72), resolutionunit="INCH"), None),
        (dict(description="Aperio Image|AppMag = 20|MPP = 0.5040"), 0.504),
        (dict(description="Aperio Image|MPP = 0.5.4"), None),
        ({}, None),
    ],
)
def test_pixel_size_is_read_only_where_it_makes_sense(tmp_path, image, options, expected):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, image, photometric="rgb", metadata=None, **options)
    assert read_side(path) == expected


def test_pixel_size_of_ome_tiff_is_read(tmp_path, image):
    path = tmp_path / "image.ome.tif"
    metadata = {"axes": "YXS", "PhysicalSizeX": 0.33, "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(path, image, photometric="rgb", metadata=metadata)
    assert read_side(path) == pytest.approx(0.33)
