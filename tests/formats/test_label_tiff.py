import numpy as np
import pytest
import tifffile

from cellseg.formats import label_tiff
from cellseg.formats.label_tiff import class_label_paths, paint_strips, write_label_tiffs
from cellseg.formats.outputs import output_files
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_crops, measure_rles


def random_cells(count=60, height=90, width=70, seed=0):
    rng = np.random.default_rng(seed)
    crops = [rng.random(rng.integers(1, 25, 2)) < 0.8 for _ in range(count)]
    xs, ys = rng.integers(-3, width - 1, count), rng.integers(-3, height - 1, count)
    rles = encode_crops(crops, xs, ys, height, width)
    boxes, areas = measure_rles(rles)
    scores, labels = rng.permutation(count) / count, rng.integers(0, 3, count)
    return Cells(boxes, scores, labels, rles, height, width, ("a", "b c", "d"))[areas > 0]


@pytest.mark.parametrize("rows_per_strip", [1, 7, 256])
def test_strips_of_any_height_make_the_label_map_where_the_higher_score_wins(rows_per_strip):
    cells = random_cells()
    numbers = np.arange(1, len(cells) + 1, dtype=np.uint16)
    painted = np.concatenate(list(paint_strips(cells, numbers, rows_per_strip)))
    np.testing.assert_array_equal(painted, cells.label_map())


def test_label_tiffs_read_back_hold_every_class_and_count_lost_pixels(tmp_path):
    cells = random_cells()
    path = tmp_path / "image.labels.tif"
    notes = write_label_tiffs(cells, path)
    per_class = class_label_paths(path, cells.class_names)
    combined = tifffile.imread(path)
    assert combined.dtype == np.uint16
    np.testing.assert_array_equal(combined, cells.label_map())
    assert notes["lost_pixels"] == cells.measure()[1].sum() - (combined > 0).sum()
    assert [class_path.name for class_path in per_class] == [
        "image.labels.a.tif",
        "image.labels.b_c.tif",
        "image.labels.d.tif",
    ]
    for label, class_path in enumerate(per_class):
        own = np.flatnonzero(cells.labels == label)
        expected = np.append(0, own + 1)[cells[own].label_map()]
        np.testing.assert_array_equal(tifffile.imread(class_path), expected)


@pytest.mark.parametrize(
    ("class_names", "wanted"),
    [
        (("CD3 +", "CD3 /", "b"), ["CD3__1", "CD3__2", "b"]),
        (("T cell", "t cell"), ["T_cell_1", "t_cell_2"]),
        (("a+", "a__1", "a/"), ["a__1_", "a__1", "a__3"]),
    ],
)
def test_label_files_of_classes_named_alike_are_different_files(tmp_path, class_names, wanted):
    cells = random_cells()
    cells.class_names = class_names
    cells.labels %= len(class_names)
    path = tmp_path / "x.labels.tif"
    write_label_tiffs(cells, path)
    per_class = class_label_paths(path, class_names)
    assert [class_path.name for class_path in per_class] == [
        f"x.labels.{name}.tif" for name in wanted
    ]
    for label, class_path in enumerate(per_class):
        own = np.flatnonzero(cells.labels == label)
        assert set(np.unique(tifffile.imread(class_path))) <= {0, *(own + 1)}
    listed = output_files(tmp_path / "x", ["labels"], class_names)
    assert listed == [path, *per_class]


def test_label_tiff_without_cells_is_all_background(tmp_path):
    path = tmp_path / "image.tif"
    notes = write_label_tiffs(Cells.empty(5, 9, ("a",)), path)
    image = tifffile.imread(path)
    assert image.shape == (5, 9)
    assert not image.any()
    assert notes["lost_pixels"] == 0


@pytest.mark.parametrize(("count", "dtype"), [(65_535, np.uint16), (65_536, np.uint32)])
def test_label_tiff_beyond_65535_cells_is_uint32(tmp_path, count, dtype):
    side = 256
    label_map = (np.arange(side * 260) + 1).reshape(260, side)
    rows, columns = np.divmod(np.arange(count), side)
    boxes = np.stack((columns, rows, columns + 1, rows + 1), axis=1)
    from cellseg.structures.rle import encode_columns

    rles = encode_columns(np.ones(count, bool), boxes, 260, side)
    cells = Cells(boxes, np.ones(count), np.zeros(count), rles, 260, side, ())
    path = tmp_path / "image.tif"
    write_label_tiffs(cells, path)
    image = tifffile.imread(path)
    assert image.dtype == dtype
    np.testing.assert_array_equal(image, np.where(label_map <= count, label_map, 0))
    check_imagej_takes(path, [8 * dtype().itemsize])
    # ImageJ turns uint32 into float32, which holds whole numbers up to 2^24.
    np.testing.assert_array_equal(image.astype(np.float32).astype(np.int64), image)


def check_imagej_takes(path, bits):
    """Check what ImageJ's own reader needs: striped, deflated or plain, one grey unsigned page."""
    with tifffile.TiffFile(path) as tiff:
        (page,) = tiff.pages
        assert not page.is_tiled
        assert page.compression in (tifffile.COMPRESSION.ADOBE_DEFLATE, tifffile.COMPRESSION.NONE)
        assert page.photometric == tifffile.PHOTOMETRIC.MINISBLACK
        assert page.predictor == tifffile.PREDICTOR.NONE
        assert page.sampleformat == tifffile.SAMPLEFORMAT.UINT
        assert page.bitspersample in bits
        assert not tiff.is_bigtiff


@pytest.mark.parametrize("reader", ["cellpose.io", "napari_builtins.io"])
def test_label_tiff_opens_in_the_readers_of_cellpose_and_napari(tmp_path, reader):
    """Neither is a pin: this runs where they happen to be installed."""
    cells = random_cells()
    path = tmp_path / "image.tif"
    write_label_tiffs(cells, path)
    read = pytest.importorskip(reader).imread
    np.testing.assert_array_equal(read(str(path)), cells.label_map())


def test_label_tiff_opens_where_imagej_and_others_read(tmp_path):
    cells = random_cells()
    cells.pixel_size_um = 0.25
    path = tmp_path / "image.tif"
    write_label_tiffs(cells, path)
    check_imagej_takes(path, [16])
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages.first.get_resolution("MICROMETER") == pytest.approx((4, 4))
    from skimage import io

    np.testing.assert_array_equal(io.imread(path), cells.label_map())


def test_label_tiff_when_writing_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "image.tif"
    write_label_tiffs(random_cells(), path)
    before = path.read_bytes()

    def fail(*arguments, **options):
        raise OSError("disk full")

    monkeypatch.setattr(label_tiff.zlib, "compress", fail)
    with pytest.raises(OSError, match="disk full"):
        write_label_tiffs(random_cells(seed=1), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.glob(".*")] == []
