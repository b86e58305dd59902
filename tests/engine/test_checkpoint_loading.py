"""Whatever way a checkpoint comes in, it is read as data or refused in one sentence."""

import hashlib
import pickle
import tarfile
import urllib.error
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmengine.logging.history_buffer as poisonable
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.model import initialize
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmengine.runner.checkpoint import _safe_torch_load

from cellseg.engine import CheckpointError, load_checkpoint_file
from cellseg.engine.checkpoint_loading import cached_path
from tests.engine.toy_training import ToyModel, build_runner, read_weights

URL = "https://example.org/models/toy.pth"


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an own, empty torch hub cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def load_from(path: str, work_dir: Path) -> ToyModel:
    """Load as load_from and the test tool's argument do."""
    runner = build_runner(work_dir, load_from=path)
    runner.load_or_resume()
    return runner.model


def resume(path: str, work_dir: Path) -> ToyModel:
    runner = build_runner(work_dir, load_from=path, epochs=1)
    runner._resume = True
    return runner.train()


def init_cfg(path: str, work_dir: Path) -> ToyModel:
    model = ToyModel()
    model.init_cfg = dict(type="Pretrained", checkpoint=path)
    model.init_weights()
    return model


def init_cfg_with_prefix(path: str, work_dir: Path) -> torch.nn.Module:
    model = ToyModel()
    model.line.init_cfg = dict(type="Pretrained", checkpoint=path, prefix="line.")
    initialize(model.line, model.line.init_cfg)
    return model


def by_api(path: str, work_dir: Path) -> ToyModel:
    """Load as mmdet's own apis do."""
    model = ToyModel()
    load_checkpoint(model, path, map_location="cpu")
    return model


WAYS = [load_from, resume, init_cfg, init_cfg_with_prefix, by_api]


@pytest.mark.parametrize("way", WAYS)
def test_load_when_file_is_good_then_weights_arrive(
    way: Any, tmp_path: Path, good_checkpoint: dict[str, Any]
) -> None:
    torch.save(good_checkpoint, tmp_path / "good.pth")
    model = way(str(tmp_path / "good.pth"), tmp_path / "work")
    assert read_weights(model) == [3.0, 1.0]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", ["path", "cached URL"])
@pytest.mark.parametrize("kind", ["reduce", "legacy pickle", "getattr chain"])
def test_load_when_file_holds_code_then_refused_and_nothing_runs(
    way: Any,
    place: str,
    kind: str,
    make_hostile: Callable[[str], Path],
    hub_cache: Path,
    tmp_path: Path,
) -> None:
    path = make_hostile(kind)
    source = str(path)
    if place == "cached URL":
        path = path.rename(hub_cache / "toy.pth")
        source = URL
    with pytest.raises(CheckpointError, match=path.name):
        way(source, tmp_path / "work")
    assert not hasattr(poisonable, "POISONED")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["meta config", "meta cfg"])
def test_load_when_config_text_is_code_then_weights_arrive_and_nothing_runs(
    way: Any, kind: str, make_hostile: Callable[[str], Path], tmp_path: Path
) -> None:
    assert read_weights(way(str(make_hostile(kind)), tmp_path / "work")) == [3.0, 1.0]


def test_stock_loader_when_hostile_file_then_code_runs(
    make_hostile: Callable[[str], Path], trace: Path
) -> None:
    _safe_torch_load(make_hostile("getattr chain"))
    assert poisonable.__dict__.pop("POISONED") == "by a checkpoint"
    _safe_torch_load(make_hostile("reduce"))
    trace.unlink()


def test_stock_resume_when_config_text_is_code_then_it_runs(
    make_hostile: Callable[[str], Path],
    trace: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setitem(CheckpointLoader._schemes, "", lambda path, device: _safe_torch_load(path))
    resume(str(make_hostile("meta config")), tmp_path / "work")
    trace.unlink()


def test_load_when_others_allow_globals_then_they_do_not_count(
    make_hostile: Callable[[str], Path],
) -> None:
    path = make_hostile("getattr chain")
    with torch.serialization.safe_globals([getattr, HistoryBuffer]):
        with pytest.raises(CheckpointError):
            load_checkpoint_file(path)
        assert getattr in torch.serialization.get_safe_globals()
    assert not hasattr(poisonable, "POISONED")


def test_config_text_when_loaded_then_no_key_that_is_executed_holds_it(
    tmp_path: Path, good_checkpoint: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    good_checkpoint["meta"].update(config="raise SystemExit", cfg="raise SystemExit")
    good_checkpoint["message_hub"]["runtime_info"]["cfg"] = "raise SystemExit"
    good_checkpoint["message_hub"]["resumed_keys"]["cfg"] = True
    torch.save(good_checkpoint, tmp_path / "a.pth")
    loaded = load_checkpoint_file(tmp_path / "a.pth")
    assert loaded["meta"] == {"epoch": 1, "iter": 2, "seed": 0, "cfg_text": "raise SystemExit"}
    assert "cfg" not in loaded["message_hub"]["runtime_info"]
    assert "cfg" not in loaded["message_hub"]["resumed_keys"]


def test_resume_when_checkpoint_holds_config_then_it_is_not_parsed(
    tmp_path: Path, good_checkpoint: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    good_checkpoint["meta"]["config"] = "a = 1"
    torch.save(good_checkpoint, tmp_path / "a.pth")
    parsed = []
    monkeypatch.setattr(Config, "fromstring", lambda *args, **kwargs: parsed.append(args))
    resume(str(tmp_path / "a.pth"), tmp_path / "work")
    assert parsed == []


def damage(kind: str, path: Path) -> None:
    """Write a file that is no whole checkpoint."""
    content = path.read_bytes()
    damaged = {
        "empty": b"",
        "text": b"<html>404 not found</html>\n" * 20,
        "half": content[: len(content) // 2],
        "no end": content[:-30],
        "random": bytes(range(256)) * 8,
    }
    if kind == "legacy zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model.pth", content)
    elif kind == "legacy tar":
        with tarfile.open(path, "w") as archive:
            archive.add(__file__, "storages")
    elif kind == "list":
        torch.save([torch.ones(1)], path)
    elif kind == "meta is text":
        torch.save({"state_dict": {}, "meta": "epoch 1"}, path)
    else:
        path.write_bytes(damaged[kind])


@pytest.mark.parametrize(
    "kind",
    ["empty", "text", "half", "no end", "random", "legacy zip", "legacy tar", "list"]
    + ["meta is text"],
)
def test_load_when_file_is_no_checkpoint_then_one_sentence_names_it(
    kind: str, tmp_path: Path, good_checkpoint: dict[str, Any]
) -> None:
    path = tmp_path / "damaged.pth"
    torch.save(good_checkpoint, path)
    damage(kind, path)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint_file(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert "weights_only" not in str(error.value)


def test_load_when_file_is_missing_then_error_names_it(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere.pth does not exist"):
        load_checkpoint_file(tmp_path / "nowhere.pth")


def test_schemes_when_package_is_imported_then_all_are_ours() -> None:
    for prefix, loader in CheckpointLoader._schemes.items():
        assert loader.__module__ == "cellseg.engine.checkpoint_loading", prefix


@pytest.mark.parametrize("prefix", ["s3://", "petrel://", "cluster:s3://", "pavi://"])
def test_load_when_storage_service_then_refused(prefix: str) -> None:
    with pytest.raises(CheckpointError, match="give its local path"):
        CheckpointLoader.load_checkpoint(f"{prefix}bucket/a.pth")


@pytest.mark.parametrize(
    ("name", "file_name"),
    [
        ("torchvision://resnet101", "resnet101-63fe2227.pth"),
        ("modelzoo://resnet18", "resnet18-f37072fd.pth"),
        ("open-mmlab://detectron2/resnet50_caffe", "resnet50_msra-5891d200.pth"),
        ("mmcls://vgg11", "vgg11_batch256_imagenet_20210208-4271cd6c.pth"),
    ],
)
def test_load_when_model_zoo_name_then_its_url_is_loaded(
    name: str, file_name: str, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {"state_dict": {"backbone.w": torch.ones(1)}}
    monkeypatch.setattr("cellseg.engine.checkpoint_loading._check_hash", lambda path: None)
    torch.save(weights, hub_cache / file_name)
    loaded = CheckpointLoader.load_checkpoint(name, map_location="cpu")
    expected = "w" if name.startswith("mmcls") else "backbone.w"
    assert list(loaded["state_dict"]) == [expected]


def test_load_when_model_zoo_name_is_unknown_then_error_says_so() -> None:
    with pytest.raises(CheckpointError, match="not in the model zoo's list"):
        CheckpointLoader.load_checkpoint("torchvision://resnet1001")


def test_url_when_no_network_then_error_names_url_cache_and_config_line(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*args: Any, **kwargs: Any) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("torch.hub.urlopen", no_network)
    with pytest.raises(CheckpointError) as error:
        CheckpointLoader.load_checkpoint(URL)
    for part in (URL, str(hub_cache / "toy.pth"), "init_cfg=None", "not known"):
        assert part in str(error.value)
    assert list(hub_cache.iterdir()) == []


def test_url_when_first_loaded_then_downloaded_once_to_cache(
    hub_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "remote.pth")
    fetched = []

    def download(url: str, target: str, **kwargs: Any) -> None:
        fetched.append(url)
        Path(target).write_bytes((tmp_path / "remote.pth").read_bytes())

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in range(2):
        assert CheckpointLoader.load_checkpoint(URL)["w"].tolist() == [1.0, 1.0]
    assert fetched == [URL]
    assert cached_path(URL) == hub_cache / "toy.pth"


@pytest.mark.parametrize("stem", ["resnet-{}", "mask_rcnn_20200205-{}"])
def test_url_when_hash_in_name_then_it_is_checked(stem: str, hub_cache: Path) -> None:
    torch.save({"w": torch.ones(2)}, hub_cache / "content")
    content = (hub_cache / "content").read_bytes()
    right = stem.format(hashlib.sha256(content).hexdigest()[:8]) + ".pth"
    wrong = stem.format("0123abcd") + ".pth"
    for name in (right, wrong):
        (hub_cache / name).write_bytes(content)
    assert "w" in CheckpointLoader.load_checkpoint(f"https://example.org/{right}")
    with pytest.raises(CheckpointError, match="does not match the hash"):
        CheckpointLoader.load_checkpoint(f"https://example.org/{wrong}")


def test_url_when_name_ends_in_a_date_then_no_hash_is_seen(hub_cache: Path) -> None:
    torch.save({"w": torch.ones(2)}, hub_cache / "toy-20200205.pth")
    assert "w" in CheckpointLoader.load_checkpoint("https://example.org/toy-20200205.pth")


def test_resume_when_file_holds_weights_only_then_error_says_load_from(tmp_path: Path) -> None:
    torch.save(ToyModel().state_dict(), tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="load_from instead of --resume"):
        resume(str(tmp_path / "weights.pth"), tmp_path / "work")


def test_load_when_old_format_then_weights_arrive(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert load_checkpoint_file(tmp_path / "a.pth")["w"].tolist() == [1.0, 1.0]


def test_refusal_when_code_is_named_then_sentence_says_which(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "extra": pickle.Pickler}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="holds _?pickle.Pickler, which is neither"):
        load_checkpoint_file(tmp_path / "a.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_load_when_a_weight_is_not_finite_then_the_file_is_refused(
    tmp_path: Path, good_checkpoint: dict[str, Any], value: float
) -> None:
    good_checkpoint["state_dict"]["line.bias"] = torch.tensor([value])
    torch.save(good_checkpoint, tmp_path / "diverged.pth")
    with pytest.raises(
        CheckpointError, match=r"diverged\.pth holds NaN.* in 1 of its 2 .*line\.bias"
    ):
        load_checkpoint_file(tmp_path / "diverged.pth")


@pytest.mark.parametrize("name", ["no_such_package_of_weights", "../secret", "json"])
def test_weights_of_a_package_that_is_not_there_are_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match="not installed|holds 0"):
        CheckpointLoader.load_checkpoint(f"package://{name}")


def test_a_package_with_two_weight_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "two_files_of_weights"
    folder.mkdir()
    (folder / "__init__.py").touch()
    for name in ("a.pth", "b.pth"):
        torch.save({"weight": torch.zeros(1)}, folder / name)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(CheckpointError, match="holds 2"):
        CheckpointLoader.load_checkpoint("package://two_files_of_weights")


class Bomb:
    """Pickle as a call of bytearray with a size that no machine has."""

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return bytearray, (1 << 50,)


@pytest.mark.parametrize(
    ("weight", "problem"),
    [
        ("text", "w is a str"),
        (None, "w is a NoneType"),
        ([1.0], "w is a list"),
        (torch.zeros(3).to_sparse(), "sparse, nested, quantized or empty"),
        (torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "sparse, nested, quantized"),
        (
            torch.zeros(3, device="meta"),
            "sparse, nested, quantized or empty|could run code|cannot be read",
        ),
        (torch.zeros(1).expand(1 << 40), "not all there"),
        (Bomb(), "asks for more memory|could run code"),
    ],
)
def test_load_when_a_weight_is_none_then_refused_in_a_sentence(
    tmp_path: Path, weight: object, problem: str
) -> None:
    path = tmp_path / "odd.pth"
    torch.save({"state_dict": {"w": weight}, "meta": {}}, path)
    with pytest.raises(CheckpointError, match=problem) as refused:
        load_checkpoint_file(path)
    assert str(path) in str(refused.value)


def test_load_when_torch_repeats_a_long_text_then_the_sentence_stays_short(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"state_dict": {}}, path)
    changed = tmp_path / "b.pth"
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(changed, "w") as after:
        for name in before.namelist():
            is_order = name.endswith("byteorder")
            after.writestr(name, b"x" * 5000 if is_order else before.read(name))
    with pytest.raises(CheckpointError, match=r"b\.pth") as refused:
        load_checkpoint_file(changed)
    assert len(str(refused.value)) < 500


def test_load_when_the_archive_is_packed_then_refused_unread(tmp_path: Path) -> None:
    path, packed = tmp_path / "plain.pth", tmp_path / "packed.pth"
    torch.save({"state_dict": {"w": torch.zeros(100_000)}, "meta": {}}, path)
    load_checkpoint_file(path)
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in before.namelist():
            new.writestr(entry, before.read(entry))
    with pytest.raises(CheckpointError, match=r"packed\.pth .* unpacked it would be larger"):
        load_checkpoint_file(packed)
