from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from cellseg.errors import CellsegError
from cellseg.formats import label_tiff
from cellseg.formats.label_file_names import class_label_paths
from cellseg.formats.label_tiff import paint_strips, write_label_tiffs
from cellseg.formats.outputs import output_files
from cellseg.formats.prediction_files import read_predictions
from cellseg.formats.prediction_set import join_results
from cellseg.scoring.counts import count_scene
from cellseg.scoring.scene import build_result_scene
from cellseg.scoring.scores import compute_scores
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_columns, encode_crops, encode_label_map, measure_rles
from tests.formats.drawn_truth import IMAGES, NAMES, SHAPE, draw_labels, figures_of, make_truth


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


def write_labels(path: Path, label_map: NDArray[Any]) -> None:
    """Write a label TIFF and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, label_map)


@pytest.mark.parametrize("suffix", [".tif", ".tiff"])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_read_predictions_when_folder_is_perfect_then_all_figures_are_one(
    tmp_path: Path, suffix: str, dtype: type
) -> None:
    write_labels(tmp_path / f"s/a/class1{suffix}", draw_labels(1).astype(dtype))
    write_labels(tmp_path / f"s/a/class2{suffix}", draw_labels(2).astype(dtype))
    write_labels(tmp_path / f"b/class1{suffix}", draw_labels(3).astype(dtype))
    assert set(figures_of(tmp_path).values()) == {1.0}
    predictions = read_predictions(tmp_path, IMAGES, NAMES)
    assert (predictions.has_scores, predictions.has_classes, predictions.absent) == (
        False,
        True,
        [],
    )


def test_read_predictions_when_a_label_file_is_cut_off_then_named(tmp_path: Path) -> None:
    write_labels(tmp_path / "b/class1.tif", draw_labels(1))
    data = (tmp_path / "b/class1.tif").read_bytes()
    (tmp_path / "b/class1.tif").write_bytes(data[: len(data) // 3])
    with pytest.raises(CellsegError, match=r"b/class1\.tif"):
        read_predictions(tmp_path, IMAGES, NAMES)


def predict(folder: Path, name: str, layers: list[NDArray[np.int32]], classes: list[str]) -> Path:
    """Write the label TIFFs of one image as tools/predict.py does."""
    found = [encode_label_map(layer) for layer in layers]
    cells = Cells(
        np.concatenate([boxes for _, boxes, _, _ in found]),
        np.ones(sum(len(ids) for ids, *_ in found)),
        np.repeat([0, 1], [len(ids) for ids, *_ in found]),
        [rle for *_, rles in found for rle in rles],
        *SHAPE,
        tuple(classes),
    )
    folder.mkdir(exist_ok=True)
    write_label_tiffs(cells, folder / f"{name}.labels.tif")
    return folder / f"{name}.labels.tif"


def test_read_predictions_when_tools_predict_wrote_them_then_perfect_ones_score_one(
    tmp_path: Path,
) -> None:
    classes = ["lymphocyte", "large (odd) cell"]
    images = [make_truth(n, k, draw_labels(k), draw_labels(k + 2)) for k, n in enumerate("ab", 1)]
    for image in images:
        layers = [draw_labels(image.img_id), draw_labels(image.img_id + 2)]
        combined = predict(tmp_path / "out", image.name, layers, classes)
    predictions = read_predictions(tmp_path / "out", images, classes)
    assert (predictions.has_classes, predictions.absent) == (True, [])
    results = join_results(images, predictions)
    figures = compute_scores(
        [count_scene(build_result_scene(result, 2)) for result in results], classes
    ).to_dict()
    assert set(figures.values()) == {1.0}
    for path in (tmp_path / "out").glob("b.labels.*.tif"):
        path.unlink()
    with pytest.raises(CellsegError, match=rf"{combined}: does not follow"):
        read_predictions(tmp_path / "out", images, classes)
    merged = read_predictions(tmp_path / "out", images, classes, "{image}.labels.tif")
    assert (merged.has_classes, merged.absent) == (False, [])


def test_read_predictions_when_a_file_is_a_yes_no_mask_then_warned_once(
    tmp_path: Path, listen: Callable[..., list[str]]
) -> None:
    told = listen("cellseg.formats.label_tiff")
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:6, 2:6] = mask[10:14, 20:24] = 255
    write_labels(tmp_path / "b" / "class1.tif", mask)
    write_labels(tmp_path / "s/a" / "class1.tif", draw_labels(1) * 0 + 1)
    read_predictions(tmp_path, IMAGES, NAMES)
    assert len(told) == 1
    assert "in 1 of 2 label files, such as" in told[0]
    assert "class1.tif, labels are in several pieces: each label counts as one cell" in told[0]
