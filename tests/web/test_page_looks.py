"""The page with thousands of cells, and at every width, light and dark."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from page_speed import add_cells
from page_speed import draw as draw_image

from cellseg.web.edit_log import EditLog
from cellseg.web.page_images import LOG_NAME, list_given
from tests.report.browser import Page

from .reader import COUNT, LOADED, Reader
from .serving import Served, serve_page
from .stand_in import draw_blobs

NUM_CELLS = 5000
IN_VIEW = "document.getElementById('in-view').textContent"
WIDTHS = (1280, 820, 390)
OUTSIDE = (  # what can be used and is not between the sides of the window
    "[...document.querySelectorAll('button, input, select, label, h2, td')].filter((e) => {"
    " const r = e.getBoundingClientRect();"
    " return r.width && !e.closest('[hidden], .hidden, dialog')"
    " && (r.left < -1 || r.right > innerWidth + 1); }).map((e) => e.id || e.textContent)"
)
CUT = (  # buttons whose words do not fit
    "[...document.querySelectorAll('button, .button')].filter((e) => e.clientWidth"
    " && e.scrollWidth > e.clientWidth + 1).map((e) => e.id || e.textContent)"
)
PALE = (  # texts whose contrast to what is behind them is below 4.5, as WCAG measures it
    "(() => { const light = (c) => { const v = c.match(/[\\d.]+/g).slice(0, 3).map((x) => x / 255)"
    " .map((x) => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);"
    " return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };"
    " const ground = (e) => { for (; e; e = e.parentElement) {"
    " const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$/.test(c)) return c; }"
    " return 'rgb(255, 255, 255)'; };"
    " return [...document.querySelectorAll('button, label, h2, p, td, th, span, option')]"
    " .filter((e) => e.getBoundingClientRect().width && !e.disabled && e.innerText?.trim()"
    " && !e.closest('[hidden], .hidden, dialog, #scalebar'))"
    " .filter((e) => { const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];"
    " return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5; })"
    " .map((e) => e.id || e.textContent); })()"
)


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[Served]:
    """Serve a page with one image that has 5,000 cells."""
    path = draw_image(tmp_path, NUM_CELLS)
    folder = list_given({path.stem: path}, tmp_path / "web" / "corrections")[0].folder
    folder.mkdir(parents=True)
    add_cells(folder / LOG_NAME, NUM_CELLS)
    with serve_page(tmp_path / "web", given=[path]) as page:
        yield page


@pytest.mark.browser
def test_page_when_there_are_5000_cells_then_all_can_be_seen_filtered_and_corrected(
    crowded: Served, browser: Page, tmp_path: Path
) -> None:
    log_path = next((tmp_path / "web" / "corrections").glob(f"*/{LOG_NAME}"))
    side = json.loads(log_path.read_text().partition("\n")[0])["size"][0]
    cells = list(EditLog.open(log_path, (side, side)).cells.values())
    reader = Reader(browser, crowded)
    reader.wait(LOADED)
    reader.wait(f"{COUNT} == '5,000'")
    reader.wait(f"{IN_VIEW}.startsWith('In view: 5,000 cells')")
    drawn = "cellseg.overlay.front.context.getImageData(0, 0, {0}.width, {0}.height).data"
    drawn = drawn.format("cellseg.overlay.front.canvas")
    count = f"(() => {{ let n = 0; const d = {drawn}; for (let i = 3; i < d.length; i += 4)"
    count += " if (d[i]) n++; return n; })()"
    assert reader.ask(count) > 5 * NUM_CELLS  # pixels of outlines

    kept = sum(1 for cell in cells if (cell.score or 0) >= 0.75)
    assert 0 < kept < NUM_CELLS
    browser.evaluate(
        "(() => { const box = document.getElementById('score'); box.value = 0.75;"
        " box.dispatchEvent(new Event('input')); })()"
    )
    reader.wait(f"{COUNT} == '{kept:,}'")
    browser.evaluate(
        "(() => { const box = document.getElementById('score'); box.value = 0.5;"
        " box.dispatchEvent(new Event('input')); })()"
    )
    last = cells[-1]
    x1, y1, x2, y2 = last.box
    browser.evaluate(f"void cellseg.viewer.show({(x1 + x2) / 2}, {(y1 + y2) / 2}, 2)")
    reader.click_at((x1 + x2) / 2, (y1 + y2) / 2)
    reader.wait(f"cellseg.state.selection.has({last.key})")
    reader.press("Delete")
    reader.await_revision(2)
    reader.wait(f"{COUNT} == '4,999'")
    reader.press("z", modifiers=2)
    reader.await_revision(3)
    reader.wait(f"{COUNT} == '5,000'")
    path = reader.download("[data-export=geojson]", tmp_path / "downloads", ".geojson")
    assert len(json.loads(path.read_text("utf-8"))["features"]) == NUM_CELLS
    assert browser.complaints == []


@pytest.mark.browser
def test_page_when_seen_at_any_width_in_light_and_dark_then_all_of_it_can_be_used_and_read(
    browser: Page, tmp_path: Path
) -> None:
    path = tmp_path / "a slide with a rather long name, such as scanners give.tif"
    options = {"resolution": (4e4, 4e4), "resolutionunit": "CENTIMETER", "photometric": "rgb"}
    tifffile.imwrite(path, np.tile(draw_blobs(16), (6, 8, 1)), **options)
    pictures, grounds = tmp_path / "screenshots", set()
    pictures.mkdir()
    with serve_page(tmp_path / "web", given=[path]) as served:
        for width, dark in itertools.product(WIDTHS, (False, True)):
            reader = Reader(browser, served, width, dark)
            reader.wait(LOADED)
            if not reader.areas():
                reader.find()
            reader.wait("!cellseg.overlay.work && !cellseg.overlay.stale")
            reader.wait(f"{COUNT} != '0' && {IN_VIEW}.startsWith('In view: ' + {COUNT})")
            kind = "dark" if dark else "light"
            browser.take_screenshot(pictures / f"page_{width}_{kind}.png")
            assert reader.ask("document.documentElement.scrollWidth") <= width
            assert reader.ask(OUTSIDE) == []
            assert reader.ask(CUT) == []
            assert reader.ask(PALE) == []
            assert reader.ask("document.getElementById('stage').clientHeight") > 300
            assert browser.complaints == []
            grounds.add((dark, reader.ask("getComputedStyle(document.body).backgroundColor")))
    assert len(grounds) == 2  # the same at each width, another one in the dark
    assert len({ground for _, ground in grounds}) == 2
    assert len(list(pictures.iterdir())) == 6
