"""What Cells gives to people and other programs."""

import builtins
import doctest
import json

import numpy as np
import pytest

from cellseg import Cells
from cellseg.errors import CellsegError
from cellseg.structures import cell_outputs


@pytest.fixture
def cells() -> Cells:
    label_map = np.zeros((40, 60), dtype=np.int32)
    label_map[5:15, 5:20] = 1
    label_map[20:30, 30:50] = 2
    return Cells.from_label_map(label_map, [0, 1], ("a", "b<b>"), pixel_size_um=0.5)


def test_geojson_when_written_then_holds_each_cell_with_its_class(cells) -> None:
    collection = json.loads(json.dumps(cells.to_geojson()))
    assert collection["type"] == "FeatureCollection"
    names = [f["properties"]["classification"]["name"] for f in collection["features"]]
    assert names == ["a", "b<b>"]
    assert Cells.empty(9, 9, ("a",)).to_geojson()["features"] == []


def test_table_when_asked_for_then_has_a_row_per_cell(cells) -> None:
    pytest.importorskip("pandas")
    table = cells.to_pandas(np.full((40, 60, 3), 200, np.uint8))
    assert table["area_px"].tolist() == [150, 200]
    assert table["area_um2"].tolist() == [37.5, 50.0]
    assert "mean_eosin" in table


def test_table_when_pandas_is_absent_then_one_sentence(cells, monkeypatch) -> None:
    load = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "pandas":
            raise ImportError(name)
        return load(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(CellsegError, match="pip install pandas"):
        cells.to_pandas()


def test_notebook_when_it_shows_cells_then_gets_a_picture_and_escaped_names(cells) -> None:
    assert cells._repr_png_().startswith(b"\x89PNG")
    html = cells._repr_html_()
    assert "2 cells in 60 x 40 px" in html
    assert "b&lt;b&gt;" in html
    assert "<b>" not in html


def test_repr_always_counts_the_classes(cells) -> None:
    assert repr(cells) == "<2 cells in 60 x 40 px, a: 1, b<b>: 1>"


def test_plot_when_axes_are_given_then_draws_there(cells) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    assert cells.plot(np.full((40, 60), 9, np.uint8), axes) is axes
    assert len(axes.images) == 1


def test_examples_always_give_what_they_show() -> None:
    assert doctest.testmod(cell_outputs).failed == 0
