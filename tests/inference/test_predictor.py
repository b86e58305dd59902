import doctest
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from mmengine.logging import MMLogger
from pycocotools import mask

from cellseg.errors import CellsegError
from cellseg.images import ArraySource, read_label_map
from cellseg.inference import Predictor, TileOptions
from cellseg.inference import predictor as predictor_module
from cellseg.inference.detector import build_detector
from cellseg.inference.overlaps import measure_overlaps
from cellseg.inference.tile_plan import group_tiles
from cellseg.structures.rle import encode_label_map

from .oracle import CLASS_NAMES, draw_label_map, oracle_config, paint_label_map
from .small_mask_rcnn import small_mask_rcnn

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_docstring_examples_when_run_in_the_repository_then_hold(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(MMLogger.get_current_instance(), "disabled", True)  # it prints the license
    outcome = doctest.testmod(predictor_module)
    assert outcome.attempted >= 5
    assert not outcome.failed


def count_crossing(cells, tiles):
    """Count cells that some tile's inner border cuts."""
    boxes, _ = cells.measure()
    xs = {side for tile in tiles for side in (tile.x1, tile.x2)} - {0, cells.width}
    ys = {side for tile in tiles for side in (tile.y1, tile.y2)} - {0, cells.height}
    crossed = np.zeros(len(cells), dtype=bool)
    for axis, sides in ((0, xs), (1, ys)):
        for side in sides:
            crossed |= (boxes[:, axis] < side) & (boxes[:, axis + 2] > side)
    return int(crossed.sum())


def check_invariant(label_map, make_predictor, tile_px, overlap_px, crossing):
    """Check that tiles change nothing: every cell found again, none twice, none cut."""
    image = paint_label_map(label_map)
    whole = make_predictor(whole=True, score_thr=0.5)(image)
    predictor = make_predictor(whole=False, tile_px=tile_px, overlap_px=overlap_px, score_thr=0.5)
    tiled = predictor(image)
    assert len(whole) >= 300
    assert count_crossing(whole, predictor.plan_tiles(ArraySource(image)).tiles) >= crossing
    joined = type(whole).concatenate([whole, tiled])
    overlaps = measure_overlaps(joined)
    first, second = overlaps.pairs.T
    across = (first < len(whole)) & (second >= len(whole))
    good = across & (overlaps.iou >= 0.8)
    matched, partners = first[good], second[good]
    assert len(np.unique(matched)) >= 0.98 * len(whole)
    assert len(np.unique(matched)) == len(matched), "a cell was found twice"
    assert len(np.unique(partners)) == len(partners)
    within = (first >= len(whole)) & (overlaps.iomin > 0.5)
    assert not within.any(), "two tiled cells cover one another"
    assert len(tiled) == len(np.unique(partners)), (
        "something was found that is no cell, such as a part"
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_tiled_prediction_of_drawn_cells_equals_the_whole_one(make_predictor, seed):
    check_invariant(draw_label_map(seed=seed), make_predictor, 320, 64, crossing=50)


def test_tiled_prediction_of_dense_tissue_equals_the_whole_one(make_predictor, real_data):
    folder = real_data / "hw3" / "train" / "hgsc_nest_1500"
    layers = [read_label_map(path) for path in sorted(folder.glob("class*.tif"))]
    check_invariant(np.maximum.reduce(layers), make_predictor, 512, 128, crossing=150)


def test_tiled_prediction_of_a_cell_larger_than_the_overlap_joins_it(make_predictor):
    label_map = np.zeros((700, 700), dtype=int)
    label_map[100:600, 250:450] = 1
    tiled = make_predictor(whole=False, tile_px=320, overlap_px=64)(paint_label_map(label_map))
    assert tiled.rles == encode_label_map(label_map)[3]


def test_prediction_of_a_tiff_read_in_parts_equals_that_of_the_array(
    tmp_path, make_predictor, monkeypatch
):
    monkeypatch.setattr("cellseg.images.opening._READ_WHOLE_PX", 0)
    image = paint_label_map(draw_label_map(700))
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, image, photometric="rgb", tile=(128, 128), compression="zlib")
    predictor = make_predictor(whole=False, tile_px=320, overlap_px=64)
    assert predictor(path).rles == predictor(image, channel_order="bgr").rles
    with pytest.raises(ValueError, match="'rgb' or 'bgr'"):
        predictor(image, channel_order="rbg")


def test_prediction_of_an_array_always_takes_red_first_unless_told_otherwise(make_predictor):
    image = paint_label_map(draw_label_map(200))
    predictor = make_predictor(whole=True)
    turned = np.ascontiguousarray(image[..., ::-1])
    assert predictor(image).rles == predictor(turned, channel_order="bgr").rles


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_prediction_in_any_batch_size_is_the_same(make_predictor, batch_size):
    image = paint_label_map(draw_label_map(700))
    options = dict(whole=False, tile_px=320, overlap_px=64)
    expected = make_predictor(**options)(image)
    calls = []
    cells = make_predictor(batch_size=batch_size, **options)(
        image, lambda *done: calls.append(done)
    )
    assert cells.rles == expected.rles
    assert sum(tiles for tiles, _ in calls) == 9
    assert len(calls) == {1: 9, 3: 5, 50: 4}[batch_size]  # 4, 2, 2 and 1 tiles are of one size


def test_prediction_by_a_real_network_in_any_batch_size_is_the_same():
    cfg = small_mask_rcnn()
    torch.manual_seed(0)
    predictor = Predictor(cfg, None, device="cpu", score_thr=0.0)
    image = np.random.default_rng(0).integers(0, 256, (300, 340, 3), dtype=np.uint8)
    found = []
    for batch_size in (1, 2, 3):
        predictor.tiling = TileOptions(
            whole=False, scale=1.0, tile_px=128, overlap_px=32, batch_size=batch_size
        )
        found.append(predictor(image))
    tiles = predictor.plan_tiles(ArraySource(image)).tiles
    assert len({(tile.height, tile.width) for tile in tiles}) > 1
    assert len(found[0]) > 0
    for cells in found[1:]:
        assert cells.rles == found[0].rles
        np.testing.assert_allclose(cells.scores, found[0].scores, rtol=1e-5)
        np.testing.assert_allclose(cells.boxes, found[0].boxes, atol=1e-3)


def test_batches_hold_each_tile_once_and_tiles_of_one_size_only(make_predictor):
    predictor = make_predictor(whole=False, tile_px=128, overlap_px=16, batch_size=3)
    plan = predictor.plan_tiles(ArraySource(np.zeros((500, 620, 3), np.uint8)))
    tiles, batches = plan.tiles, plan.batches
    assert sorted(index for batch in batches for index in batch) == list(range(len(tiles)))
    assert list(batches) == sorted(batches)
    for batch in batches:
        assert len({(tiles[index].height, tiles[index].width) for index in batch}) == 1
    assert max(map(len, batches)) == 3
    assert group_tiles([], 3) == ()


def test_prediction_skips_background_tiles_and_counts_them(make_predictor):
    label_map = draw_label_map(1100)
    label_map[:, 400:] = 0
    image = paint_label_map(label_map)
    options = dict(whole=False, tile_px=320, overlap_px=64)
    skipping, looking = make_predictor(**options), make_predictor(skip_background=False, **options)
    assert skipping(image).rles == looking(image).rles
    source = ArraySource(image)
    plan = skipping.plan_tiles(source)
    skipped, looked = (each.predict_batches(source, plan) for each in (skipping, looking))
    assert skipped.num_background >= 8
    assert looked.num_background == 0
    assert skipped.num_tiles == looked.num_tiles == len(plan.tiles)


def test_small_images_are_predicted_whole_and_large_ones_tiled(make_predictor):
    predictor = make_predictor()
    sizes = {1024: 1, 1025: 9}
    for size, count in sizes.items():
        source = ArraySource(np.zeros((500, size, 3), np.uint8))
        assert (len(predictor.plan_tiles(source).tiles) > 1) == (count > 1)


def test_tiles_start_at_whole_strides_of_the_network(make_predictor):
    source = ArraySource(np.zeros((1500, 1300, 3), np.uint8))
    for scale, tile_px in ((0.5, 512), (1.0, 512), (1.6, 520), (2.0, 512)):
        predictor = make_predictor(whole=False, scale=scale, tile_px=512, overlap_px=64)
        tiles = predictor.plan_tiles(source).tiles
        assert {tile.width for tile in tiles if tile.x2 < source.width} == {tile_px}
        for side in {side for tile in tiles for side in (tile.x1, tile.y1)} | {tile_px}:
            assert side * scale % 64 == pytest.approx(0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (33, 90)])
def test_prediction_of_tiny_images_without_cells_is_empty(make_predictor, shape):
    cells = make_predictor()(np.full((*shape, 3), 255, np.uint8))
    assert len(cells) == 0
    assert (cells.height, cells.width) == shape
    assert cells.class_names == CLASS_NAMES


def test_score_threshold_drops_unsure_cells(make_predictor):
    image = paint_label_map(draw_label_map(300))
    everything = make_predictor()(image)
    assert (np.diff(everything.scores) <= 0).all()
    sure = make_predictor(score_thr=0.8)(image)
    assert sure.rles == everything[everything.scores >= 0.8].rles


def test_masks_as_bitmaps_of_a_stock_head_are_taken_too(make_predictor, monkeypatch):
    predictor = make_predictor()
    image = paint_label_map(draw_label_map(200))
    expected = predictor(image)
    step = predictor.model.test_step

    def with_bitmaps(data):
        samples = step(data)
        for sample in samples:
            bitmaps = np.stack([mask.decode(rle) > 0 for rle in sample.pred_instances.masks])
            sample.pred_instances.masks = torch.from_numpy(bitmaps)
        return samples

    monkeypatch.setattr(predictor.model, "test_step", with_bitmaps)
    assert predictor(image).rles == expected.rles


def test_test_time_views_of_a_perfect_detector_change_nothing(make_predictor):
    image = paint_label_map(draw_label_map(300))[:250]
    expected = make_predictor(whole=True)(image)
    merged = make_predictor(whole=True, tta={"max_per_img": None})(image)
    assert sorted(merged.rles, key=str) == sorted(expected.rles, key=str)
    np.testing.assert_allclose(merged.scores, expected.scores, rtol=1e-5)


def test_overlap_that_is_larger_than_the_tile_is_refused_at_once(make_predictor):
    with pytest.raises(CellsegError, match="128 px with 200 px overlap cannot advance"):
        make_predictor(tile_px=100, overlap_px=200)
    make_predictor(tile_px=100, overlap_px=200, whole=True)  # there they do not matter


@pytest.mark.parametrize("device", ["foo", "cuda:99", "meta"])
def test_device_that_is_not_there_is_reported(device):
    with pytest.raises(CellsegError, match=f"The device {device} cannot be used"):
        Predictor(oracle_config(), None, device=device)


def test_config_that_is_missing_is_reported():
    with pytest.raises(CellsegError, match=r"no config file gone\.py"):
        Predictor("gone.py", None)


def test_config_without_a_test_pipeline_is_reported():
    cfg = oracle_config()
    cfg.test_dataloader = None
    with pytest.raises(CellsegError, match="no test_dataloader"):
        Predictor(cfg, None)


def test_checkpoint_of_another_model_is_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"state_dict": {"backbone.weight": torch.zeros(3)}}, path)
    with pytest.raises(CellsegError, match="give the config it was trained with"):
        Predictor(small_mask_rcnn(), path)


def test_checkpoint_that_holds_code_is_refused(tmp_path):
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": {}, "meta": print}, path)
    with pytest.raises(CellsegError):
        Predictor(small_mask_rcnn(), path)


def test_real_model_loads_its_weights_and_predicts(tmp_path):
    cfg = small_mask_rcnn()
    torch.manual_seed(0)
    first = Predictor(cfg, None, device="cpu", score_thr=0.0)
    path = tmp_path / "weights.pth"
    torch.manual_seed(0)
    model = build_detector(cfg, None)
    torch.save({"state_dict": model.state_dict(), "meta": {}}, path)
    second = Predictor(cfg, path, device="cpu", score_thr=0.0)
    image = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    cells = second(image)
    assert len(cells) > 0
    assert cells.rles == first(image).rles
    assert cells.rles[0]["size"] == [64, 80]
