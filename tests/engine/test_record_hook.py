"""The record that training makes of a config and its data."""

from pathlib import Path

import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

from cellseg.datasets.folder_facts import FolderFacts, write_folder_facts
from cellseg.datasets.synthetic import write_sample
from cellseg.engine.configs import read_config
from cellseg.engine.model_record import RECORD_KEY, read_record
from cellseg.engine.record_hook import ModelRecordHook, make_record

CONFIG = "mask-rcnn_lite0_small-anchor_nuclei-he"


def write_disks(root: Path, pixel_size_um: float | None, diameter: int = 20) -> None:
    """Write two images of four disks each."""
    rows, columns = np.mgrid[:100, :100]
    layer = np.zeros((100, 100), np.int32)
    for number, (y, x) in enumerate([(25, 25), (25, 75), (75, 25), (75, 75)], start=1):
        layer[(rows - y) ** 2 + (columns - x) ** 2 < (diameter / 2) ** 2] = number
    image = np.full((100, 100, 3), 200, np.uint8)
    for name in ("a", "b"):
        write_sample(root / name, image, {1: layer})
    write_folder_facts(root, FolderFacts(("nucleus",), "rgb", pixel_size_um))


@pytest.fixture
def config(tmp_path):
    """Return the light recipe on two small folders."""
    write_disks(tmp_path / "one", 0.25)
    write_disks(tmp_path / "two", None)
    cfg = read_config(CONFIG)
    first, second = cfg.train_dataloader.dataset.datasets
    first.dataset.update(data_root=str(tmp_path / "one"), num_folds=0)
    second.update(data_root=str(tmp_path / "two"))
    return cfg


def build(settings: ConfigDict):
    init_default_scope("mmdet")
    return DATASETS.build(settings)


def test_record_when_made_of_config_and_data_then_holds_scale_and_diameters(config):
    record = make_record(config, build(config.train_dataloader.dataset))
    assert record is not None
    assert record.classes == ("nucleus",)
    assert record.channel_order == "rgb"
    assert record.pixel_size_um == 0.25
    assert record.test_scale == 1.6
    # Crops of 100 px are enlarged to 512 times 0.625 to 1.25.
    assert record.train_scale == pytest.approx((3.2, 6.4))
    assert record.median_diameter_px == pytest.approx(20 * 1.6, rel=0.03)
    assert (record.num_images, record.num_cells) == (4, 16)
    assert record.brightness == 200
    assert record.normalization["mean"] == [127.0] * 3
    assert record.network["type"] == "MaskRCNN"
    assert "init_cfg" not in record.network["backbone"]
    assert [step["type"] for step in record.pipeline] == [
        "LoadCellImage",
        "Resize",
        "PackDetInputs",
    ]


def test_record_without_data_when_made_then_says_what_is_unknown(config):
    record = make_record(config)
    assert record is not None
    assert record.test_scale is None
    assert len(record.list_unknown()) == 3


def test_hook_when_a_checkpoint_is_saved_then_it_holds_the_record(config):
    class Runner:
        cfg = config

        class train_dataloader:  # noqa: N801
            dataset = build(config.train_dataloader.dataset)

    hook, checkpoint = ModelRecordHook(), {"meta": {"epoch": 1}}
    hook.before_train(Runner)
    hook.before_save_checkpoint(Runner, checkpoint)
    assert checkpoint["meta"]["epoch"] == 1
    assert read_record(checkpoint["meta"][RECORD_KEY]) == make_record(
        config, Runner.train_dataloader.dataset
    )
