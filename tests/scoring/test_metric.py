"""CellMetric gives COCO's own figures, at one limit of detections."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.registry import METRICS
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from cellseg.scoring.average_precision import compute_average_precision
from cellseg.scoring.metric import CellMetric, describe_limits, format_table
from cellseg.scoring.results import ImageResult
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_crop, encode_label_map

CLASSES = ("epithelial", "lymphocyte", "neutrophil")


def rectangle(x: int, y: int, w: int, h: int, height: int, width: int) -> dict:
    """Encode a filled rectangle, cut off at the image's border."""
    return encode_crop(np.ones((h, w), dtype=bool), x, y, height, width)


def instance(box: tuple[int, int, int, int], label: int, size: int, ignored: bool = False) -> dict:
    """Make a ground-truth instance from x, y, w, h."""
    x, y, w, h = box
    return {
        "bbox": [x, y, x + w, y + h],
        "bbox_label": label,
        "ignore_flag": int(ignored),
        "mask": rectangle(x, y, w, h, size, size),
    }


def predicted(boxes: list, labels: list, scores: list, size: int) -> dict:
    """Make predictions from boxes as x, y, w, h."""
    xywh = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return {
        "bboxes": torch.cat([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], dim=1),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "scores": torch.tensor(scores, dtype=torch.float32),
        "masks": [rectangle(*box, size, size) for box in boxes],
    }


def sample(img_id: int, instances: list, predictions: dict, size: int) -> dict:
    """Make a data sample as the evaluator passes it on."""
    return {
        "img_id": img_id,
        "ori_shape": (size, size),
        "instances": instances,
        "pred_instances": predictions,
    }


def run_metric(samples: list[dict], **options: Any) -> dict[str, float]:
    """Evaluate samples, one a batch."""
    metric = CellMetric(**options)
    metric.dataset_meta = {"classes": CLASSES}
    for one in samples:
        metric.process({}, [one])
    return metric.evaluate(len(samples))


def draw_scene(rng: np.random.Generator, num_images: int, num_cells: int, size: int) -> list[dict]:
    """Draw cells, jittered and false-positive predictions with tied scores, and ignored regions."""
    samples = []
    for number in range(num_images):
        boxes = np.column_stack(
            [rng.integers(0, size - 12, (num_cells, 2)), rng.integers(3, 12, (num_cells, 2))]
        )
        boxes[rng.random(num_cells) < 0.1, 2:] = size // 2  # some cells are of medium area
        labels = rng.integers(0, 2, num_cells)
        ignored = rng.random(num_cells) < 0.1
        truth = [
            instance(tuple(b), int(k), size, bool(i))
            for b, k, i in zip(boxes.tolist(), labels, ignored, strict=True)
        ]
        if rng.random() < 0.5:
            truth.append(instance((2, 2, size // 2, size // 3), -1, size, True))
        found = boxes[rng.random(num_cells) < 0.8]
        found[:, :2] = np.maximum(found[:, :2] + rng.integers(-2, 3, (len(found), 2)), 0)
        found[:, 2:] = np.maximum(found[:, 2:] + rng.integers(-1, 2, (len(found), 2)), 1)
        unmatched = np.column_stack(
            [
                rng.integers(0, size - 8, (num_cells // 3, 2)),
                rng.integers(2, 9, (num_cells // 3, 2)),
            ]
        )
        guesses = np.concatenate([found, unmatched])
        guesses[:, 2:] = np.minimum(guesses[:, 2:], size - guesses[:, :2])
        scores = rng.integers(1, 6, len(guesses)) / 5  # five values: many ties, over images too
        guessed_labels = rng.integers(0, 2, len(guesses))
        samples.append(
            sample(
                100 - 7 * number,
                truth,
                predicted(guesses.tolist(), guessed_labels.tolist(), scores.tolist(), size),
                size,
            )
        )
    return samples


def reference_figures(samples: list[dict], kind: str, max_dets: int) -> dict[str, float]:
    """Compute the figures with pycocotools, all at max_dets; images in the order of their ids."""
    samples = sorted(samples, key=lambda one: one["img_id"])
    annotations, rows = [], []
    for one in samples:
        for cell in one["instances"]:
            x1, y1, x2, y2 = cell["bbox"]
            label = cell["bbox_label"]
            for category in [label + 1] if label >= 0 else range(1, len(CLASSES) + 1):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": one["img_id"],
                        "category_id": category,
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "area": int(coco_mask.area(cell["mask"])),
                        "iscrowd": cell["ignore_flag"],
                        "segmentation": cell["mask"],
                    }
                )
        cells = one["pred_instances"]
        for box, label, score, rle in zip(
            cells["bboxes"].tolist(), cells["labels"], cells["scores"], cells["masks"], strict=True
        ):
            row = {"image_id": one["img_id"], "category_id": int(label) + 1, "score": float(score)}
            if kind == "bbox":
                row["bbox"] = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            else:
                row["segmentation"] = rle
            rows.append(row)
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": s["img_id"], "height": 0, "width": 0} for s in samples],
        "categories": [{"id": k, "name": name} for k, name in enumerate(CLASSES, 1)],
        "annotations": annotations,
    }
    truth.createIndex()
    judge = COCOeval(truth, truth.loadRes(rows), kind)
    judge.params.maxDets = [max_dets]
    judge.evaluate()
    judge.accumulate()
    precision, recall = judge.eval["precision"][..., 0], judge.eval["recall"][..., 0]

    def mean(values: np.ndarray, absent: float) -> float:
        return float(values[values > -1].mean()) if (values > -1).any() else absent

    figures = {
        "mAP": mean(precision[..., 0], -1),
        "mAP_50": mean(precision[0, ..., 0], -1),
        "mAP_75": mean(precision[5, ..., 0], -1),
        "mAP_s": mean(precision[..., 1], -1),
        "mAP_m": mean(precision[..., 2], -1),
        "mAP_l": mean(precision[..., 3], -1),
        "AR": mean(recall[..., 0], -1),
        "AR_s": mean(recall[..., 1], -1),
        "AR_m": mean(recall[..., 2], -1),
        "AR_l": mean(recall[..., 3], -1),
    }
    for k, name in enumerate(CLASSES):
        figures[f"{name}_AP"] = mean(precision[:, :, k, 0], math.nan)
        figures[f"{name}_AP_50"] = mean(precision[0, :, k, 0], math.nan)
    return {f"coco/{kind}_{name}": value for name, value in figures.items()}


def perfect_sample(num_cells: int, size: int = 512) -> dict:
    """Make an image on whose grid of cells every prediction is right."""
    per_row = size // 16
    boxes = [(16 * (i % per_row), 16 * (i // per_row), 10, 12) for i in range(num_cells)]
    labels = [int(i % 10 == 9) for i in range(num_cells)]  # most are of one class
    truth = [instance(b, k, size) for b, k in zip(boxes, labels, strict=True)]
    scores = np.linspace(0.3, 0.99, num_cells).tolist()
    return sample(1, truth, predicted(boxes, labels, scores, size), size)


@pytest.mark.parametrize("num_cells", [1, 200, 800])
def test_cell_metric_when_predictions_are_perfect_then_every_figure_is_one(num_cells: int) -> None:
    figures = run_metric([perfect_sample(num_cells)])
    for key in ("mAP", "mAP_50", "mAP_75", "mAP_s", "AR", "epithelial_AP", "epithelial_AP_50"):
        assert figures[f"coco/segm_{key}"] == pytest.approx(1, abs=1e-12)
        assert figures[f"coco/bbox_{key}"] == pytest.approx(1, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_images=st.integers(1, 4),
    num_cells=st.integers(1, 40),
    max_dets=st.sampled_from([1, 5, 20, 1000]),
)
def test_cell_metric_when_scenes_are_random_then_equals_pycocotools(
    seed: int, num_images: int, num_cells: int, max_dets: int
) -> None:
    samples = draw_scene(np.random.default_rng(seed), num_images, num_cells, 64)
    if not any(len(one["pred_instances"]["labels"]) for one in samples):
        return  # pycocotools cannot load an empty list
    figures = run_metric(samples, max_dets=max_dets)
    for kind in ("segm", "bbox"):
        for key, value in reference_figures(samples, kind, max_dets).items():
            assert figures[key] == pytest.approx(value, abs=1e-6, nan_ok=True), key


def test_cell_metric_when_more_are_predicted_than_count_then_equals_pycocotools() -> None:
    samples = draw_scene(np.random.default_rng(3), 1, 500, 128)
    figures = run_metric(samples, max_dets=200)
    for key, value in reference_figures(samples, "segm", 200).items():
        assert figures[key] == pytest.approx(value, abs=1e-6, nan_ok=True), key


def test_cell_metric_when_results_come_in_another_order_then_figures_are_identical() -> None:
    samples = draw_scene(np.random.default_rng(5), 5, 30, 64)
    assert str(run_metric(samples)) == str(run_metric(samples[::-1]))
    repeated = [*samples[2:], *samples]  # what padding of several processes leaves at worst
    assert str(run_metric(samples)) == str(run_metric(repeated))


def judge_share(rank: int, address: str, folder: str) -> None:
    """Judge every second of five images in one of two processes, padded as the sampler does."""
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    samples = draw_scene(np.random.default_rng(5), 5, 30, 64)
    padded = [*samples, samples[0]]
    metric = CellMetric(collect_dir=f"{folder}/parts")
    metric.dataset_meta = {"classes": CLASSES}
    metric.process({}, padded[rank::2])
    Path(folder, f"figures{rank}").write_text(str(metric.evaluate(len(samples))))


@pytest.mark.slow
def test_cell_metric_when_two_processes_share_an_odd_number_then_figures_are_identical(
    tmp_path,
) -> None:
    alone = str(run_metric(draw_scene(np.random.default_rng(5), 5, 30, 64)))
    torch.multiprocessing.spawn(
        judge_share, (f"file://{tmp_path}/rendezvous", str(tmp_path)), nprocs=2
    )
    assert [(tmp_path / f"figures{rank}").read_text() for rank in range(2)] == [alone, alone]


def test_cell_metric_when_masks_are_tensors_then_equals_rle() -> None:
    samples = draw_scene(np.random.default_rng(7), 2, 20, 64)
    as_rle = run_metric(samples)
    for one in samples:
        cells = one["pred_instances"]
        bitmaps = [coco_mask.decode(rle).astype(bool) for rle in cells["masks"]]
        cells["masks"] = torch.from_numpy(np.stack(bitmaps))
    assert str(run_metric(samples)) == str(as_rle)


def test_cell_metric_when_nothing_is_predicted_then_scores_zero() -> None:
    truth = [instance((2, 3, 8, 8), 0, 64)]
    figures = run_metric([sample(1, truth, predicted([], [], [], 64), 64)])
    assert figures["coco/segm_mAP"] == figures["coco/bbox_AR"] == 0
    assert figures["coco/segm_epithelial_AP_50"] == 0
    assert math.isnan(figures["coco/segm_lymphocyte_AP"])


@pytest.mark.parametrize("boxes", [[], [(2, 2, 5, 5)]])
def test_cell_metric_when_there_is_no_truth_then_means_are_absent(boxes: list) -> None:
    cells = predicted(boxes, [0] * len(boxes), [0.9] * len(boxes), 64)
    figures = run_metric([sample(1, [], cells, 64)])
    assert figures["coco/segm_mAP"] == figures["coco/bbox_mAP_50"] == -1
    assert math.isnan(figures["coco/segm_epithelial_AP"])


def test_cell_metric_when_there_is_no_image_then_means_are_absent() -> None:
    assert run_metric([])["coco/segm_mAP_50"] == -1


def test_cell_metric_when_a_class_has_no_cell_then_means_leave_it_out() -> None:
    one = perfect_sample(10)
    cells = one["pred_instances"]
    cells["labels"][0] = 2  # a false-positive neutrophil costs an epithelial cell, not a class
    figures = run_metric([one])
    assert math.isnan(figures["coco/segm_neutrophil_AP"])
    present = (figures["coco/segm_epithelial_AP"] + figures["coco/segm_lymphocyte_AP"]) / 2
    assert figures["coco/segm_mAP"] == pytest.approx(present, abs=1e-12)


@pytest.mark.parametrize("label", [0, 1])
def test_cell_metric_when_predicted_in_an_ignored_region_then_counts_for_no_class(
    label: int,
) -> None:
    one = perfect_sample(20)
    one["instances"].append(instance((0, 400, 200, 100), -1, 512, True))
    extra = predicted([(20, 420, 10, 10)], [label], [0.999], 512)
    cells = one["pred_instances"]
    for key in ("bboxes", "labels", "scores"):
        cells[key] = torch.cat([cells[key], extra[key]])
    cells["masks"] += extra["masks"]
    assert run_metric([one])["coco/segm_mAP"] == pytest.approx(1, abs=1e-12)
    del one["instances"][-1]
    assert run_metric([one])["coco/segm_mAP"] < 1


def test_cell_metric_when_areas_are_banded_then_uses_the_mask_not_the_box() -> None:
    diagonal = np.eye(40, dtype=bool)  # 40 px in a box of 1600 px: small, not medium
    rle = encode_crop(diagonal, 5, 5, 64, 64)
    truth = [{"bbox": [5, 5, 45, 45], "bbox_label": 0, "ignore_flag": 0, "mask": rle}]
    cells = predicted([(5, 5, 40, 40)], [0], [0.9], 64) | {"masks": [rle]}
    figures = run_metric([sample(1, truth, cells, 64)])
    assert figures["coco/segm_mAP_s"] == pytest.approx(1)
    assert figures["coco/segm_mAP_m"] == -1


def test_cell_metric_when_format_only_then_writes_rows_and_needs_no_truth(tmp_path) -> None:
    one = sample(17, [], predicted([(1, 2, 6, 4)], [1], [0.25], 32), 32)
    del one["instances"]
    prefix = tmp_path / "deep" / "results"
    assert run_metric([one], format_only=True, outfile_prefix=str(prefix)) == {}
    (row,) = json.loads(prefix.with_suffix(".segm.json").read_text())
    assert row["image_id"] == 17
    assert row["category_id"] == 2
    assert row["bbox"] == [1.0, 2.0, 6.0, 4.0]
    assert row["score"] == 0.25
    assert row["segmentation"] == rectangle(1, 2, 6, 4, 32, 32)
    (row,) = json.loads(prefix.with_suffix(".bbox.json").read_text())
    assert "segmentation" not in row


def test_cell_metric_when_prefix_is_given_then_files_load_in_pycocotools(tmp_path) -> None:
    samples = draw_scene(np.random.default_rng(11), 2, 10, 64)
    figures = run_metric(samples, outfile_prefix=str(tmp_path / "r"))
    rows = json.loads((tmp_path / "r.segm.json").read_text())
    assert len(rows) == sum(len(one["pred_instances"]["labels"]) for one in samples)
    assert [row["image_id"] for row in rows] == sorted(row["image_id"] for row in rows)
    assert figures["coco/segm_mAP"] >= 0


def test_cell_metric_when_truth_is_not_packed_then_error_names_the_key() -> None:
    one = perfect_sample(1)
    del one["instances"]
    with pytest.raises(ValueError, match="meta_keys"):
        run_metric([one])


def test_cell_metric_when_label_has_no_class_then_error_names_the_image() -> None:
    one = perfect_sample(1)
    one["pred_instances"]["labels"][0] = 3
    with pytest.raises(ValueError, match="image 1 .*num_classes"):
        run_metric([one])


def test_cell_metric_when_mask_has_another_size_then_error_names_the_image() -> None:
    one = perfect_sample(1)
    one["pred_instances"]["masks"] = [rectangle(0, 0, 3, 3, 99, 99)]
    with pytest.raises(ValueError, match="image 1 is not of the image's size"):
        run_metric([one])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "proposal"}, "metric must be"),
        ({"format_only": True}, "outfile_prefix"),
        ({"max_dets": 0}, "max_dets"),
    ],
)
def test_cell_metric_when_options_are_wrong_then_error_says_so(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        CellMetric(**options)


def test_cell_metric_when_boxes_only_then_bbox_is_judged_and_segm_refused() -> None:
    one = perfect_sample(5)
    del one["pred_instances"]["masks"]
    assert run_metric([one], metric="bbox")["coco/bbox_mAP"] == pytest.approx(1)
    with pytest.raises(ValueError, match="hold no masks"):
        run_metric([one], metric="segm")


def test_cell_metric_when_built_from_registry_then_is_found() -> None:
    assert isinstance(METRICS.build({"type": "CellMetric"}), CellMetric)


def test_format_table_when_a_class_is_absent_then_shows_a_dash() -> None:
    one = perfect_sample(4)
    result = ImageResult(
        1,
        512,
        512,
        Cells.from_prediction(one["pred_instances"], 512, 512),
        Cells.from_instances(one["instances"], 512, 512),
    )
    lines = format_table(compute_average_precision([result], CLASSES)).splitlines()
    (absent,) = (line for line in lines if "neutrophil" in line)
    assert absent.split() == ["|", "neutrophil", *"|0|0|-|-|-|-|".replace("|", " | ").split()]
    (every,) = (line for line in lines if "| all" in line)
    assert every.count("1.0000") == 4
    assert every.split()[3] == "4"


def test_metric_when_predictions_are_perfect_then_every_cell_matches() -> None:
    """The one-to-one figures come in the same pass; an absent class has no key."""
    label_map = np.zeros((32, 40), np.int32)
    for index, column in enumerate(range(2, 34, 8), start=1):
        label_map[4:12, column : column + 6] = index
    _, boxes, _, rles = encode_label_map(label_map)
    instances = [
        dict(bbox=box, bbox_label=0, ignore_flag=0, mask=rle)
        for box, rle in zip(boxes.tolist(), rles, strict=True)
    ]
    pred_instances = dict(
        bboxes=boxes, scores=np.full(4, 0.9), labels=np.zeros(4, np.int64), masks=rles
    )
    metric = CellMetric()
    metric.dataset_meta = dict(classes=("cell", "other"))
    sample = dict(img_id=1, ori_shape=(32, 40), instances=instances, pred_instances=pred_instances)
    metric.process(None, [sample])
    figures = metric.evaluate(1)
    for key in ("cell_mPQ", "cell_cell_PQ", "cell_cell_AJI", "cell_any_F1_50"):
        assert figures[f"coco/{key}"] == 1.0
    assert not any(key.startswith("coco/cell_other") for key in figures)


def make_predictions(*counts: int, num_classes: int = 1) -> list[Cells]:
    """Make box predictions of some numbers of cells, whose classes take turns."""
    return [
        Cells(
            boxes=np.tile(np.float32([0, 0, 4, 4]), (count, 1)),
            scores=np.linspace(1, 0, count, dtype=np.float32),
            labels=np.arange(count) % num_classes,
            masks=None,
            height=8,
            width=8,
        )
        for count in counts
    ]


def test_limits_when_predictions_do_not_count_then_says_so() -> None:
    (sentence,) = describe_limits(make_predictions(5, 11, 10), max_dets=10)
    assert sentence.startswith("1 of 3 images have more than max_dets=10 predictions")
    assert describe_limits(make_predictions(5, 11, 10, num_classes=2), max_dets=10) == []


def test_limits_when_several_images_have_the_same_most_then_names_the_models_limit() -> None:
    (sentence,) = describe_limits(make_predictions(300, 20, 300), max_dets=1000)
    assert sentence.startswith("2 of 3 images have exactly 300 predictions")
    assert "max_per_img" in sentence


@pytest.mark.parametrize("counts", [(), (0, 0), (7, 7), (300, 299)])
def test_limits_when_none_was_reached_then_nothing_is_said(counts: tuple[int, ...]) -> None:
    assert describe_limits(make_predictions(*counts), max_dets=1000) == []
