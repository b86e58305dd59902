"""The converter to COCO, run as a person runs it."""

import contextlib
import io
import re

import numpy as np
import pytest
import tifffile
from pycocotools.coco import COCO


@pytest.fixture
def root(tmp_path):
    """Return a root of one image with two cells and a region to ignore, and of one without."""
    cells = np.zeros((12, 16))
    cells[1:4, 2:6], cells[6:9, 8:12] = 4, 70_000
    region = np.zeros((12, 16), np.uint8)
    region[10:, :3] = 1
    for name, labels in (("a", {"nuclei.tif": cells, "ignore.tif": region}), ("b", {})):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        tifffile.imwrite(folder / "image.tif", np.zeros((12, 16), np.uint16))
        for file_name, label_map in labels.items():
            tifffile.imwrite(folder / file_name, label_map)
    return tmp_path / "data"


@pytest.fixture
def run(run_tool):
    """Return a function that runs the tool and gives its exit status and what it printed."""

    def call(*arguments):
        done = run_tool("dataset_converters/tiff2coco.py", *arguments)
        return done.status, done.out + done.errors

    return call


def test_tiff2coco_when_run_then_pycocotools_loads_it_and_table_counts(root, tmp_path, run):
    out = tmp_path / "out" / "coco.json"
    names = ("--classes", "nucleus", "--label-files", "nuclei.tif")
    status, printed = run(root, out, *names, "--no-cache")
    assert status == 0
    assert re.search(r"nucleus +1 +2 +12.0\n\(ignored regions\) +1 +1 +6.0", printed)
    assert "2 images, 3 annotations" in printed
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(out)
    assert [i["file_name"] for i in coco.dataset["images"]] == ["a/image.tif", "b/image.tif"]
    cells = coco.loadAnns(coco.getAnnIds(iscrowd=False))
    assert [cell["bbox"] for cell in cells] == [[2, 1, 4, 3], [8, 6, 4, 3]]
    assert coco.annToMask(cells[0]).sum() == 12
    assert len(coco.getAnnIds(iscrowd=True)) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nuclei.tif: unknown label file"),
        (("--classes", "a", "b", "--label-files", "nuclei.tif"), "--label-files must name"),
    ],
)
def test_tiff2coco_when_data_or_arguments_are_bad_then_plain_error_and_nothing_written(
    root, tmp_path, run, arguments, message
):
    out = tmp_path / "coco.json"
    status, printed = run(root, out, "--no-cache", *arguments)
    assert (status, message in printed) == (1, True)
    assert not out.exists()
