"""The network with its test pipeline: its limits, its scores, its scales."""

import contextlib

import numpy as np
import pytest
import torch

from cellseg.inference import Predictor, TileOptions
from cellseg.inference.network import InputPipeline
from tests.inference.small_mask_rcnn import small_mask_rcnn


@pytest.mark.parametrize(
    ("scale", "side", "factor"), [(1.0, 512, 4.0), (2.0, 128, 1.0), (None, 512, 1.0)]
)
def test_limits_of_the_detector_follow_the_area_it_looks_at(scale, side, factor):
    cfg = small_mask_rcnn()  # its input is 256 x 256
    tiling = TileOptions(scale=scale, whole=True)
    predictor = Predictor(cfg, None, device="cpu", score_thr=0.0, tiling=tiling)
    seen = []
    model = predictor.model

    def look(data):
        seen.append([dict(model.rpn_head.test_cfg), dict(model.roi_head.test_cfg)])
        return [sample.clone() for sample in data["data_samples"]]

    model.test_step = look
    for sample in ("first", "second"):  # limits are set from the config's each time
        with contextlib.suppress(AttributeError):
            predictor._network.find_cells([np.zeros((side, side, 3), np.uint8)], scale, 0.0)
        assert seen[-1][0]["nms_pre"] == 50 * factor, sample
        assert seen[-1][0]["max_per_img"] == 50 * factor
        assert seen[-1][1]["max_per_img"] == 10 * factor


def test_scale_when_an_image_is_thin_then_a_pixel_of_it_stays():
    pipeline = InputPipeline([{"type": "Resize", "scale": (256, 256), "keep_ratio": True}])
    assert pipeline.fit((300, 300), None) is None
    assert pipeline.fit((300, 300), 0.1) == 0.1
    for size in ((2, 900), (900, 1), (1, 1), (3, 900)):
        for wanted in (None, 0.01, 2.0):
            scale = pipeline.fit(size, wanted)
            image = np.zeros((*size, 3), np.uint8)
            shown = pipeline.build(scale)({"img": image})["img"]
            assert min(shown.shape[:2]) >= 1
    assert pipeline.fit((1, 1), 2.0) == 2.0


def test_cells_above_a_score_are_those_found_without_it():
    cfg = small_mask_rcnn()
    torch.manual_seed(0)
    predictor = Predictor(cfg, None, device="cpu", score_thr=0.0)
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    every = predictor(image)
    threshold = float(every.scores[len(every) // 2])  # a score itself stays
    shown = []
    forward = predictor.model.roi_head.mask_head.forward
    predictor.model.roi_head.mask_head.forward = lambda x: (shown.append(len(x)), forward(x))[1]

    predictor.score_thr = threshold
    fewer = predictor(image)
    predictor.score_thr = 0.0
    again = predictor(image)

    kept = every[every.scores >= np.float32(threshold)]
    assert 0 < len(kept) < len(every)
    assert fewer.rles == kept.rles
    np.testing.assert_array_equal(fewer.scores, kept.scores)
    assert shown == [len(kept), len(every)]  # no mask was computed in vain
    assert again.rles == every.rles


@pytest.mark.parametrize(("limit", "num_said"), [(3, 1), (100_000, 0)])
def test_limit_of_cells_when_an_image_reaches_it_then_is_said_once(listen, limit, num_said):
    cfg = small_mask_rcnn()
    cfg.model.test_cfg.rcnn.max_per_img = limit
    torch.manual_seed(0)
    predictor = Predictor(cfg, None, device="cpu", score_thr=0.0)
    said = listen("cellseg.inference.network")
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    for _ in range(2):
        assert len(predictor(image)) > 0
    assert len([text for text in said if "max_per_img: cells beyond it are missing" in text]) == (
        num_said
    )


def test_pipeline_when_it_resizes_to_a_size_then_a_scale_replaces_that():
    resize = {"type": "Resize", "scale": (512, 256), "keep_ratio": True}
    pipeline = InputPipeline([{"type": "LoadCellImage"}, resize])
    assert pipeline.constant_scale is None
    assert pipeline.input_size == (512, 256)
    assert pipeline.limit_area == 512 * 256
    (built,) = pipeline.build(None).transforms
    assert built.scale == (512, 256)
    (scaled,) = pipeline.build(2.0).transforms
    assert scaled.scale_factor == (2.0, 2.0)
    assert pipeline.build(2.0) is pipeline.build(2.0)


def test_pipeline_when_it_enlarges_all_alike_then_tiles_have_an_input_of_their_own():
    pipeline = InputPipeline([{"type": "Resize", "scale_factor": 1.6, "keep_ratio": True}])
    assert pipeline.constant_scale == 1.6
    assert pipeline.input_size == (1024, 1024)
    assert pipeline.limit_area == 1600**2  # that of a test image of 1000 px
