import json

import numpy as np
import pytest
import tifffile

from cellseg.inference.image_list import InputImage
from cellseg.inference.image_work import ImageWork
from cellseg.inference.output_folder import OutputOptions

from .oracle import draw_label_map, paint_label_map


@pytest.fixture
def write_image(tmp_path):
    def write(pixel_size_um: float) -> InputImage:
        path = tmp_path / "a.tif"
        per_cm = 1e4 / pixel_size_um
        image = paint_label_map(draw_label_map(250))
        tifffile.imwrite(
            path, image, photometric="rgb", resolution=(per_cm, per_cm), resolutionunit=3
        )
        return InputImage(path, "a")

    return write


@pytest.mark.parametrize(
    ("pixel_size_um", "given", "is_refused"),
    [(0.25, None, False), (0.01, None, True), (8.0, None, True), (8.0, 0.5, False)],
)
def test_work_when_a_pixel_size_is_impossible_then_it_says_so(
    make_predictor, write_image, tmp_path, pixel_size_um, given, is_refused
) -> None:
    options = OutputOptions(tmp_path / "out", ("csv",), pixel_size_um=given)
    outcome = ImageWork(make_predictor(), options).do(write_image(pixel_size_um), None)
    if is_refused:
        assert "a.tif: gives a pixel size of" in outcome.error
        assert "outside 0.05 to 5 um; give the true one with --pixel-size" in outcome.error
    else:
        assert outcome.error is None


def test_work_when_done_in_parts_then_files_are_those_of_one_go(
    make_predictor, write_image, tmp_path
) -> None:
    image = write_image(0.5)
    files = []
    for name in ("whole", "parts"):
        predictor = make_predictor(whole=False, tile_px=128, overlap_px=64, batch_size=1)
        work = ImageWork(predictor, OutputOptions(tmp_path / name, ("csv", "coco")))
        if name == "whole":
            outcome = work.do(image, None)
        else:
            found = [
                work.find_cells(image, None, batches) for batches in ([1, 3], [0, 2, *range(4, 9)])
            ]
            outcome = work.finish(image, None, type(found[0]).join(found))
        assert outcome.error is None
        files.append({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()})
    assert files[0] == files[1]
    record = json.loads(files[0]["a.done.json"])
    assert sum(record["cells_per_class"].values()) == record["cells"] == outcome.cells > 0
    assert np.isclose(record["pixel_size_um"], 0.5, rtol=1e-3)
