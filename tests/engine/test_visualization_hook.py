"""Overlays are named by image, read with the sample's own format, and the same every time."""

import uuid
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import tifffile
import torch
from mmdet.registry import HOOKS, VISUALIZERS
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData

from cellseg.engine.visualization_hook import CellVisualizationHook, name_of
from cellseg.structures.rle import encode_crop


def make_sample(folder: Path, img_id: int, img_name: str, channel_order: str = "rgb"):
    """Write a red 32 x 24 image in a channel order and make its data sample."""
    path = folder / img_name / "image.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.zeros((24, 32, 3), dtype=np.uint8)
    image[..., 0 if channel_order == "rgb" else 2] = 200
    tifffile.imwrite(path, image, photometric="rgb")
    sample = DetDataSample(
        metainfo={
            "img_path": str(path),
            "img_id": img_id,
            "img_name": img_name,
            "image_format": {"channel_order": channel_order, "intensity_range": None},
            "instances": [],
        }
    )
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor([[4.0, 4, 12, 12]]),
        scores=torch.tensor([0.9]),
        labels=torch.tensor([0]),
        masks=[encode_crop(np.ones((8, 8), dtype=bool), 4, 4, 24, 32)],
    )
    return sample


def make_runner(tmp_path: Path, num_batches: int = 10, visualizer=None) -> SimpleNamespace:
    """Make what the hook needs of a Runner."""
    if visualizer is None:
        visualizer = VISUALIZERS.build(
            {
                "type": "CellVisualizer",
                "name": f"hook-{uuid.uuid4()}",
                "vis_backends": [{"type": "LocalVisBackend"}, {"type": "TensorboardVisBackend"}],
                "save_dir": str(tmp_path / "log"),
            }
        )
        visualizer.dataset_meta = {"classes": ("nucleus",)}
    return SimpleNamespace(
        visualizer=visualizer,
        val_dataloader=range(num_batches),
        work_dir=str(tmp_path / "work"),
        timestamp="20260101_000000",
        _train_loop={},
    )


@pytest.mark.parametrize("channel_order", ["rgb", "bgr"])
def test_hook_when_testing_then_names_by_image_and_keeps_colors(tmp_path, channel_order) -> None:
    hook = HOOKS.build(
        {"type": "CellVisualizationHook", "draw": True, "test_out_dir": str(tmp_path / "show")}
    )
    runner = make_runner(tmp_path)
    for number, name in enumerate(("slide/a", "slide/b")):
        hook.after_test_iter(
            runner, number, None, [make_sample(tmp_path, number, name, channel_order)]
        )
    hook.after_test_epoch(runner, {})
    files = sorted((tmp_path / "show").iterdir())
    assert [file.name for file in files] == ["slide__a.png", "slide__b.png"]
    assert cv2.imread(str(files[0]))[-1, -1].tolist() == [0, 0, 200]  # red, in OpenCV's order
    assert not list((tmp_path / "log").rglob("*.png"))


def test_hook_when_test_folder_is_relative_then_lies_beside_the_log(tmp_path) -> None:
    hook = CellVisualizationHook(draw=True, test_out_dir="show")
    for number in range(3):  # mmdet's hook goes one folder deeper at every batch
        hook.after_test_iter(
            make_runner(tmp_path), number, None, [make_sample(tmp_path, number, f"s{number}")]
        )
    folder = tmp_path / "work" / "20260101_000000" / "show"
    assert len(list(folder.iterdir())) == 3


def test_hook_when_names_clash_then_both_images_are_written(tmp_path) -> None:
    hook = CellVisualizationHook(draw=True, test_out_dir=str(tmp_path / "show"))
    samples = [make_sample(tmp_path, 1, "a/b"), make_sample(tmp_path, 2, "a__b")]
    hook.after_test_iter(make_runner(tmp_path), 0, None, samples)
    assert {f.name for f in (tmp_path / "show").iterdir()} == {"a__b.png", "a__b__2.png"}


def test_hook_when_testing_without_folder_then_backends_get_the_images(tmp_path) -> None:
    hook = CellVisualizationHook(draw=True)
    hook.after_test_iter(make_runner(tmp_path), 0, None, [make_sample(tmp_path, 1, "deep/a")])
    (file,) = (tmp_path / "log").rglob("*.png")
    assert file.name == "test_deep__a_1.png"


def test_hook_when_validating_then_draws_the_same_few_images_at_each_interval(tmp_path) -> None:
    hook = CellVisualizationHook(draw=True, interval=2, num_images=3)
    runner = make_runner(tmp_path, num_batches=10)
    samples = [make_sample(tmp_path, k, f"s{k}") for k in range(10)]
    seen = []
    runner.visualizer.add_image = lambda name, image, step: seen.append(name)
    for _ in range(3):
        for batch, sample in enumerate(samples):
            hook.after_val_iter(runner, batch, None, [sample])
        hook.after_val_epoch(runner, {})
    assert seen == ["val_s0", "val_s3", "val_s6"] * 2


def test_hook_when_validating_then_image_reaches_tensorboard(tmp_path) -> None:
    hook = CellVisualizationHook(draw=True)
    runner = make_runner(tmp_path, num_batches=1)
    hook.after_val_iter(runner, 0, None, [make_sample(tmp_path, 1, "a")])
    runner.visualizer.close()
    (events,) = (tmp_path / "log").rglob("events.out.tfevents*")
    assert b"val_a" in events.read_bytes()


def test_hook_when_drawing_is_off_then_reads_nothing(tmp_path) -> None:
    hook = CellVisualizationHook()
    sample = DetDataSample(metainfo={"img_path": "absent.tif"})
    hook.after_val_iter(make_runner(tmp_path), 0, None, [sample])
    hook.after_test_iter(make_runner(tmp_path), 0, None, [sample])


def test_hook_when_the_visualizer_is_stock_then_error_names_ours(tmp_path) -> None:
    runner = make_runner(tmp_path, visualizer=DetLocalVisualizer())
    with pytest.raises(TypeError, match="CellVisualizer"):
        CellVisualizationHook(draw=True).after_val_iter(
            runner, 0, None, [make_sample(tmp_path, 1, "a")]
        )


@pytest.mark.parametrize("options", [{"interval": 0}, {"num_images": 0}])
def test_hook_when_options_are_zero_then_error_says_so(options) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        CellVisualizationHook(draw=True, **options)


@pytest.mark.parametrize(
    ("img_name", "expected"), [("a/b", "a__b"), ("", "slide"), (".", "slide"), ("a\\b", "a__b")]
)
def test_name_of_when_names_hold_slashes_then_is_a_file_name(img_name, expected) -> None:
    sample = DetDataSample(metainfo={"img_path": "x/slide/image.tif", "img_name": img_name})
    assert name_of(sample) == expected


def test_hook_when_tissue_is_real_then_is_pink_not_brown(tmp_path, real_data) -> None:
    path = real_data / "hw3" / "train" / "hw3_official_sample" / "image.tif"
    sample = DetDataSample(
        metainfo={
            "img_path": str(path),
            "img_id": 1,
            "img_name": "official",
            "image_format": {"channel_order": "bgr", "intensity_range": None},
            "instances": [],
        }
    )
    sample.pred_instances = InstanceData(
        bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0).long(), masks=[]
    )
    hook = CellVisualizationHook(draw=True, test_out_dir=str(tmp_path / "show"))
    hook.after_test_iter(make_runner(tmp_path), 0, None, [sample])
    blue, green, red = cv2.imread(str(tmp_path / "show" / "official.png"))[100:].mean(axis=(0, 1))
    assert blue > red > green  # as in this slide; with red and blue swapped it is brown
