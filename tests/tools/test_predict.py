import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tifffile
import torch

from cellseg.cli.predict import add_tool_arguments
from cellseg.cli.running import build_parser
from cellseg.cli.tasks import predict
from cellseg.errors import CellsegError

from ..inference.oracle import draw_label_map, oracle_config, paint_label_map

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "predict.py"
CONFIG = "mask-rcnn_r18_small-anchor"


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    """A config and checkpoint of the oracle, small images, and a large tiled one."""
    folder = tmp_path_factory.mktemp("predict")
    cfg = oracle_config()
    cfg.custom_imports = dict(imports=["oracle"], allow_failed_imports=False)
    cfg.dump(folder / "config.py")
    torch.save({"state_dict": {}, "meta": {}}, folder / "weights.pth")
    (folder / "images").mkdir()
    for seed, size in enumerate((180, 240, 300, 150)):
        image = paint_label_map(draw_label_map(size, seed=seed))
        tifffile.imwrite(folder / "images" / f"small{seed}.tif", image, photometric="rgb")
    slide = paint_label_map(draw_label_map(1300, seed=9))
    tifffile.imwrite(folder / "images" / "slide.tif", slide, photometric="rgb", tile=(256, 256))
    return folder


def execute(*words, paths=(ROOT, ROOT / "tests" / "inference")):
    """Run Python with these words, and modules from these folders."""
    search = os.pathsep.join(map(str, paths))
    return subprocess.run(
        [sys.executable, *map(str, words)],
        env={**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def run(setting, out, *flags):
    config, weights = setting / "config.py", setting / "weights.pth"
    return execute(TOOL, config, weights, *flags, "--out", out, "--device", "cpu")


@pytest.mark.slow
def test_predict_of_good_and_bad_files_resumes_and_says_so(setting, tmp_path):
    bad = tmp_path / "bad.tif"
    bad.write_bytes(b"II*\0")
    flags = (setting / "images" / "small0.tif", bad, "--format", "labels", "csv")
    first = run(setting, tmp_path / "out", *flags)
    assert first.returncode == 1, first.stderr
    assert "1 image predicted, 0 finished before, 1 failed." in first.stdout
    assert f"failed: {bad}" in first.stdout
    assert "cells/s" in first.stdout
    assert "found so far" not in first.stderr  # the progress bar is for terminals
    assert "Traceback" not in first.stderr
    assert (tmp_path / "out" / "small0.labels.tif").is_file()
    bad.unlink()
    tifffile.imwrite(bad, paint_label_map(draw_label_map(100)), photometric="rgb")
    second = run(setting, tmp_path / "out", *flags)
    assert second.returncode == 0, second.stderr
    assert "1 image predicted, 1 finished before, 0 failed." in second.stdout


def test_predict_under_torchrun_names_the_new_way(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(CellsegError, match=r"no longer shared out by torchrun; .*--dask local:4"):
        predict.refuse_launcher()


def test_predict_of_a_url_without_workers_says_how():
    words = ["c.py", "w.pth", "https://127.0.0.1/a.tif"]
    args = build_parser("", add_tool_arguments).parse_args(words)
    with pytest.raises(CellsegError, match="is a URL; give --dask local:1"):
        predict.find_images(args)


@pytest.mark.slow
def test_predict_without_dask_never_imports_it(setting, tmp_path):
    script = (
        "import sys\nfrom cellseg.cli.main import main\n"
        "status = main(sys.argv[1:])\n"
        "assert 'dask' not in sys.modules and 'distributed' not in sys.modules\n"
        "sys.exit(status)"
    )
    image = setting / "images" / "small3.tif"
    words = ["--config", setting / "config.py", "--checkpoint", setting / "weights.pth"]
    words += ["--out", tmp_path / "out", "--device", "cpu"]
    result = execute("-c", script, "predict", image, *words)
    assert result.returncode == 0, result.stderr


def test_predict_without_a_checkpoint_file_is_one_sentence(setting, tmp_path):
    images = setting / "images"
    result = execute(TOOL, setting / "config.py", "gone.pth", images, "--out", tmp_path / "out")
    assert result.returncode == 1
    assert "error: The checkpoint gone.pth does not exist" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tta-scales", "0.8", "1"], "--tta-scales needs --tta; give --tta"),
        (["--tta", "--tta-scales", "0"], "Each of --tta-scales must be more than 0, not 0.0"),
        (["--device", "foo"], "The device foo cannot be used"),
        (["--tile", "100", "--overlap", "200"], "128 px with 200 px overlap cannot advance"),
        (["--out", "FILE"], "FILE is a file; give another folder"),
    ],
)
def test_flags_that_make_no_sense_are_refused_before_predicting(
    setting, tmp_path, monkeypatch, flags, message
):
    monkeypatch.setattr(predict.PredictionJob, "run", lambda *arguments: pytest.fail("it ran"))
    monkeypatch.setattr(predict, "set_thread_counts", lambda *launcher: 1)
    monkeypatch.syspath_prepend(ROOT / "tests" / "inference")
    monkeypatch.chdir(tmp_path)
    Path("FILE").touch()
    config, weights, images = (setting / name for name in ("config.py", "weights.pth", "images"))
    words = [config, weights, images, "--out", "out", "--device", "cpu", *flags]
    args = build_parser("", add_tool_arguments).parse_args([str(word) for word in words])
    with pytest.raises(CellsegError, match=message):
        predict.run(args)


@pytest.mark.slow
def test_predict_with_an_ensemble_of_equal_models_finds_the_same_cells(setting, tmp_path):
    image = setting / "images" / "small0.tif"
    alone = run(setting, tmp_path / "alone", image, "--format", "coco")
    assert alone.returncode == 0, alone.stderr
    weights = setting / "weights.pth"
    members = [weights, f"{setting / 'config.py'}:{weights}"]
    merged = run(setting, tmp_path / "merged", image, "--format", "coco", "--ensemble", *members)
    assert merged.returncode == 0, merged.stderr
    one, two = (
        json.loads((tmp_path / name / "small0.coco.json").read_text())
        for name in ("alone", "merged")
    )
    assert len(one) > 0
    assert [cell["segmentation"] for cell in one] == [cell["segmentation"] for cell in two]


def test_predict_to_parquet_without_its_extra_says_so_before_predicting(setting, tmp_path):
    (tmp_path / "pyarrow.py").write_text("raise ImportError")
    words = [CONFIG, "w.pth", "images", "--out", tmp_path / "out", "--format", "parquet"]
    result = execute(TOOL, *words, paths=(tmp_path, ROOT))
    assert result.returncode == 1
    assert "error: Parquet needs the extra parquet" in result.stderr
    assert "Traceback" not in result.stderr
