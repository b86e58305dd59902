"""The whole way on two real workers, against one process."""

import csv
import importlib.metadata
import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="the extra cluster is not installed")

from cellseg.cluster.cohort import describe_dashboard, predict_cohort
from cellseg.inference.image_list import find_input_images
from cellseg.inference.output_folder import OutputOptions
from cellseg.inference.predictor_recipe import PredictorRecipe
from cellseg.inference.tile_plan import TileOptions

from .conftest import FORMATS, Setting, digests


def make_recipe(setting: Setting) -> PredictorRecipe:
    tiling = TileOptions(tile_px=320, overlap_px=64, scale=1.0, batch_size=1)
    config, weights = str(setting.config), str(setting.weights)
    return PredictorRecipe(config, weights, device="cpu", tiling=tiling)


def test_cohort_when_two_workers_predict_then_bytes_are_those_of_one_process(
    setting, alone, connection, tmp_path
) -> None:
    lines: list[str] = []
    options = OutputOptions(tmp_path, FORMATS)
    images = find_input_images([setting.images], out=tmp_path)
    outcomes = predict_cohort(connection, make_recipe(setting), images, options, lines.append)
    assert [outcome.error for outcome in outcomes] == [None] * 5
    assert digests(tmp_path) == alone
    assert not (tmp_path / ".units").exists()
    with (tmp_path / "cohort.csv").open() as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {"small0", "small1", "small2", "small3", "slide"}
    for outcome in outcomes:
        row = rows[outcome.name]
        assert int(row["cells"]) == outcome.cells > 0
        assert sum(int(row[f"cells_{name}"]) for name in ("round", "odd", "small", "long cell"))
        assert row["worker"].partition("/")[2].startswith("worker-")
    assert (tmp_path / "cohort.png").is_file()
    assert any(line.startswith("2 workers (1 thread on cpu) on 1 machine: ") for line in lines)
    assert lines[-1] == f"Table of all images: {tmp_path / 'cohort.csv'}"


def test_cohort_when_run_again_then_nothing_is_done_twice(setting, connection, tmp_path) -> None:
    options = OutputOptions(tmp_path, ("coco",))
    images = find_input_images([setting.images / "small0.tif"])
    first = predict_cohort(connection, make_recipe(setting), images, options)
    before = (tmp_path / "cohort.csv").read_text()
    again = predict_cohort(connection, make_recipe(setting), images, options)
    assert [outcome.resumed for outcome in (*first, *again)] == [False, True]
    assert (tmp_path / "cohort.csv").read_text() == before


def test_cohort_when_a_client_of_the_users_is_given_then_it_serves(
    setting, connection, tmp_path: Path
) -> None:
    images = find_input_images([setting.images / "small1.tif"])
    options = OutputOptions(tmp_path, ("labels",))
    (outcome,) = predict_cohort(connection.client, make_recipe(setting), images, options)
    assert outcome.error is None
    assert (tmp_path / "small1.labels.tif").is_file()


class FakeClient:
    """A client of a scheduler with or without a dashboard."""

    def __init__(self, link: str | None, has_bokeh: bool) -> None:
        self.services = {} if link is None else {"dashboard": link}
        self.has_bokeh = has_bokeh

    @property
    def dashboard_link(self) -> str:
        return self.services["dashboard"]

    def run_on_scheduler(self, ask: object, name: str) -> str:
        if not self.has_bokeh:
            raise importlib.metadata.PackageNotFoundError(name)
        return "3.9"


@pytest.mark.parametrize(
    ("link", "has_bokeh", "said"),
    [
        ("http://a:8787/status", True, "dashboard: http://a:8787/status"),
        (
            "http://a:8787/status",
            False,
            "no dashboard (pip install bokeh where the scheduler runs)",
        ),
        (None, True, "no dashboard"),
    ],
)
def test_dashboard_when_it_cannot_work_then_no_address_is_given(link, has_bokeh, said) -> None:
    assert describe_dashboard(FakeClient(link, has_bokeh)) == said


def test_dashboard_when_asked_of_a_real_scheduler_then_bokeh_decides(connection) -> None:
    has_bokeh = importlib.util.find_spec("bokeh") is not None
    said = describe_dashboard(connection.client)
    assert said.startswith("dashboard: http" if has_bokeh else "no dashboard (pip install bokeh")
