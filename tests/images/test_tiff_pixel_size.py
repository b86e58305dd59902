import struct

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


@pytest.mark.parametrize(
    ("value", "unit", "micrometers"),
    [
        (0.25, None, 0.25),
        (250, "nm", 0.25),
        (0.00025, "mm", 0.25),
        (0.000025, "cm", 0.25),
        (2500, "\u00c5", 0.25),
        (0.25, "\u03bcm", 0.25),  # Greek mu; the schema has the micro sign
        (0.25, "&#181;m", 0.25),
        (0.25e-18, "Tm", 0.25),
        (1e-5, "in", 0.254),
        (0.01, "thou", 0.254),
        (250000, "pm", 0.25),
        (2.5e-10, "km", 0.25),
    ],
)
def test_pixel_size_of_ome_is_read_in_every_unit_of_the_schema(
    tmp_path, image, value, unit, micrometers
):
    path = tmp_path / "image.tif"
    told = f' PhysicalSizeXUnit="{unit}" PhysicalSizeYUnit="{unit}"' if unit else ""
    text = (
        '<?xml version="1.0"?><OME><Image ID="Image:0"><Pixels ID="Pixels:0" '
        f'PhysicalSizeX="{value}"{told} PhysicalSizeY="{value}" SizeX="33"/></Image></OME>'
    )
    tifffile.imwrite(path, image, photometric="rgb", description=text.encode(), metadata=None)
    assert read_side(path) == pytest.approx(micrometers)


@pytest.mark.parametrize("unit", ["pixel", "reference frame"])
def test_pixel_size_of_ome_in_no_length_says_so(tmp_path, image, unit):
    path = tmp_path / "image.ome.tif"
    metadata = {"axes": "YXS", "PhysicalSizeX": 0.33, "PhysicalSizeXUnit": unit}
    tifffile.imwrite(path, image, photometric="rgb", metadata=metadata)
    assert read_size(path).note == f"the OME metadata give a pixel size in {unit!r}, not a length"
    assert read_side(path) is None


@pytest.mark.parametrize(
    ("per_unit", "unit", "micrometers"),
    [
        (4, "um", 0.25),
        (4, "micron", 0.25),
        (4, "microns", 0.25),
        (4, "micrometer", 0.25),
        (4, "\\u00B5m", 0.25),
        (4000, "mm", 0.25),
        (40000, "cm", 0.25),
        (0.004, "nm", 0.25),
        (101600, "inch", 0.25),
    ],
)
def test_pixel_size_of_imagej_is_read_in_every_unit(tmp_path, image, per_unit, unit, micrometers):
    path = tmp_path / "image.tif"
    options = dict(resolution=(per_unit, per_unit), metadata={"unit": unit})
    tifffile.imwrite(path, image[..., 0], imagej=True, **options)
    assert read_side(path) == pytest.approx(micrometers)


@pytest.mark.parametrize(
    ("x", "y", "side"), [(40000, 40000, 0.25), (40000, 40400, 0.2487593), (40000, 20000, None)]
)
def test_pixel_size_is_that_of_a_square_of_equal_area_or_none(tmp_path, image, x, y, side):
    path = tmp_path / "image.tif"
    options = dict(photometric="rgb", resolution=(x, y), resolutionunit="CENTIMETER")
    tifffile.imwrite(path, image, **options)
    size = read_size(path)
    assert (size.x_um, size.y_um) == (pytest.approx(1e4 / x), pytest.approx(1e4 / y))
    assert size.side_um == (None if side is None else pytest.approx(side))
    if side is None:
        assert size.note == "the resolution tags give pixels of 0.25 x 0.5 um, which are not square"


def test_pixel_size_of_ome_with_unequal_sides_is_not_taken_for_square(tmp_path, image):
    path = tmp_path / "image.ome.tif"
    metadata = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}
    tifffile.imwrite(path, image, photometric="rgb", metadata=metadata)
    assert read_size(path)[:2] == (0.5, 0.25)
    assert read_side(path) is None


def test_pixel_size_that_is_a_screen_says_why_it_is_not_taken(tmp_path, image):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, image, photometric="rgb", resolution=(72, 72), resolutionunit="INCH")
    assert "352.778 um, not between" in read_size(path).note


def overwrite_tag(path, tag, kind, count, value):
    """Replace an entry of a TIFF's only page by one of another type; value: 4 bytes."""
    content = path.read_bytes()
    with tifffile.TiffFile(path) as opened:
        place = opened.pages.first.tags[tag].offset
    entry = struct.pack("<HHI", tag, kind, count) + value
    path.write_bytes(content[:place] + entry + content[place + 12 :])


@pytest.mark.parametrize(
    ("kind", "count", "value", "expected"),
    [
        (3, 1, struct.pack("<I", 20000), 0.5),
        (11, 1, struct.pack("<f", 20000.0), 0.5),
        (11, 1, struct.pack("<f", float("nan")), None),
        (2, 4, b"abc\0", None),
        (3, 2, struct.pack("<HH", 3, 0), None),
    ],
)
def test_resolution_tag_of_another_type_does_not_refuse_the_image(
    tmp_path, image, kind, count, value, expected
):
    path = tmp_path / "image.tif"
    tifffile.imwrite(
        path, image, photometric="rgb", resolution=(20000, 20000), resolutionunit="CENTIMETER"
    )
    for tag in (282, 283):
        overwrite_tag(path, tag, kind, count, value)
    assert read_side(path) == expected


def test_resolution_unit_of_several_numbers_does_not_refuse_the_image(tmp_path, image):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, image, photometric="rgb", resolution=(20000, 20000))
    overwrite_tag(path, 296, 3, 2, struct.pack("<HH", 3, 3))
    assert read_side(path) is None
