"""A model folder's settings describe a network and can do nothing else."""

import copy
import json
from dataclasses import replace

import pytest
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from cellseg.config_files import list_configs
from cellseg.engine.configs import find_test_dataset, read_class_names, read_config
from cellseg.engine.model_record import ModelRecord, RecordError, read_record
from cellseg.engine.plain_network import make_config
from cellseg.engine.record_hook import make_record

LIGHT = "mask-rcnn_lite0_small-anchor_nuclei-he"


@pytest.fixture(scope="module")
def record() -> ModelRecord:
    """Return the light recipe's record, as it comes out of a file."""
    made = make_record(read_config(LIGHT))
    assert made is not None
    return read_record(json.loads(json.dumps(made.to_dict())))


@pytest.mark.parametrize("name", sorted(list_configs()))
def test_config_when_shipped_then_its_record_is_plain_and_allowed(name):
    made = make_record(read_config(name))
    assert made is not None
    config = make_config(read_record(made.to_dict()), name)
    assert read_class_names(find_test_dataset(config)) == made.classes
    assert config.filename == name


def test_network_when_built_of_plain_data_then_has_the_configs_weights(record):
    init_default_scope("mmdet")
    ours = MODELS.build(make_config(record, "x").model).state_dict()
    theirs = MODELS.build(read_config(LIGHT).model).state_dict()
    assert {name: value.shape for name, value in ours.items()} == {
        name: value.shape for name, value in theirs.items()
    }


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("type", "os.system"),
        ("type", "mmengine.fileio.load"),
        ("type", "mmdet.MaskRCNN"),
        ("type", ["MaskRCNN"]),
        ("type", "BertModel"),
        ("type", "CellDataset"),
        ("backbone.init_cfg", {"type": "Pretrained", "checkpoint": "http://x/y.pth"}),
        ("backbone.pretrained", "torchvision"),
        ("backbone.arch", "../../etc/passwd"),
        ("backbone.arch", "http://x/y"),
        ("backbone.arch", "weights.pkl"),
        ("backbone.arch", "WEIGHTS.PTH"),
        ("test_cfg.rcnn.nms.type", "__import__('os').system('x')"),
        ("test_cfg.rcnn.nms.type", "print"),
        ("rpn_head.feat_channels", 10**9),
        ("rpn_head.num_convs", 10**5),
        ("data_preprocessor.pad_size_divisor", 10**6),
        ("test_cfg.rpn.nms_pre", 10**6),
        ("test_cfg.rpn.nms_pre", -1),
        ("test_cfg.rpn.max_per_img", 10**6),
        ("test_cfg.rcnn.max_per_img", 10**9),
        ("test_cfg.rcnn.max_per_img", -1),
        ("roi_head.mask_roi_extractor.roi_layer.output_size", 1000),
        ("roi_head.mask_roi_extractor.roi_layer.sampling_ratio", 1000),
        ("roi_head.bbox_roi_extractor.featmap_strides", [4, 8, 16, 0.001]),
        ("roi_head.mask_head.upsample_cfg", {"type": "bilinear", "scale_factor": 1000}),
        ("neck.num_outs", float("nan")),
        ("custom_imports", {"imports": ["os"]}),
        ("backbone._delete_", True),
    ],
)
def test_setting_when_it_could_do_more_then_is_refused(record, path, value):
    network = copy.deepcopy(record.network)
    *parents, key = path.split(".")
    part = network
    for parent in parents:
        part = part[parent]
    part[key] = value
    with pytest.raises(RecordError, match="not allowed|too large|too small"):
        make_config(replace(record, network=network), "x")


@pytest.mark.parametrize(
    "step",
    [
        {"type": "LoadImageFromFile"},
        {"type": "mmcv.transforms.LoadImageFromFile"},
        {"type": "Compose", "transforms": []},
        {"type": "Resize", "scale": [9, 9], "backend": "/tmp/x"},
        {},
    ],
)
def test_pipeline_when_a_step_is_another_then_is_refused(record, step):
    with pytest.raises(RecordError, match="not allowed"):
        make_config(replace(record, pipeline=(step, *record.pipeline)), "x")


@pytest.mark.parametrize(
    "step",
    [
        {"type": "Resize", "scale_factor": 1e6, "keep_ratio": True},
        {"type": "Resize", "scale": [10**6, 10**6], "keep_ratio": True},
        {"type": "LimitedResize", "scale": [512, 512], "factor_range": [1.0, 1000.0]},
        {"type": "LimitedResize", "scale": [512, 512], "ratio_range": [1000.0, 1000.0]},
        {"type": "Pad", "size": [10**6, 10**6]},
        {"type": "Pad", "size_divisor": 10**6},
    ],
)
def test_pipeline_when_a_step_would_take_absurd_memory_then_is_refused(record, step):
    with pytest.raises(RecordError, match="too large"):
        make_config(replace(record, pipeline=(step, *record.pipeline)), "x")


@pytest.mark.parametrize("name", ["nms_pre", "max_per_img"])
def test_network_when_nothing_bounds_its_proposals_then_is_refused(record, name):
    network = copy.deepcopy(record.network)
    del network["test_cfg"]["rpn"][name]
    with pytest.raises(RecordError, match=f"lack test_cfg.rpn.{name}"):
        make_config(replace(record, network=network), "x")


def test_network_when_missing_or_without_end_then_is_refused(record):
    with pytest.raises(RecordError, match="does not hold the network"):
        make_config(replace(record, network={}), "x")
    nested: dict = {}
    for _ in range(50):
        nested = {"a": nested}
    with pytest.raises(RecordError, match="nested too deeply"):
        make_config(replace(record, network=nested), "x")
