"""What the page asks for, and the answers."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

pytest.importorskip("uvicorn", reason="the extra web is not installed")

from .serving import Served


def test_state_then_model_limits_and_images_are_told(served: Served) -> None:
    state = served.visit().read("/api/state").json()
    assert (state["models"], state["classes"]) == (["blobs"], ["epithelial", "<b>round</b>"])
    assert state["images"] == [{"key": "g0", "name": "given", "given": True}]
    image = served.visit().read("/api/images/g0").json()
    assert (image["width"], image["height"], image["um"]) == (96, 96, pytest.approx(0.25))


def test_image_when_uploaded_then_cells_are_found_and_taken_away(
    served: Served, draw: Callable[..., Path]
) -> None:
    visitor = served.visit()
    image = visitor.send(draw(3, 'sli"de é.png'))
    assert visitor.read(image).json()["name"] == 'sli"de é.png'
    job = visitor.predict(image)
    assert (job["state"], job["done"]) == ("done", 1)
    assert [cell["a"] for cell in visitor.cells(image)["cells"]] == [144] * 3
    calls = len(served.finder.calls)
    answer = visitor.read(f"{image}/export/csv?score=0.5&least=0")
    assert len(answer.content.splitlines()) == 1 + 2
    assert 'filename="sli_de' in answer.headers["content-disposition"]
    assert answer.headers["cache-control"] == "no-store"
    features = visitor.read(f"{image}/export/geojson?classes=0").json()["features"]
    assert len(features) == 2
    assert visitor.read(f"{image}/export/labels").content[:2] == b"II"
    assert visitor.read(f"{image}/export/coco").status == 404
    assert visitor.read(f"{image}/export/csv?score=x").status == 422
    assert len(served.finder.calls) == calls


def test_tile_then_a_jpeg_and_none_outside(served: Served) -> None:
    visitor = served.visit()
    answer = visitor.read("/api/images/g0/tiles/0/0/0")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.headers["cache-control"] == "no-store"
    for place in ("1/0/0", "0/1/0", "0/0/1", "99/9999999/0"):
        assert visitor.read(f"/api/images/g0/tiles/{place}").status == 404


def test_edit_when_the_cells_have_changed_elsewhere_then_409_and_nothing_happens(
    served: Served, draw: Callable[..., Path]
) -> None:
    visitor = served.visit()
    image = visitor.send(draw(3))
    visitor.predict(image)
    keys = [cell["k"] for cell in visitor.cells(image)["cells"]]
    assert visitor.edit(image, do="delete", keys=keys[:1]).status == 200
    for values in ({"revision": 1}, {"revision": None}, {}, {"revision": "2"}):
        answer = visitor.change(f"{image}/edit", do="delete", keys=keys[1:], **values)
        assert answer.status == 409
    assert visitor.change(f"{image}/undo", revision=2).json()["added"][0]["k"] == keys[0]
    assert visitor.change(f"{image}/redo", revision=3).json()["removed"] == keys[:1]
    again = visitor.change(f"{image}/redo", revision=4).json()
    assert (again["step"], again["revision"]) == (None, 4)


def test_image_when_given_at_start_then_it_cannot_be_removed(served: Served) -> None:
    answer = served.visit().change("/api/images/g0/remove")
    assert answer.status == 400
    assert "stay" in answer.json()["error"]
    assert (served.folder / "given.tif").exists()


def test_image_when_removed_then_nothing_of_it_stays(
    served: Served, draw: Callable[..., Path]
) -> None:
    visitor = served.visit()
    image = visitor.send(draw(3))
    visitor.predict(image)
    assert visitor.change(f"{image}/remove").status == 200
    assert visitor.read(f"{image}/cells").status == 404
    assert list(served.folder.glob(f"uploads/*/{image.rpartition('/')[2]}")) == []


def test_prediction_when_scale_or_region_make_no_sense_then_refused(served: Served) -> None:
    visitor = served.visit()
    calls = len(served.finder.calls)
    square = [[0, 0], [50, 0], [50, 50]]
    for values in (
        {"scale": 0},
        {"scale": "1"},
        {"scale": 1e9},
        {"scale": True},
        {"scale": float("nan")},
        {"points": [[0, 0], [3, 0], [3, 3]]},
        {"points": "all"},
        {"model": "other"},
        {"model": ["blobs"]},
        {"model": "/etc/passwd"},
        {"points": square[:2]},
    ):
        assert visitor.change("/api/images/g0/predict", **values).status == 400, values
    assert len(served.finder.calls) == calls
    assert visitor.predict("/api/images/g0", points=square, scale=1.5)["state"] == "done"


def test_training_data_then_a_folder_in_a_zip_of_own_and_given_images(
    served: Served, draw: Callable[..., Path]
) -> None:
    visitor = served.visit()
    assert visitor.read("/api/training-data").status == 422
    image = visitor.send(draw(3))
    whole = [[0, 0], [96, 0], [96, 96], [0, 96]]
    assert visitor.edit(image, do="review", points=whole).status == 200
    assert visitor.edit("/api/images/g0", do="review", points=whole).status == 200
    answer = visitor.read("/api/training-data?score=0.5")
    assert (answer.status, answer.content[:2]) == (200, b"PK")
    assert np.frombuffer(answer.content, np.uint8).size > 1000


@pytest.mark.parametrize(
    ("words", "areas"),
    [
        ("score=0", [288, 288]),
        ("score=0&classes=0", [288, 288]),  # the second class is hidden, not absent
        ("score=0&classes=&least=145&most=146", [288, 288]),
        ("score=0.5", [144, 144]),
    ],
)
def test_training_data_when_cells_are_hidden_then_only_the_score_leaves_out(
    served: Served, draw: Callable[..., Path], words: str, areas: list[int]
) -> None:
    visitor = served.visit()
    image = visitor.send(draw(4))
    visitor.predict(image)
    whole = [[0, 0], [96, 0], [96, 96], [0, 96]]
    assert visitor.edit(image, do="review", points=whole).status == 200
    content = visitor.read(f"/api/training-data?{words}").content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        own = [name for name in archive.namelist() if f"_{image.rpartition('/')[2]}_" in name]
        maps = {
            number: [
                tifffile.imread(io.BytesIO(archive.read(name)))
                for name in own
                if name.endswith(f"class{number}.tif")
            ]
            for number in (1, 2)
        }
    assert [sum(int((own > 0).sum()) for own in maps[number]) for number in (1, 2)] == areas
