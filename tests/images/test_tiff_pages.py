"""Every defect of a TIFF that is named before or while it is decoded."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from cellseg.errors import CellDataError
from cellseg.images import (
    open_image,
    read_cell_image,
    read_image_size,
    read_label_map,
    read_opened_size,
    read_stored_image,
    summarize_image,
)

RGB = np.random.default_rng(1).integers(0, 256, (40, 52, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (
            np.zeros((4, 4, 5), np.uint8),
            {"planarconfig": "contig", "photometric": "rgb"},
            "colors",
        ),
        (np.zeros((4, 4, 4), np.uint8), {"photometric": "separated"}, "colors"),
        (np.full((4, 4), np.nan, np.float32), {"photometric": "minisblack"}, "NaN"),
        (np.zeros((3, 40, 40), np.uint8), {"photometric": "minisblack"}, "stack"),
        (np.zeros((4, 4), np.complex64), {"photometric": "minisblack"}, "pixel type"),
    ],
)
def test_read_cell_image_when_content_is_no_image_then_error_names_file(
    tiff, array, options, message
):
    with pytest.raises(CellDataError, match=rf"file.tif: .*{message}"):
        read_cell_image(tiff(array, **options))


def test_read_cell_image_when_imagej_stack_then_error(tiff):
    with pytest.raises(CellDataError, match="stack"):
        read_cell_image(tiff(np.zeros((5, 30, 30), np.uint8), imagej=True))


def test_read_cell_image_when_thumbnail_follows_then_first_page(tmp_path):
    path = tmp_path / "file.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(RGB, photometric="rgb")
        writer.write(RGB[::4, ::4], photometric="rgb", subfiletype=1)
    assert read_cell_image(path).shape == RGB.shape


@pytest.mark.parametrize("compression", [None, "lzw", "deflate"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_read_when_truncated_anywhere_then_error_names_file(tmp_path, compression, share):
    path = tmp_path / "cut.tif"
    tifffile.imwrite(path, RGB, photometric="rgb", compression=compression)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    for read in (read_cell_image, read_image_size, summarize_image, read_label_map):
        with pytest.raises(CellDataError, match=r"cut.tif: "):
            read(path)


def test_read_when_not_a_tiff_or_absent_then_error_names_file(tmp_path):
    path = tmp_path / "note.tif"
    path.write_text("not a TIFF")
    for bad in (path, tmp_path / "absent.tif", tmp_path):
        with pytest.raises(CellDataError, match=str(bad)):
            read_label_map(bad)
        with pytest.raises(CellDataError, match=str(bad)):
            read_cell_image(bad)


def _declare(width: int, height: int, samples: int = 1) -> bytes:
    """Return a TIFF of a few bytes that declares any size."""
    tags = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, 8),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, samples),
        (278, 4, height),
        (279, 4, 4),
    ]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + b"\0" * 4


@pytest.mark.parametrize(
    ("width", "height", "samples"),
    [(100_000, 100_000, 1), (2**32 - 1, 2**32 - 1, 1), (0, 5, 1), (4, 4, 65_535)],
)
def test_read_when_declared_size_is_hostile_then_error_before_decoding(
    tmp_path, width, height, samples
):
    path = tmp_path / "bomb.tif"
    path.write_bytes(_declare(width, height, samples))
    for read in (read_cell_image, read_label_map):
        with pytest.raises(CellDataError, match=r"bomb.tif: "):
            read(path)


def test_read_when_larger_than_max_pixels_then_error_and_option_lifts_it(tiff):
    path = tiff(np.ones((40, 40), np.uint8))
    with pytest.raises(CellDataError, match="max_pixels"):
        read_label_map(path, max_pixels=1599)
    assert read_label_map(path, max_pixels=1600).all()
    with pytest.raises(CellDataError, match="max_pixels"):
        read_cell_image(path, {"max_pixels": 1599})


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_read_when_bytes_are_damaged_then_array_or_cell_data_error(tmp_path_factory, data):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, RGB[..., 0], compression="lzw", metadata=None)
    damaged = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "file.tif"
    path.write_bytes(damaged)
    for read in (read_label_map, read_cell_image):
        with contextlib.suppress(CellDataError):
            assert read(path).shape[:2] == read_image_size(path)


READERS = (read_cell_image, read_stored_image, open_image, read_opened_size)


@pytest.mark.parametrize("side", [40_000, 200_000, 2**31 - 1])
@pytest.mark.parametrize("compression", ["deflate", "lzw", "jpegxl", "zstd"])
def test_tiff_that_declares_more_than_its_file_can_hold_is_refused_at_once(
    tiff, monkeypatch, side, compression
):
    path = tiff(RGB, photometric="rgb", tile=(16, 16), compression=compression)
    with tifffile.TiffFile(path, mode="r+b") as opened:
        for name in ("ImageWidth", "ImageLength"):
            opened.pages.first.tags[name].overwrite(side)
    monkeypatch.setattr(tifffile.TiffPage, "decode", None)
    for read in READERS:
        with pytest.raises(CellDataError, match=r"file\.tif: declares"):
            read(path)


def test_tiff_whose_strips_are_all_the_same_is_refused_at_once(tmp_path):
    path = tmp_path / "shared.tif"
    side, strips = 200_000, 1000
    strip = zlib.compress(bytes(1000))
    offsets_at = 8 + len(strip)
    tags = [
        *((256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1)),
        *((273, 4, strips, offsets_at), (277, 3, 1, 1), (278, 4, 1, side // strips)),
        (279, 4, strips, offsets_at + 4 * strips),
    ]
    page = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    tables = struct.pack(f"<{strips}I", *[8] * strips)
    tables += struct.pack(f"<{strips}I", *[len(strip)] * strips)
    page_at = offsets_at + len(tables)
    path.write_bytes(b"II*\0" + struct.pack("<I", page_at) + strip + tables + page + b"\0" * 4)
    for read in READERS:
        with pytest.raises(CellDataError, match=r"shared\.tif: declares 200000 x 200000 pixels"):
            read(path)


@pytest.mark.parametrize("has_levels", [False, True])
def test_tiles_may_be_absent_in_pyramids_only(tmp_path, monkeypatch, has_levels):
    path = tmp_path / "sparse.tif"
    options = dict(photometric="rgb", tile=(16, 16))
    tiles = [RGB[:16, :16] if place % 2 == 0 else None for place in range(12)]
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            iter(tiles), shape=RGB.shape, dtype=np.uint8, subifds=int(has_levels), **options
        )
        if has_levels:
            writer.write(RGB[::2, ::2], subfiletype=1, **options)
    if not has_levels:
        for read in (*READERS, read_label_map):
            with pytest.raises(CellDataError, match=r"sparse\.tif: parts of the image are missing"):
                read(path)
        return
    whole = read_cell_image(path)
    np.testing.assert_array_equal(whole[:16, :16], RGB[:16, :16, ::-1])
    assert not whole[:16, 16:32].any()
    monkeypatch.setattr("cellseg.images.opening._READ_WHOLE_PX", 0)
    with open_image(path) as source:
        np.testing.assert_array_equal(source.read(0, 0, 52, 40), whole)


def test_large_tiff_that_is_truncated_is_refused_before_a_region_is_read(tiff, monkeypatch):
    monkeypatch.setattr("cellseg.images.opening._READ_WHOLE_PX", 0)
    path = tiff(RGB, photometric="rgb", tile=(16, 16))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 300])
    with pytest.raises(CellDataError, match=r"file\.tif: is truncated"):
        open_image(path)


def _refuse(path, message):
    for read in READERS:
        with pytest.raises(CellDataError, match=message):
            read(path)


def test_stack_behind_one_page_is_refused(tmp_path):
    path = tmp_path / "planes.tif"
    tifffile.imwrite(path, np.stack([RGB[..., 0]] * 3), photometric="minisblack", truncate=True)
    _refuse(path, r"planes\.tif: is a stack of several images")


def test_stack_with_a_thumbnail_between_is_refused(tmp_path):
    path = tmp_path / "between.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(RGB, photometric="rgb")
        writer.write(RGB[::4, ::4], photometric="rgb", subfiletype=1)
        writer.write(RGB, photometric="rgb")
    _refuse(path, r"between\.tif: is a stack of several images")


def test_thumbnail_in_front_of_the_image_is_refused(tmp_path):
    path = tmp_path / "front.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(RGB[::4, ::4], photometric="rgb")
        writer.write(RGB, photometric="rgb")
    _refuse(path, r"front\.tif: its first image is of 10 x 13 pixels and a later one of 40 x 52")


def test_ome_tiff_that_names_another_file_does_not_read_it(tmp_path):
    secret, path = tmp_path / "secret.tif", tmp_path / "upload" / "image.ome.tif"
    path.parent.mkdir()
    with tifffile.TiffWriter(secret) as writer:
        for _ in range(2):
            writer.write(np.full((40, 52), 77, np.uint8), metadata=None)
    described = f"""<?xml version="1.0" encoding="UTF-8"?>
    <OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:0">
    <Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="52"
    SizeY="40" SizeC="1" SizeZ="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>
    <TiffData IFD="0" PlaneCount="1"><UUID FileName="{secret}">urn:uuid:1</UUID></TiffData>
    </Pixels></Image></OME>"""
    with tifffile.TiffWriter(path) as writer:
        writer.write(RGB[..., 0], metadata=None, description=described)
        writer.write(RGB[::2, ::2, 0], metadata=None)
    for read in (read_cell_image, read_stored_image):
        with contextlib.suppress(CellDataError):
            assert not (read(path) == 77).all()


def test_odd_tags_are_not_written_to_the_terminal(tmp_path, capfd):
    path = tmp_path / "odd.tif"
    tifffile.imwrite(path, RGB, photometric="rgb", resolution=(2, 2))
    content = path.read_bytes()
    unit = content.index(struct.pack("<HHI", 296, 3, 1))
    path.write_bytes(content[: unit + 8] + struct.pack("<H", 77) + content[unit + 10 :])
    np.testing.assert_array_equal(read_stored_image(path), RGB)
    assert capfd.readouterr().err == ""


def test_tiff_whose_pages_run_in_a_circle_is_refused_at_once(tmp_path):
    path = tmp_path / "circle.tif"
    with tifffile.TiffWriter(path) as writer:
        for _ in range(3):
            writer.write(RGB, photometric="rgb")
    with tifffile.TiffFile(path) as tiff:
        first, last = tiff.pages[0].offset, tiff.pages[2].offset
    content = bytearray(path.read_bytes())
    count = struct.unpack_from("<H", content, last)[0]
    struct.pack_into("<I", content, last + 2 + 12 * count, first)
    path.write_bytes(content)
    for read in (read_cell_image, read_label_map):
        with pytest.raises(CellDataError, match=r"circle.tif: .* leads back to itself"):
            read(path)


def test_tiff_of_far_too_many_pages_is_refused_before_they_are_read(tmp_path, monkeypatch):
    path = tmp_path / "many.tif"
    with tifffile.TiffWriter(path) as writer:
        for _ in range(5):
            writer.write(RGB[:2, :2], photometric="rgb", contiguous=False)
    monkeypatch.setattr("cellseg.images.tiff_pages._MOST_LISTED", 4)
    with pytest.raises(CellDataError, match=r"many.tif: holds more than 4 pages"):
        read_cell_image(path)


@pytest.mark.parametrize(
    "text",
    [
        '<OME><Pixels SizeC="3" SizeZ="99999" SizeT="99999"/></OME>',
        "<OME><TiffData PlaneCount = '999999999999'/></OME>",
        '<scn><dimension r="0" z="99999999" ifd="0"/></scn>',
        '<scn><dimension r="0" c="9999" z="9999" ifd="0"/></scn>',
        '<OME><ModuloAlongT Start="0" End="1" Step="1e-9"/></OME>',
    ],
)
def test_metadata_of_planes_without_end_are_refused_before_they_are_listed(tmp_path, text):
    path = tmp_path / "file.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(RGB, photometric="rgb", description=text, metadata=None, subifds=1)
        writer.write(RGB[::2, ::2], photometric="rgb", metadata=None)
    with pytest.raises(CellDataError, match=r"file\.tif: is a stack of several images by its meta"):
        open_image(path)


def test_tiff_with_far_too_many_pages_below_its_first_is_refused_at_once(tmp_path):
    path = tmp_path / "file.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(RGB, photometric="rgb", subifds=101)
        for _ in range(101):
            writer.write(RGB[:4, :4], photometric="rgb")
    with pytest.raises(CellDataError, match=r"file\.tif: its first page has 101 pages below it"):
        open_image(path)
