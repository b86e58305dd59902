import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from cellseg.datasets.cell_dataset import CellDataset
from cellseg.errors import CellDataError
from cellseg.formats.conversion import AnnotatedImage, Annotation, Crop, Drawing, Loss, Source

PIXELS = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30)


def box(x0, y0, side, class_name="a", is_ignored=False):
    drawing = Drawing(Crop(np.ones((side, side), bool), x0, y0))
    return Annotation(f"{x0},{y0}", class_name, lambda h, w: drawing, is_ignored)


def image(name, *annotations, pixels=PIXELS, fingerprint="as it was"):
    load = lambda: (pixels, annotations)  # noqa: E731
    return AnnotatedImage(name, f"data/{name}.png", load, lambda: fingerprint)


def bad_image(name, fingerprint="as it was"):
    def fail():
        raise CellDataError(f"data/{name}.png: is truncated; replace it.")

    return AnnotatedImage(name, f"data/{name}.png", fail, lambda: fingerprint)


@pytest.fixture
def source():
    return Source(
        [
            image("one", box(0, 0, 3), box(9, 9, 2), box(15, 2, 4, "b"), box(5, 15, 3, "b", True)),
            image("two", box(25, 5, 2, "b")),
            image("empty"),
        ],
        ["a", "b"],
    )


def test_conversion_when_read_by_the_data_set_then_all_cells_are_there(source, run, tmp_path):
    report = run(source)
    dataset = CellDataset(
        data_root=tmp_path / "out",
        metainfo={"classes": ("a", "b")},
        bad_images="error",
        test_mode=True,
        serialize_data=False,
        cache=False,
    )
    found = {
        info["img_name"]: [
            (cell["bbox_label"], cell["bbox"], cell["area"]) for cell in info["instances"]
        ]
        for info in dataset.data_list
    }
    assert found == {
        "empty": [],
        "one": [
            (0, [0, 0, 3, 3], 9),
            (0, [9, 9, 11, 11], 4),
            (1, [15, 2, 19, 6], 16),
            (-1, [5, 15, 8, 18], 9),
        ],
        "two": [(1, [25, 5, 27, 7], 4)],
    }
    assert report.cells == {"a": 2, "b": 2}
    assert report.ignored_regions == (1, 1)
    assert "Nothing was left out or changed." in report.to_text()


@pytest.mark.parametrize(
    "pixels",
    [
        PIXELS,
        np.stack([PIXELS, PIXELS // 2, PIXELS // 3], axis=2),
        PIXELS.astype(np.uint16) * 200,
        PIXELS.astype(np.float32) / 7,
        np.stack([PIXELS, PIXELS // 2, PIXELS // 3], axis=2)[..., ::-1],
    ],
    ids=["grey", "rgb", "uint16", "float", "view"],
)
def test_conversion_keeps_the_values_of_the_image(pixels, run, read):
    run(Source([image("x", box(1, 1, 2), pixels=pixels)], ["a"]))
    np.testing.assert_array_equal(read("x/image.tif"), pixels)
    assert read("x/image.tif").dtype == pixels.dtype
    assert read("x/class1.tif").dtype == np.uint16


def test_conversion_when_run_again_then_finished_images_are_kept_and_reported(
    source, run, tmp_path
):
    first = run(source)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.tif")}
    second = run(source)
    assert (second.written, second.finished_before) == (0, 3)
    assert second.cells == first.cells
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.tif")} == stamps


def test_conversion_when_an_image_has_changed_then_it_alone_is_converted_again(
    source, run, tmp_path, read
):
    run(source)
    kept = (tmp_path / "out" / "one" / "class1.tif").stat().st_mtime_ns
    cells = [box(1, 1, 2), box(8, 8, 3)]
    changed = image("two", *cells, fingerprint="corrected")  # of class a now, none of class b
    report = run(Source([source.images[0], changed, source.images[2]], ["a", "b"]))
    assert (report.written, report.renewed, report.finished_before) == (0, 1, 2)
    assert "3 images written, 2 of them earlier, 1 again because" in report.to_text()
    assert report.cells == {"a": 4, "b": 1}
    assert read("two/class1.tif").max() == 2
    names = sorted(path.name for path in (tmp_path / "out").rglob("*"))
    assert names.count("class2.tif") == 1
    assert not [name for name in names if name.startswith(".")]
    assert (tmp_path / "out" / "one" / "class1.tif").stat().st_mtime_ns == kept
    assert run(Source([changed], ["a", "b"])).finished_before == 1


def test_conversion_when_an_image_has_become_bad_then_nothing_older_of_it_stays(
    source, run, tmp_path
):
    run(source)
    worse = Source([*source.images[:2], bad_image("empty", "changed")], ["a", "b"])
    with pytest.raises(CellDataError, match=r"empty\.png: is truncated"):
        run(worse)
    assert "1 image   data/empty.png: is truncated" in run(worse, skip_bad=True).to_text()
    assert not (tmp_path / "out" / "empty").exists()


def test_conversion_when_an_image_is_not_there_any_more_then_the_report_names_it(source, run):
    run(source)
    fewer = run(Source(source.images[:1], ["a", "b"]))
    assert fewer.orphans == ["empty", "two"]
    text = "2 more there, of images that are not in this data: empty, two."
    assert text in fewer.to_text()


def test_conversion_when_a_log_tells_no_state_then_the_image_is_converted_again(
    source, run, tmp_path
):
    run(source)
    path = tmp_path / "out" / "two" / "conversion.json"
    row = json.loads(path.read_text())
    del row["fingerprint"]
    path.write_text(json.dumps(row))
    assert run(source).renewed == 1


def test_conversion_when_stopped_while_writing_then_no_half_image_and_the_rest_follows(
    source, run, tmp_path, monkeypatch
):
    import tifffile

    write = tifffile.imwrite
    calls = []

    def stop_at_the_third(*args, **kwargs):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        write(*args, **kwargs)

    monkeypatch.setattr(tifffile, "imwrite", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(source)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["conversion.json"]
    monkeypatch.undo()
    assert run(source).written == 3


def test_conversion_when_a_killed_run_left_files_aside_then_none_of_them_stays(
    source, run, tmp_path
):
    left = tmp_path / "out" / ".two.part"
    left.mkdir(parents=True)
    (left / "class1.tif").write_bytes(b"half a file")
    run(source)
    assert not left.exists()
    names = sorted(path.name for path in (tmp_path / "out" / "two").iterdir())
    assert names == ["class2.tif", "conversion.json", "image.tif"]


def test_conversion_when_an_image_is_bad_then_error_or_counted(run, tmp_path):
    source = Source([image("a1", box(1, 1, 2)), bad_image("b1"), image("c1", box(1, 1, 2))], ["a"])
    with pytest.raises(CellDataError, match=r"b1\.png: is truncated"):
        run(source)
    assert (tmp_path / "out" / "a1").is_dir()
    report = run(source, skip_bad=True)
    assert (report.written, report.finished_before) == (1, 1)
    assert "1 image   data/b1.png: is truncated; replace it." in report.to_text()


def test_conversion_when_parts_do_not_fit_then_all_are_listed_or_counted(source, run):
    losses = [Loss("image", f"x{i}.png", "", "", "the image is missing") for i in range(30)]
    source = Source(source.images, source.found_classes, losses=losses)
    with pytest.raises(
        CellDataError, match=r"30 images or annotations .*\n  x0\.png: the image is missing"
    ) as e:
        run(source)
    assert "and 10 more" in str(e.value)
    assert "30 images  the image is missing" in run(source, skip_bad=True).to_text()


def test_conversion_report_lists_every_case(run, tmp_path):
    cells = [box(0, 0, 5), box(1, 1, 2), box(1, 1, 2), box(3, 3, 2, "=cmd()")]
    report = run(Source([image("x", *cells)], ["a", "=cmd()"]), class_map={"=cmd()": "drop"})
    text = (tmp_path / "out" / "conversion.txt").read_text()
    assert text == report.to_text() + "\n"
    assert "class1.tif          1          2" in text
    assert "1 cell    hidden by cells of its class that are as small or smaller (4 px)" in text
    assert "1 cell    pixels lost to a smaller cell (4 px)" in text
    rows = list(csv.DictReader((tmp_path / "out" / "conversion.csv").open()))
    assert [(row["outcome"], row["annotation"], row["pixels"]) for row in rows] == [
        ("left out", "3,3", ""),
        ("changed", "0,0", "4"),
        ("left out", "1,1", "4"),
    ]
    assert rows[0]["class"] == "'=cmd()"


def test_conversion_into_a_folder_of_other_things_is_refused(source, run, tmp_path):
    (tmp_path / "out" / "one").mkdir(parents=True)
    with pytest.raises(CellDataError, match="one: is there already, but not from a conversion"):
        run(source)


def test_conversion_into_a_folder_of_other_classes_is_refused(source, run):
    run(source)
    with pytest.raises(CellDataError, match="other data, classes or options"):
        run(source, classes=["b", "a"])


def test_conversion_when_corrections_bring_another_name_then_it_goes_on(source, run):
    part = {"classes": ["a", "b"], "class_map": {"B": "b"}}
    run(Source(source.images[:1], ["a"]), **part)
    assert run(source, **part).finished_before == 1
    with pytest.raises(CellDataError, match="other data, classes or options"):
        run(source, classes=["a", "b"], class_map={"b": "a"})


def test_conversion_when_a_file_is_no_part_of_the_data_then_it_is_counted_and_no_error(source, run):
    losses = [Loss("file", "x_flows.tif", "", "", "is no image")]
    report = run(Source(source.images, source.found_classes, losses=losses))
    assert "1 file    is no image" in report.to_text()
    assert "x_flows.tif,,,file,left out,is no image," in report.to_csv()


def test_conversion_of_another_image_of_the_same_name_is_refused(source, run):
    run(source)
    other = replace(source.images[1], origin="elsewhere/two.png")
    with pytest.raises(CellDataError, match=r"was made from data/two\.png"):
        run(Source([other], ["a", "b"]))


def test_conversion_of_two_images_of_one_name_is_refused(run):
    with pytest.raises(CellDataError, match="would both become"):
        run(Source([image("x"), image("X")], ["a"]))


def test_conversion_without_an_image_is_refused(run):
    losses = [Loss("image", "x.png", "", "", "the image is missing")]
    with pytest.raises(CellDataError, match=r"No annotated image .*: x\.png: the image is missing"):
        run(Source([], ["a"], losses=losses))


def test_conversion_when_a_log_is_damaged_then_error_names_the_folder(source, run, tmp_path):
    run(source)
    log = tmp_path / "out" / "two" / "conversion.json"
    texts = ("{", "[]", json.dumps({"origin": 1}))
    for text in texts:
        log.write_text(text)
        with pytest.raises(CellDataError, match="two: is there already"):
            run(source)
    for text in (*texts, json.dumps({"places": 1})):
        (tmp_path / "out" / "conversion.json").write_text(text)
        with pytest.raises(CellDataError, match="other data, classes or options"):
            run(source)


def test_conversion_when_done_then_the_data_set_needs_no_classes(source, run, tmp_path):
    run(replace(source, pixel_size_um=0.25))
    dataset = CellDataset(data_root=tmp_path / "out", cache=False)
    assert dataset.metainfo["classes"] == ("a", "b")
    assert dataset.pixel_size_um == 0.25
    run(source)  # says no size: the known one stays
    assert CellDataset(data_root=tmp_path / "out", cache=False).pixel_size_um == 0.25
