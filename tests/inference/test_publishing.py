"""A checkpoint becomes a model folder that finds the same cells."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from cellseg import model_files
from cellseg.cli.main import main
from cellseg.datasets.synthetic import draw_cell_image
from cellseg.engine.configs import read_config
from cellseg.engine.model_record import RECORD_KEY
from cellseg.engine.model_weights import read_weights, write_weights
from cellseg.engine.record_hook import make_record
from cellseg.errors import CellsegError
from cellseg.images import open_image
from cellseg.inference import Predictor
from cellseg.inference.model_source import open_model
from cellseg.inference.publishing import ModelComparison, compare_models
from cellseg.model_files import CARD_NAME, FACTS_NAME, WEIGHTS_NAME, ModelFolderError

CONFIG = "mask-rcnn_lite0_small-anchor_nuclei-he"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """Return a checkpoint of the light model, as training saves it, with random weights."""
    torch.manual_seed(0)
    config = read_config(CONFIG)
    config.model.backbone.init_cfg = None
    config.model.test_cfg.rcnn.max_per_img = 20
    config.model.test_cfg.rpn.update(nms_pre=60, max_per_img=40)
    init_default_scope("mmdet")
    model = MODELS.build(config.model)
    model.init_weights()
    record = make_record(config)
    assert record is not None
    path = tmp_path_factory.mktemp("run") / "epoch_1.pth"
    meta = {"epoch": 1, "iter": 64, "seed": 3, "time": "20261129_152744"}
    meta[RECORD_KEY] = record.to_dict()
    torch.save({"state_dict": model.state_dict(), "meta": meta, "optimizer": {}}, path)
    return path


@pytest.fixture(scope="module")
def folder(checkpoint, tmp_path_factory) -> Path:
    """Publish it."""
    out = tmp_path_factory.mktemp("models") / "my-model"
    words = [
        "--out",
        str(out),
        "--license",
        "CC0-1.0",
        "--scores",
        "AJI=0.5",
        "--pixel-size",
        "0.5",
    ]
    assert main(["publish", str(checkpoint), *words]) == 0
    return out


def test_model_folder_when_published_then_is_small_and_its_card_says_what_is_known(folder):
    assert sorted(path.name for path in folder.iterdir()) == [CARD_NAME, FACTS_NAME, WEIGHTS_NAME]
    assert (folder / WEIGHTS_NAME).stat().st_size < 12_000_000
    card = (folder / CARD_NAME).read_text()
    for part in (
        "# my-model",
        "| Classes | nucleus |",
        "CC0-1.0",
        "| Seed | 3 |",
        "| AJI | 0.500 |",
    ):
        assert part in card
    assert "1 epochs, 64 steps" in card
    assert "| Date | 2026-11-29 |" in card
    facts = json.loads((folder / FACTS_NAME).read_text())
    assert facts["record"]["pixel_size_um"] == 0.5


def test_model_folder_when_predicted_with_then_the_cells_are_the_checkpoints(checkpoint, folder):
    image = draw_cell_image(np.random.default_rng(0), 128, 128, 12)[0]
    before, after = (Predictor(path, device="cpu", score_thr=0.0) for path in (checkpoint, folder))
    found = before(image), after(image)
    assert len(found[0]) > 0
    assert len(found[0]) == pytest.approx(len(found[1]), rel=0.1)
    assert after.class_names == ("nucleus",)
    assert after.model_name == "my-model"
    assert compare_models(before, before, [image]).is_same


def test_model_when_it_is_the_folder_of_a_training_then_is_its_last_checkpoint(checkpoint):
    (checkpoint.parent / "last_checkpoint").write_text(str(checkpoint))
    source = open_model(checkpoint.parent)
    assert source.path == checkpoint
    assert source.record is not None


def test_comparison_when_images_are_in_color_then_finds_what_their_files_show():
    path = Path(__file__).parents[2] / "data" / "examples" / "val" / "ae570a676961" / "image.tif"
    predictor = Predictor("nuclei-cc0", device="cpu")
    with open_image(path) as opened:
        image = opened.read(0, 0, opened.width, opened.height)
    compared = compare_models(predictor, predictor, [image])
    assert compared.num_before == compared.num_after == len(predictor(path))


def test_comparison_when_cells_are_lost_then_is_not_the_same():
    assert ModelComparison(1, 100, 100, 99, 0.01).is_same
    assert not ModelComparison(1, 100, 90, 90, 0.01).is_same
    assert not ModelComparison(1, 90, 100, 90, 0.01).is_same
    assert "No cell was found on 2 images" in ModelComparison(2).describe()


def test_model_when_named_then_comes_from_the_folders_and_says_its_license(
    folder, monkeypatch, listen
):
    monkeypatch.setattr(model_files, "list_model_folders", lambda: [folder.parent])
    monkeypatch.setattr(model_files, "DEFAULT_MODELS", ("gone", "my-model"))
    told = listen("cellseg.inference.model_source")
    for source in (open_model(), open_model("my-model")):
        assert source.path == folder
        assert source.digest() == json.loads((folder / FACTS_NAME).read_text())["weights"]["sha256"]
    assert len(told) == 2
    assert "my-model (nucleus; license: CC0-1.0)" in told[0]
    open_model(folder)
    assert len(told) == 2
    with pytest.raises(CellsegError, match="the nearest are my-model"):
        open_model("my-modle")


def test_model_folder_when_damaged_or_foreign_then_one_sentence(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    facts = json.loads((tmp_path / FACTS_NAME).read_text())
    facts["record"]["network"]["type"] = "os.system"
    (tmp_path / FACTS_NAME).write_text(json.dumps(facts))
    with pytest.raises(ModelFolderError, match="os.system"):
        open_model(tmp_path)
    (tmp_path / FACTS_NAME).write_bytes((folder / FACTS_NAME).read_bytes())
    weights = bytearray((tmp_path / WEIGHTS_NAME).read_bytes())
    weights[-1] ^= 1
    (tmp_path / WEIGHTS_NAME).write_bytes(weights)
    with pytest.raises(ModelFolderError, match="checksum"):
        open_model(tmp_path)


def test_model_folder_when_weights_are_not_finite_then_refused_whatever_the_checksum(
    folder, tmp_path
):
    weights = read_weights(folder / WEIGHTS_NAME)
    name = next(name for name, value in weights.items() if value.ndim > 1)
    weights[name][0] = float("nan")
    facts = json.loads((folder / FACTS_NAME).read_text())
    facts["weights"]["sha256"] = write_weights(tmp_path / WEIGHTS_NAME, weights)[0]
    (tmp_path / FACTS_NAME).write_text(json.dumps(facts))
    with pytest.raises(CellsegError, match=f"{tmp_path} holds NaN .*{name}"):
        open_model(tmp_path)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("data_preprocessor", "std", [1.0, 2.0]),
        ("neck", "in_channels", {}),
        ("neck", "out_channels", -1),
        ("neck", "type", "Conv2d"),
    ],
)
def test_model_folder_when_its_network_cannot_be_built_then_one_sentence(
    folder, tmp_path, part, key, value
):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    facts = json.loads((folder / FACTS_NAME).read_text())
    facts["record"]["network"][part][key] = value
    (tmp_path / FACTS_NAME).write_text(json.dumps(facts))
    with pytest.raises(CellsegError, match=f"{tmp_path} cannot be built from the settings"):
        Predictor(tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("head", "key"), [("bbox_head", "in_channels"), ("mask_head", "conv_out_channels")]
)
def test_model_folder_when_its_network_is_larger_than_its_weights_then_refused_unbuilt(
    folder, tmp_path, monkeypatch, head, key
):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    facts = json.loads((folder / FACTS_NAME).read_text())
    facts["record"]["network"]["roi_head"][head][key] = 1_000_000  # terabytes
    (tmp_path / FACTS_NAME).write_text(json.dumps(facts))
    monkeypatch.setattr("cellseg.inference.predictor.build_detector", None)
    with pytest.raises(CellsegError, match=f"{tmp_path} does not fit"):
        Predictor(tmp_path, device="cpu")


def test_checkpoint_when_it_has_no_record_then_asks_for_the_config(tmp_path):
    torch.save({"state_dict": {}, "meta": {}}, tmp_path / "old.pth")
    with pytest.raises(CellsegError, match="--config"):
        open_model(tmp_path / "old.pth")
    with pytest.raises(CellsegError, match="does not exist"):
        open_model(tmp_path / "gone.pth")
