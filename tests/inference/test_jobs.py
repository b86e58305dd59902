import contextlib
import io
import json
import zipfile
from collections import Counter

import cv2
import numpy as np
import pytest
import tifffile
from pycocotools.coco import COCO
from pycocotools.mask import toBbox

from cellseg.errors import CellsegError
from cellseg.formats.submission import make_submission, read_image_index
from cellseg.inference import Predictor, TileOptions
from cellseg.inference.image_list import InputImage, find_input_images
from cellseg.inference.jobs import PredictionJob
from cellseg.inference.output_folder import OutputOptions
from tests.formats.test_submission import check_schema

from .oracle import draw_label_map, oracle_config, paint_label_map


@pytest.fixture
def folder(tmp_path):
    """Three images, the second of them damaged."""
    images = tmp_path / "images"
    images.mkdir()
    for seed, name in enumerate(("a", "b", "c")):
        image = paint_label_map(draw_label_map(250, seed=seed))
        tifffile.imwrite(images / f"{name}.tif", image, photometric="rgb")
    (images / "b.tif").write_bytes(b"II*\0 truncated")
    return images


@pytest.fixture
def make_job(make_predictor, folder, tmp_path):
    def make(formats=("labels",), settings=None, predictor=None, out=None, **options):
        options = OutputOptions(out or tmp_path / "out", tuple(formats), **options)
        predictor = predictor or make_predictor()
        images = find_input_images([folder], out=options.folder)
        return PredictionJob(predictor, images, options, settings)

    return make


def stamps(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.is_file()}


def test_job_with_a_bad_file_reports_it_and_does_the_rest(make_job, tmp_path):
    outcomes = make_job(["labels", "geojson", "csv", "coco", "overlay"]).run()
    assert [outcome.error is None for outcome in outcomes] == [True, False, True]
    assert "b.tif" in outcomes[1].error
    names = {path.name for path in (tmp_path / "out").iterdir()}
    for name in ("a", "c"):
        for suffix in (".labels.tif", ".geojson", ".cells.csv", ".coco.json", ".overlay.png"):
            assert name + suffix in names
    assert not any(name.startswith("b.") for name in names)
    label_map = tifffile.imread(tmp_path / "out" / "a.labels.tif")
    assert len(np.unique(label_map)) - 1 == outcomes[0].cells > 0


def test_job_run_again_keeps_what_is_finished(make_job, tmp_path):
    make_job().run()
    before = stamps(tmp_path / "out")
    (tmp_path / "out" / "c.done.json").unlink()  # as if it had been stopped there
    outcomes = make_job().run()
    assert [outcome.resumed for outcome in outcomes] == [True, False, False]
    after = stamps(tmp_path / "out")
    assert {name for name in before if before[name] != after[name]} == {
        name for name in before if name.startswith("c.")
    }


@pytest.mark.parametrize("change", ["file gone", "other settings", "more formats", "image changed"])
def test_job_run_again_makes_again_what_is_no_longer_right(make_job, tmp_path, folder, change):
    make_job(settings={"weights": 1}).run()
    formats, settings = ["labels"], {"weights": 1}
    if change == "file gone":
        (tmp_path / "out" / "a.labels.tif").unlink()
    elif change == "other settings":
        settings = {"weights": 2}
    elif change == "more formats":
        formats = ["labels", "csv"]
    else:
        content = (folder / "a.tif").read_bytes()
        (folder / "a.tif").write_bytes(content + b"\0")
    outcomes = make_job(formats, settings).run()
    assert outcomes[0].resumed is False
    assert (tmp_path / "out" / "a.labels.tif").is_file()
    assert make_job(formats, settings).run()[0].resumed


def test_job_announces_the_tiles_that_it_then_does(make_job, make_predictor, tmp_path):
    predictor = make_predictor(whole=False, tile_px=128, overlap_px=32)
    announced, done = [], []
    job = make_job(predictor=predictor)
    job.run(lambda tiles, cells: done.append(tiles), announced.append)
    assert announced == [sum(done)] == [2 * 9]  # nothing of the damaged one
    (tmp_path / "out" / "c.done.json").unlink()
    job.run(announce=announced.append)
    assert announced[1] == 9


@pytest.mark.parametrize("formats", [["labels", "overlay"], ["labels"]])
def test_job_into_the_input_folder_run_again_leaves_its_outputs_out(make_job, folder, formats):
    make_job(["labels", "overlay"], out=folder).run()
    before = stamps(folder)
    assert "a.overlay.png" in before
    outcomes = make_job(formats, out=folder).run()
    assert [(outcome.name, outcome.resumed) for outcome in outcomes] == [
        ("a", True),
        ("b", False),
        ("c", True),
    ]
    assert stamps(folder) == before
    again = make_job(formats, {"weights": 2}, out=folder).run()  # now some outputs are old
    assert [outcome.name for outcome in again] == ["a", "b", "c"]
    assert len(make_job(formats, out=folder).images) == 3


def test_job_whose_output_would_replace_an_image_is_refused(make_job, folder):
    cv2.imwrite(str(folder / "a.overlay.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(CellsegError, match=r"a\.overlay\.png would be replaced .*a\.tif"):
        make_job(["overlay"], out=folder).run()
    assert make_job(["labels"], out=folder).run()[0].error is None


def test_job_stopped_while_writing_leaves_no_half_file_and_no_record(
    make_job, tmp_path, monkeypatch
):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("cellseg.formats.label_tiff.zlib.compress", stop)
    with pytest.raises(KeyboardInterrupt):
        make_job().run()
    assert list((tmp_path / "out").iterdir()) == []


def test_job_after_one_that_was_killed_removes_only_its_half_written_files(
    make_job, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    make_job().run()
    (out / "c.done.json").unlink()
    mine = [".c.labels.tif.x1y_.part", ".c.geojson.x1y_.part", ".c.coco.json.x1y_.part"]
    others = [".a.labels.tif.x1y_.part", ".d.labels.tif.x1y_.part", ".c.labels.tif", "c.part"]
    for name in mine + others:
        (out / name).touch()
    make_job().run()
    assert [name for name in mine + others if (out / name).exists()] == others


def test_job_with_a_score_threshold_writes_only_sure_cells(make_job, tmp_path):
    outcomes = make_job(["coco"], score_thr=0.6).run()
    results = json.loads((tmp_path / "out" / "a.coco.json").read_text())
    assert len(results) == outcomes[0].cells
    assert 0.6 <= min(result["score"] for result in results) < 0.8


def test_job_notes_pixels_lost_where_cells_overlap(make_job, make_predictor, tmp_path):
    predictor = make_predictor()
    step = predictor.model.test_step

    def twice(data):
        samples = step(data)
        for sample in samples:
            found = sample.pred_instances
            sample.pred_instances = type(found).cat([found[:3], found])
        return samples

    predictor.model.test_step = twice
    outcome = make_job(predictor=predictor).run()[0]
    assert outcome.notes["lost_pixels"] > 0


def test_job_at_a_pixel_size_predicts_the_resampled_image(make_job, tmp_path, folder):
    outcomes = make_job(mpp=1.0, pixel_size_um=0.5).run()
    assert outcomes[0].error is None
    assert tifffile.imread(tmp_path / "out" / "a.labels.tif").shape == (125, 125)


def read_results(folder):
    """Read the per-image and the joined COCO results of a run, ids by name, and its image list."""
    single = {
        path.name.removesuffix(".coco.json"): json.loads(path.read_text())
        for path in sorted(folder.glob("*.coco.json"))
    }
    ids = {name: {row["image_id"] for row in rows} for name, rows in single.items()}
    joined = json.loads((folder / "coco_results.json").read_text())
    assert joined == [row for rows in single.values() for row in rows]
    return ids, joined, json.loads((folder / "coco_images.json").read_text())


def other_image(tmp_path, name):
    """Paint an image in a folder of its own."""
    path = tmp_path / "others" / name
    path.parent.mkdir(exist_ok=True)
    tifffile.imwrite(path, paint_label_map(draw_label_map(250, seed=7)), photometric="rgb")
    return path


def test_coco_results_when_another_job_adds_images_then_earlier_rows_stay(
    make_job, make_predictor, tmp_path
):
    make_job(["coco"]).run()
    options = OutputOptions(tmp_path / "out", ("coco",))
    others = find_input_images([other_image(tmp_path, "b2.tif")])
    PredictionJob(make_predictor(), others, options).run()
    ids, _, images = read_results(tmp_path / "out")
    assert ids == {"a": {1}, "b2": {2}, "c": {3}}
    assert [row["name"] for row in images] == ["a", "b2", "c"]


def test_job_when_earlier_rows_have_other_settings_then_it_is_refused(
    make_job, make_predictor, tmp_path
):
    make_job(["coco"], settings={"weights": "x"}).run()
    options = OutputOptions(tmp_path / "out", ("coco",))
    others = find_input_images([other_image(tmp_path, "b2.tif")])
    with pytest.raises(CellsegError, match="other settings"):
        PredictionJob(make_predictor(), others, options, {"weights": "y"}).run()


def test_job_when_an_image_has_the_name_of_an_earlier_one_then_it_is_refused(
    make_job, make_predictor, tmp_path
):
    make_job().run()
    options = OutputOptions(tmp_path / "out", ("labels",))
    others = find_input_images([other_image(tmp_path, "a.tif")])
    with pytest.raises(CellsegError, match=r"holds the cells of .*images/a\.tif"):
        PredictionJob(make_predictor(), others, options).run()


def test_job_when_another_one_writes_into_the_folder_then_it_is_refused(make_job, tmp_path):
    holder = make_job()
    holder._work.folder.take()
    with pytest.raises(CellsegError, match="Another run is predicting into"):
        make_job().run()
    holder._work.folder.release()
    assert make_job().run()[0].error is None
    assert not (tmp_path / "out" / ".predicting").exists()


def test_coco_results_of_all_images_are_joined_under_ids_of_their_own(make_job, tmp_path, folder):
    out = tmp_path / "out"
    make_job(["coco"]).run()
    ids, joined, images = read_results(out)
    assert ids == {"a": {1}, "c": {3}}  # b failed and keeps its place
    assert images == [
        {"id": number, "name": name, "file_name": str(path), "height": 250, "width": 250}
        for number, name, path in ((1, "a", folder / "a.tif"), (3, "c", folder / "c.tif"))
    ]
    coco = COCO()
    coco.dataset = {"images": images, "annotations": [], "categories": []}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        assert len(coco.loadRes(str(out / "coco_results.json")).getAnnIds(imgIds=[3])) > 0
    empty = np.full((40, 30, 3), 255, np.uint8)  # without cells, and first by its name
    tifffile.imwrite(folder / "0.tif", empty, photometric="rgb")
    outcomes = make_job(["coco"]).run()
    assert [outcome.resumed for outcome in outcomes] == [False, True, False, True]
    ids, again, images = read_results(out)
    assert ids == {"0": set(), "a": {2}, "c": {4}}
    assert [(row["id"], row["name"], row["height"]) for row in images] == [
        (1, "0", 40),
        (2, "a", 250),
        (4, "c", 250),
    ]
    assert [{**row, "image_id": row["image_id"] - 1} for row in again] == joined


@pytest.fixture(scope="module")
def drawn_test_set(real_data, tmp_path_factory):
    """Drawn images under the real names and sizes, their index, and the cells drawn by name."""
    index = read_image_index(real_data / "hw3" / "test_image_name_to_ids.json")
    folder = tmp_path_factory.mktemp("test_set")
    size = max(max(row["height"], row["width"]) for row in index.values())
    drawn = draw_label_map(size)
    counts = {}
    for name, row in index.items():
        label_map = np.roll(drawn, 31 * row["id"], axis=1)[: row["height"], : row["width"]]
        counts[row["id"]] = len(np.unique(label_map)) - 1
        image = paint_label_map(label_map)
        tifffile.imwrite(folder / name, image, photometric="rgb", compression="zlib")
    return folder, index, counts


@pytest.mark.parametrize("box_format", ["xywh", "xyxy"])
def test_submission_of_drawn_images_of_all_real_sizes_fits_the_schema(
    drawn_test_set, make_predictor, tmp_path, real_data, box_format
):
    folder, index, counts = drawn_test_set
    assert len(index) == 101
    options = OutputOptions(tmp_path / "out", ("coco",))
    predictor = make_predictor()
    job = PredictionJob(predictor, find_input_images([folder]), options)
    assert not [outcome.error for outcome in job.run() if outcome.error]
    path = tmp_path / "submission.zip"
    index_path = real_data / "hw3" / "test_image_name_to_ids.json"
    assert make_submission(tmp_path / "out", index_path, path, box_format) == 0
    with zipfile.ZipFile(path) as archive:
        rows = json.loads(archive.read("test-results.json"))
    check_schema(rows, index)
    assert Counter(row["image_id"] for row in rows) == counts
    tight = toBbox([row["segmentation"] for row in rows])
    if box_format == "xyxy":
        tight[:, 2:] += tight[:, :2]
    np.testing.assert_allclose([row["bbox"] for row in rows], tight, atol=0.01)
    coco = COCO()
    images = [{key: row[key] for key in ("id", "height", "width")} for row in index.values()]
    coco.dataset = {"images": images, "annotations": [], "categories": []}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        results = coco.loadRes(rows)
    assert len(results.getAnnIds()) == sum(counts.values())


def test_png_beside_tiff_is_predicted_too(make_predictor, tmp_path):
    image = paint_label_map(draw_label_map(200))
    cv2.imwrite(str(tmp_path / "p.png"), image)
    options = OutputOptions(tmp_path / "out", ("labels",))
    job = PredictionJob(make_predictor(), [InputImage(tmp_path / "p.png", "p")], options)
    assert job.run()[0].cells == len(make_predictor()(image))


@pytest.mark.parametrize(
    ("formats", "pixel_size_um", "is_told"),
    [(["csv"], None, True), (["labels"], None, False), (["csv"], 0.25, False)],
)
def test_job_says_once_why_tables_have_no_columns_in_um(
    make_job, listen, formats, pixel_size_um, is_told
):
    told = listen("cellseg.inference.image_work")
    make_job(formats, pixel_size_um=pixel_size_um).run()
    about_um = [text for text in told if "no um columns" in text]
    assert len(about_um) == is_told
    if is_told:
        assert "a.tif: its table has no um columns, because the file does not tell" in about_um[0]
        assert "--pixel-size" in about_um[0]


def test_job_when_the_config_has_a_palette_then_outputs_have_its_colors(make_job, tmp_path):
    predictor = make_predictor_with_palette([(9, 8, 7)])
    make_job(["geojson"], predictor=predictor).run()
    document = json.loads((tmp_path / "out" / "a.geojson").read_text())
    colors = {tuple(f["properties"]["classification"]["color"]) for f in document["features"]}
    assert colors == {(9, 8, 7)}


def make_predictor_with_palette(palette):
    config = oracle_config()
    config.test_dataloader.dataset.metainfo["palette"] = palette
    return Predictor(config, None, device="cpu", tiling=TileOptions(scale=1.0))
