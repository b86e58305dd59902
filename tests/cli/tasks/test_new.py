"""From images with labels to a first own model, by the five commands."""

import json

import numpy as np
import pytest
import tifffile

from cellseg.cli.main import main
from cellseg.cli.new import add_arguments, check
from cellseg.cli.running import build_parser
from cellseg.engine.configs import read_config
from cellseg.errors import CellsegError
from cellseg.images import read_label_map

from ...engine.test_record_hook import write_disks
from ...inference.test_publishing import checkpoint, folder  # noqa: F401


def write_pairs(root, names=("a", "b", "c")):
    """Write images and label maps of the same names into two folders."""
    write_disks(root / "drawn", None)
    for name in names:
        for kind, file in (("images", "image.tif"), ("labels", "class1.tif")):
            (root / kind).mkdir(parents=True, exist_ok=True)
            content = (root / "drawn" / "a" / file).read_bytes()
            (root / kind / f"{name}.tif").write_bytes(content)
    return ["--images", str(root / "images"), "--labels", str(root / "labels")]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "Give the images by --images"),
        (["--images", "i", "--data", "d"], "Give the images by --images"),
        (["--data", "d", "--labels", "l"], "leave out --labels"),
        (["--images", "i", "--val-labels", "l"], "needs --val-images"),
        (["--images", "i", "--labels", "l", "--val-images", "v"], "needs --val-labels"),
        (["--images", "i", "--steps", "0"], "at least 1"),
    ],
)
def test_new_when_flags_contradict_then_one_sentence(words, reason):
    with pytest.raises(CellsegError, match=reason):
        check(build_parser("", add_arguments).parse_args(["p", *words]))


def test_new_when_images_have_labels_then_makes_data_and_a_short_config(
    folder,  # noqa: F811
    tmp_path,
    monkeypatch,
    capsys,
):
    words = write_pairs(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = ["new", "mine", *words, "--classes", "nucleus", "--from", str(folder)]
    assert main(words) == 0
    facts = json.loads((tmp_path / "mine/data/dataset.json").read_text())
    assert facts["classes"] == ["nucleus"]
    assert read_label_map(tmp_path / "mine/data/a/class1.tif").max() == 4
    text = (tmp_path / "mine/config.py").read_text()
    assert len(text.splitlines()) < 30
    assert text.count("nucleus") == 1  # in a comment
    config = read_config(tmp_path / "mine")
    assert config.val_dataloader.dataset.num_folds == 3
    assert config.work_dir == str(tmp_path / "mine/run")
    assert "cellseg train mine" in capsys.readouterr().out
    (tmp_path / "mine/config.py").write_text(text + "# my own line\n")
    np.save(tmp_path / "unused.npy", np.zeros(1))
    write_pairs(tmp_path, ("a", "b", "c", "d"))
    assert main(words) == 0
    assert "stays as it is" in capsys.readouterr().out
    assert (tmp_path / "mine/config.py").read_text().endswith("# my own line\n")
    assert (tmp_path / "mine/data/d/image.tif").is_file()


def test_new_when_masks_are_black_and_white_then_each_piece_can_be_a_cell(
    folder,  # noqa: F811
    tmp_path,
):
    words = write_pairs(tmp_path)
    for path in (tmp_path / "labels").iterdir():
        tifffile.imwrite(path, ((read_label_map(path) > 0) * 255).astype(np.uint8))
    words = ["new", str(tmp_path / "mine"), *words, "--from", str(folder)]
    assert main([*words, "--connected-components"]) == 0
    assert read_label_map(tmp_path / "mine/data/a/class1.tif").max() == 4


def test_new_when_validation_images_are_given_then_they_validate(
    folder,  # noqa: F811
    tmp_path,
):
    words = write_pairs(tmp_path / "train")
    val = write_pairs(tmp_path / "val", ("v",))
    words += ["--val-images", val[1], "--val-labels", val[3], "--from", str(folder)]
    assert main(["new", str(tmp_path / "mine"), *words]) == 0
    config = read_config(tmp_path / "mine")
    assert config.val_dataloader.dataset.data_root == str(tmp_path / "mine/data/val")
    assert config.val_dataloader.dataset.num_folds == 0


def test_new_when_validation_images_lack_a_class_then_the_others_keep_their_numbers(
    folder,  # noqa: F811
    tmp_path,
):
    def write_outlines(part, names):
        write_pairs(tmp_path / part, ("a",))
        ring = [[20, 20], [40, 20], [40, 40], [20, 40], [20, 20]]
        features = [
            {
                "type": "Feature",
                "geometry": {
                    "type": "Polygon",
                    "coordinates": [[[x + 25 * k, y] for x, y in ring]],
                },
                "properties": {"objectType": "detection", "classification": {"name": name}},
            }
            for k, name in enumerate(names)
        ]
        (tmp_path / part / "outlines").mkdir()
        text = json.dumps({"type": "FeatureCollection", "features": features})
        (tmp_path / part / "outlines" / "a.geojson").write_text(text)
        return str(tmp_path / part / "images"), str(tmp_path / part / "outlines")

    images, outlines = write_outlines("train", ["alpha", "beta"])
    val_images, val_outlines = write_outlines("val", ["beta"])
    words = ["--images", images, "--labels", outlines, "--from", str(folder)]
    words += ["--val-images", val_images, "--val-labels", val_outlines]
    assert main(["new", str(tmp_path / "mine"), *words]) == 0
    names = {path.name for path in (tmp_path / "mine/data/val/a").glob("*.tif")}
    assert names == {"image.tif", "class2.tif"}


def test_new_when_data_is_in_the_layout_then_is_used_where_it_lies(folder, tmp_path):  # noqa: F811
    write_disks(tmp_path / "data", None)
    (tmp_path / "data/dataset.json").unlink()
    words = ["--data", str(tmp_path / "data"), "--classes", "disk", "--from", str(folder)]
    assert main(["new", str(tmp_path / "mine"), *words]) == 0
    assert json.loads((tmp_path / "data/dataset.json").read_text())["classes"] == ["disk"]
    config = read_config(tmp_path / "mine")
    assert config.train_dataloader.dataset.dataset.data_root == str(tmp_path / "data")


def test_check_when_a_project_is_given_then_writes_into_it(folder, tmp_path, capsys):  # noqa: F811
    words = write_pairs(tmp_path)
    assert main(["new", str(tmp_path / "mine"), *words, "--from", str(folder)]) == 0
    assert main(["check", str(tmp_path / "mine")]) == 0
    assert "hold only 4 cells" in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "mine/check").iterdir()}
    assert names >= {"dataset_report.png", "page_1.png", "images.csv"}


def test_check_when_nothing_is_labeled_then_fails_before_training(tmp_path, capsys):
    write_disks(tmp_path / "data", None)
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / "data" / name / "class1.tif", np.zeros((100, 100), np.uint8))
    assert main(["check", str(tmp_path / "data"), "--out", str(tmp_path / "out")]) == 1
    assert "no cell at all" in capsys.readouterr().out


def test_evaluate_when_nothing_was_trained_then_one_sentence(folder, tmp_path, capsys):  # noqa: F811
    words = write_pairs(tmp_path)
    assert main(["new", str(tmp_path / "mine"), *words, "--from", str(folder)]) == 0
    assert main(["evaluate", str(tmp_path / "mine")]) == 1
    assert "no trained model is there; run `cellseg train" in capsys.readouterr().err
    assert main(["predict", str(tmp_path), "--model", str(tmp_path / "mine")]) == 1
    assert "has no trained model yet" in capsys.readouterr().err


@pytest.mark.slow
def test_project_when_trained_then_leaves_curve_report_and_what_to_do_next(
    folder,  # noqa: F811
    tmp_path,
    monkeypatch,
    capsys,
):
    words = write_pairs(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["new", "mine", *words, "--from", str(folder), "--steps", "50"]) == 0
    options = [
        "train_dataloader.dataset.times=4",
        "train_dataloader.num_workers=0",
        "val_dataloader.num_workers=0",
        "default_hooks.logger.interval=1",
        "default_hooks.visualization.draw=False",
    ]
    capsys.readouterr()
    assert main(["train", "mine", "--cfg-options", *options]) == 0
    shown = capsys.readouterr().out
    for word in ("device", "time left", "cellseg evaluate mine", "mine/run/report.html"):
        assert word in shown
    assert "Epoch(train)" not in shown
    assert "Epoch(train)" in next((tmp_path / "mine/run").glob("*/*.log")).read_text()
    assert {path.name for path in (tmp_path / "mine/run").glob("*.*")} >= {
        "curve.png",
        "report.html",
        "epoch_1.pth",
    }
    assert main(["evaluate", "mine", "--cfg-options", "test_dataloader.num_workers=0"]) == 0
    assert "mine/run/report.html" in capsys.readouterr().out
    assert main(["predict", "images/a.tif", "--model", "mine", "--out", "found"]) == 0
    assert (tmp_path / "found/a.overlay.png").is_file()
