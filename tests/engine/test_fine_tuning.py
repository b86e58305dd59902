"""The config that trains a model further on a folder."""

from pathlib import Path

import pytest

from cellseg.datasets.folder_facts import FACTS_NAME
from cellseg.engine.class_counts import check_class_counts
from cellseg.engine.configs import read_config
from cellseg.engine.fine_tuning import make_fine_tuning_config, plan_schedule
from cellseg.engine.model_record import ModelRecord
from cellseg.engine.record_hook import make_record
from cellseg.engine.run_config import load_config
from cellseg.errors import CellsegError

from .test_record_hook import write_disks

CONFIG = "mask-rcnn_lite0_small-anchor_nuclei-he"


@pytest.fixture(scope="module")
def record() -> ModelRecord:
    from dataclasses import replace

    made = make_record(read_config(CONFIG))
    assert made is not None
    return replace(made, diameters_px={"50": 30.0}, test_scale=1.6)


def test_config_when_made_of_model_and_folder_then_trains_its_classes_at_its_scale(
    record, tmp_path
):
    write_disks(tmp_path / "data", None, diameter=20)
    config = make_fine_tuning_config(
        record, Path("models/nuclei-he"), tmp_path / "data", ["round", "other"], steps=200
    )
    check_class_counts(config)
    assert config.model.roi_head.bbox_head.num_classes == 2
    assert config.model.roi_head.mask_head.num_classes == 2
    assert config.load_from == "models/nuclei-he"
    assert config.train_cfg.max_epochs == 4
    loader = config.train_dataloader
    assert loader.dataset.dataset.metainfo["classes"] == ("round", "other")
    assert loader.dataset.times == 200  # the one training image, 50 steps of four crops
    resize = config.test_dataloader.dataset.pipeline[1]
    assert resize.scale_factor == pytest.approx(1.5, rel=0.03)  # disks of 20 px look like 30 px
    splits = {config[f"{split}_dataloader"].dataset.get("split") for split in ("val", "test")}
    assert splits == {"val"}


@pytest.mark.parametrize(
    ("steps", "epochs", "times"), [(500, 10, 20), (80, 2, 16), (30, 1, 12), (1, 1, 1)]
)
def test_schedule_when_steps_are_few_then_no_more_are_trained(steps, epochs, times):
    plan = plan_schedule(10, steps)
    assert (plan.epochs, plan.times) == (epochs, times)


@pytest.mark.parametrize(("steps", "warm_up"), [(500, 50), (50, 5), (1, 1)])
def test_config_when_the_training_is_short_then_so_is_the_warm_up(record, tmp_path, steps, warm_up):
    write_disks(tmp_path, None)
    config = make_fine_tuning_config(record, Path("m"), tmp_path, steps=steps)
    assert config.param_scheduler[0].end == warm_up


def test_config_when_the_folder_has_parts_then_val_validates(record, tmp_path):
    for part in ("train", "val"):
        write_disks(tmp_path / part, 0.25)
    config = make_fine_tuning_config(record, Path("m"), tmp_path)
    assert config.val_dataloader.dataset.data_root == str(tmp_path / "val")
    assert config.val_dataloader.dataset.num_folds == 0
    assert config.train_dataloader.dataset.dataset.metainfo["classes"] == ("nucleus",)


def test_config_when_read_with_the_flags_of_training_then_options_apply(record, tmp_path):
    from argparse import Namespace

    write_disks(tmp_path, None)
    (tmp_path / FACTS_NAME).unlink()
    made = make_fine_tuning_config(record, Path("m"), tmp_path)
    options = ["train_cfg.max_epochs=1", "train_dataloader.batch_size=2"]
    args = Namespace(config=made, work_dir=None, cfg_options=options, launcher="none", local_rank=0)
    config = load_config(args)
    assert (config.train_cfg.max_epochs, config.train_dataloader.batch_size) == (1, 2)
    assert config.work_dir == made.work_dir
    assert config.train_dataloader.dataset.dataset.metainfo["classes"] == ("class1",)


def test_config_when_model_or_data_will_not_do_then_one_sentence(record, tmp_path):
    with pytest.raises(CellsegError, match="does not hold its network"):
        make_fine_tuning_config(ModelRecord(("a",)), Path("m"), tmp_path)
    write_disks(tmp_path, None)
    (tmp_path / "b" / "image.tif").unlink()
    (tmp_path / "b" / "class1.tif").unlink()
    with pytest.raises(CellsegError, match="has one image"):
        make_fine_tuning_config(record, Path("m"), tmp_path)
