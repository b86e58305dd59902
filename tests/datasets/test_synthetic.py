"""The drawn sample: exact labels, the hw3 layout, and no free lunch for a threshold."""

import errno
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy import ndimage
from skimage.filters import threshold_otsu

from cellseg.datasets.synthetic import SamplePlan, draw_cell_image, draw_sample_set, write_sample


def _count_cells(label_maps: dict[int, np.ndarray]) -> int:
    return sum(len(np.unique(label_map)) - 1 for label_map in label_maps.values())


@given(
    height=st.integers(33, 140),
    width=st.integers(33, 140),
    num_cells=st.integers(0, 60),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=25, deadline=None)
def test_draw_cell_image_at_any_size_keeps_cells_whole_and_apart(height, width, num_cells, seed):
    image, label_maps = draw_cell_image(np.random.default_rng(seed), height, width, num_cells)
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    owners = np.zeros((height, width), int)
    ids = []
    for class_id, label_map in label_maps.items():
        assert 1 <= class_id <= 4
        assert label_map.shape == (height, width)
        owners += label_map > 0
        ids += np.unique(label_map)[1:].tolist()
        for label_id in np.unique(label_map)[1:]:
            assert ndimage.label(label_map == label_id)[1] == 1
    assert owners.max() <= 1  # no overlap, within a class or across classes
    assert len(ids) == len(set(ids)) <= num_cells


def test_draw_cell_image_with_the_same_seed_repeats_itself():
    first, second, other = (
        draw_cell_image(np.random.default_rng(seed), 96, 80, 12) for seed in (7, 7, 8)
    )
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1].keys() == second[1].keys()
    for class_id, label_map in first[1].items():
        np.testing.assert_array_equal(label_map, second[1][class_id])
    assert (first[0] != other[0]).any()


def test_draw_cell_image_when_dense_places_every_cell():
    _, label_maps = draw_cell_image(np.random.default_rng(0), 512, 512, 1000)
    assert _count_cells(label_maps) == 1000


def test_draw_cell_image_without_cells_gives_no_label_map():
    assert draw_cell_image(np.random.default_rng(0), 64, 64, 0)[1] == {}


def test_draw_cell_image_with_one_share_draws_that_class_only():
    _, label_maps = draw_cell_image(np.random.default_rng(0), 128, 128, 9, (0, 0, 1, 0))
    assert set(label_maps) == {3}


@pytest.mark.parametrize(
    ("height", "num_cells", "weights"),
    [(0, 1, (1, 1, 1, 1)), (32, -1, (1, 1, 1, 1)), (32, 1, (0, 0, 0, 0)), (32, 1, (1, 1))],
)
def test_draw_cell_image_with_bad_arguments_says_which(height, num_cells, weights):
    with pytest.raises(ValueError, match="must be"):
        draw_cell_image(np.random.default_rng(0), height, 32, num_cells, weights)


def test_write_sample_gives_the_hw3_layout(tmp_path: Path):
    image, label_maps = draw_cell_image(np.random.default_rng(1), 90, 70, 8, (1, 1, 0, 0))
    write_sample(tmp_path / "train" / "one", image, label_maps)
    names = sorted(path.name for path in (tmp_path / "train" / "one").iterdir())
    assert names == ["class1.tif", "class2.tif", "image.tif"]
    with tifffile.TiffFile(tmp_path / "train" / "one" / "image.tif") as tif:
        page = tif.pages[0]
        assert (page.compression.name, int(page.predictor)) == ("LZW", 2)
        assert page.photometric.name == "RGB"
        written = page.asarray()
    np.testing.assert_array_equal(written[..., :3], image)  # B, G, R as in hw3's files
    assert (written[..., 3] == 255).all()
    read = tifffile.imread(tmp_path / "train" / "one" / "class2.tif")
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read, label_maps[2])


def test_write_sample_when_interrupted_leaves_no_half_folder(tmp_path: Path, monkeypatch):
    image, label_maps = draw_cell_image(np.random.default_rng(1), 64, 64, 4)
    calls = []

    def fail_second(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(tifffile, "imwrite", fail_second)
    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path / "one", image, label_maps)
    assert list(tmp_path.iterdir()) == []


def test_draw_sample_set_twice_draws_only_what_is_missing(tmp_path: Path):
    plan = SamplePlan(num_train=2, num_val=1, size_px=64, num_cells=5)
    assert len(draw_sample_set(tmp_path, plan)) == 3
    before = (tmp_path / "train" / "train_0001" / "image.tif").read_bytes()
    (tmp_path / "train" / "train_0001" / "image.tif").unlink()
    assert draw_sample_set(tmp_path, plan) == [tmp_path / "train" / "train_0001"]
    assert (tmp_path / "train" / "train_0001" / "image.tif").read_bytes() == before
    assert draw_sample_set(tmp_path, plan) == []


def test_draw_sample_set_over_another_plan_refuses_to_mix(tmp_path: Path):
    draw_sample_set(tmp_path, SamplePlan(1, 1, 64, 5))
    with pytest.raises(ValueError, match="Remove that folder"):
        draw_sample_set(tmp_path, SamplePlan(1, 1, 96, 5))


def test_draw_sample_set_draws_validation_from_other_seeds(tmp_path: Path):
    draw_sample_set(tmp_path, SamplePlan(num_train=3, num_val=3, size_px=64, num_cells=5))
    images = [tifffile.imread(path).tobytes() for path in tmp_path.glob("*/*/image.tif")]
    assert len(set(images)) == 6


@pytest.fixture(scope="module")
def val_images() -> list[tuple[np.ndarray, dict[int, np.ndarray]]]:
    """Draw the very validation images that `make demo` scores."""
    plan = SamplePlan()
    folder_of = {}

    def remember(folder, image, label_maps):
        folder_of[Path(folder).parent.name, Path(folder).name] = (image, label_maps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cellseg.datasets.synthetic.write_sample", remember)
        patch.setattr("cellseg.datasets.synthetic._check_plan", lambda root, plan: None)
        draw_sample_set("never-written", SamplePlan(num_train=0, num_val=plan.num_val))
    return [folder_of[key] for key in sorted(folder_of)]


CHANNELS = {
    "grey": lambda image: image.mean(axis=2),
    "blue": lambda image: image[..., 0],
    "green": lambda image: image[..., 1],
    "red": lambda image: image[..., 2],
}


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("cells_are", ["dark", "bright"])
@pytest.mark.parametrize("fill_holes", [False, True])
def test_otsu_on_the_validation_images_scores_below_a_quarter(
    val_images, channel, cells_are, fill_holes
):
    scored = [
        (_find_by_otsu(CHANNELS[channel](image), cells_are, fill_holes), label_maps)
        for image, label_maps in val_images
    ]
    assert _average_precision_50(scored, [1, 2, 3, 4]) < 0.25
    per_class = [_average_precision_50(scored, [class_id]) for class_id in (1, 2, 3, 4)]
    assert np.mean(per_class) < 0.25


def test_otsu_on_plain_discs_scores_one():
    y, x = np.mgrid[:64, :64]
    label_map = np.where(np.hypot(y - 16, x - 16) < 9, 3, 0) + np.where(
        np.hypot(y - 44, x - 40) < 11, 5, 0
    )
    grey = np.where(label_map > 0, 60.0, 200.0)
    scored = [(_find_by_otsu(grey, "dark", fill_holes=False), {2: label_map})]
    assert _average_precision_50(scored, [1, 2, 3, 4]) == pytest.approx(1.0)


def _find_by_otsu(channel: np.ndarray, cells_are: str, fill_holes: bool) -> np.ndarray:
    threshold = threshold_otsu(channel)
    found = channel < threshold if cells_are == "dark" else channel > threshold
    if fill_holes:
        found = ndimage.binary_fill_holes(found)
    return ndimage.label(found)[0]


def _average_precision_50(scored: list[tuple[np.ndarray, dict]], class_ids: list[int]) -> float:
    """Score found objects, all of one kind, against the cells of the given classes."""
    truth, found = COCO(), []
    annotations = []
    for image_id, (object_map, label_maps) in enumerate(scored):
        wanted = sum(label_maps.get(class_id, np.zeros_like(object_map)) for class_id in class_ids)
        for rle in _encode_all(wanted):
            box, area = coco_mask.toBbox(rle).tolist(), float(coco_mask.area(rle))
            annotation = {"id": len(annotations) + 1, "image_id": image_id, "category_id": 1}
            annotations.append(
                annotation | {"segmentation": rle, "bbox": box, "area": area, "iscrowd": 0}
            )
        for rle in _encode_all(object_map, min_area_px=20):
            prediction = {"image_id": image_id, "category_id": 1, "score": 1.0}
            found.append(prediction | {"segmentation": rle})
    truth.dataset = {
        "images": [
            {"id": image_id, "height": object_map.shape[0], "width": object_map.shape[1]}
            for image_id, (object_map, _) in enumerate(scored)
        ],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": annotations,
        "info": {},
    }
    truth.createIndex()
    judge = COCOeval(truth, truth.loadRes(found), "segm")
    judge.params.maxDets = [10000]
    judge.params.iouThrs = np.array([0.5])
    judge.params.areaRng = [[0, 1e10]]
    judge.params.areaRngLbl = ["all"]
    judge.evaluate()
    judge.accumulate()
    return float(judge.eval["precision"].mean())


def _encode_all(label_map: np.ndarray, min_area_px: int = 1) -> list[dict]:
    areas = np.bincount(label_map.ravel())
    ids = [i for i in np.flatnonzero(areas >= min_area_px) if i > 0]
    return [coco_mask.encode(np.asfortranarray(label_map == i, dtype=np.uint8)) for i in ids]


def test_sample_when_the_disk_is_full_then_the_error_names_it_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")  # without a name, as tifffile's

    monkeypatch.setattr(tifffile, "imwrite", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        write_sample(tmp_path / "set" / "a", np.zeros((4, 4, 3), np.uint8), {})
    assert caught.value.filename == str(tmp_path / "set" / "a")
    assert list((tmp_path / "set").iterdir()) == []
