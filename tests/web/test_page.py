"""The page in a browser, from upload to download, for two people at once."""

import csv
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.report.browser import Page, find_chromium, launch

from .serving import Served, serve_page

INPUT = "#upload input[type=file]"
TEXT_OF = "document.querySelector('{}').innerText"
DRAWN = "[...document.querySelectorAll('#picture img')].some(i => i.complete && i.naturalWidth > 0)"
LIMIT_S = 580
GRADIOS_OWN = "Method not implemented."  # said whenever its stand-in for a stream closes


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Serve a page of its own for each test."""
    (tmp_path / "web").mkdir()
    with serve_page(tmp_path / "web") as page:
        yield page


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Page]:
    """Start a browser that saves downloads in tmp_path/downloads, or skip."""
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    (tmp_path / "downloads").mkdir()
    with launch(chromium, tmp_path / "profile", LIMIT_S) as page:
        page.keep_downloads(tmp_path / "downloads")
        yield page


def _open(browser: Page, served: Served, width: int = 1280, dark: bool = False) -> str:
    session = browser.open(served.address, width, dark)
    # Gradio puts its components in place one after another.
    browser.wait_until(f"document.querySelector('{INPUT}') && document.querySelector('#status p')")
    return session


def _read(browser: Page, element: str) -> str:
    return browser.evaluate(TEXT_OF.format(element))


def _send(browser: Page, path: Path, words: str) -> None:
    """Send a file and wait until the page says something about it."""
    browser.choose_file(INPUT, path)
    browser.wait_until(f"{TEXT_OF.format('#status')}.includes({json.dumps(words)})")


def _move_slider(browser: Page, value: float) -> None:
    browser.evaluate(
        "(() => { const box = document.querySelector('#score-thr input[type=number]');"
        f"box.value = '{value}'; box.dispatchEvent(new Event('input', {{bubbles: true}}));"
        "box.dispatchEvent(new Event('change', {bubbles: true})); box.blur(); })()"
    )


def _download(browser: Page, kind: str, folder: Path, suffix: str) -> Path:
    browser.evaluate(f"document.querySelector('#download-{kind}').click()")
    end = time.monotonic() + 120
    while time.monotonic() < end:
        found = list(folder.glob(f"*{suffix}"))
        if found:
            return found[0]
        browser.evaluate("1")
        time.sleep(0.1)
    raise TimeoutError(f"no {kind} was downloaded")


@pytest.mark.browser
def test_page_when_two_people_use_it_then_each_gets_their_own_cells(
    served: Served, browser: Page, draw: Callable[..., Path], tmp_path: Path
) -> None:
    first = _open(browser, served)
    second = _open(browser, served, width=390, dark=True)
    _send(browser, draw(7, "theirs.tif"), "7 cells")
    browser.switch(first)
    _send(browser, draw(3, "mine.png"), "3 cells")
    browser.wait_until(DRAWN)
    assert _read(browser, "#counts").split()[-1] == "3"
    assert "mine" in browser.evaluate("document.querySelector('#picture img').alt")

    asked = len(served.finder.calls)
    _move_slider(browser, 0.5)
    browser.wait_until(f"{TEXT_OF.format('#status')}.startsWith('2 cells')")
    assert len(served.finder.calls) == asked == 2

    folder = tmp_path / "downloads"
    labels = tifffile.imread(_download(browser, "labels", folder, ".labels.tif"))
    assert np.unique(labels).tolist() == [0, 1, 2]
    features = json.loads(_download(browser, "geojson", folder, ".geojson").read_text())
    assert len(features["features"]) == 2
    with _download(browser, "csv", folder, ".cells.csv").open() as file:
        assert [row["cell"] for row in csv.DictReader(file)] == ["1", "2"]

    browser.switch(second)
    browser.wait_until(DRAWN)
    assert _read(browser, "#status").startswith("7 cells")
    assert [text for text in browser.complaints if GRADIOS_OWN not in text] == []
    assert [url for url in browser.urls if not url.startswith((served.address, "data:"))] == []


@pytest.mark.browser
def test_page_when_a_file_is_bad_then_words_say_so_and_nothing_of_it_stays(
    served: Served, browser: Page, draw: Callable[..., Path], tmp_path: Path
) -> None:
    opened = [_open(browser, served)]
    (tmp_path / "notes.png").write_text("these are notes")
    _send(browser, tmp_path / "notes.png", "notes.png is not an image")
    assert browser.evaluate("document.querySelector('#status [role=alert]') !== null")
    assert browser.evaluate("document.querySelector('#picture img')") is None
    assert served.finder.calls == []

    opened.append(_open(browser, served))
    _send(browser, draw(1, "vast.png", size=300), "use tools/predict.py")
    assert served.finder.calls == []

    opened.append(_open(browser, served))
    _send(browser, draw(0, "empty.png"), "0 cells")
    browser.wait_until(DRAWN)
    assert len(list((served.folder / "pages").iterdir())) == len(opened)
    for session in opened:
        browser.switch(session)
        browser.call("Page.navigate", url="about:blank")
    end = time.monotonic() + 120
    while (kept := list((served.folder / "pages").iterdir())) and time.monotonic() < end:
        time.sleep(0.1)
    assert kept == []
    assert len(served.service.store) == 0


@pytest.mark.browser
def test_page_when_it_makes_room_for_others_then_words_say_so(
    served: Served, browser: Page, draw: Callable[..., Path]
) -> None:
    def open_others() -> None:
        for number in range(served.service.store.most):
            served.service.store.open(f"other {number}")

    _open(browser, served)
    served.finder.may_finish.clear()
    _send(browser, draw(3), "Looking at slide 1.png")
    assert served.finder.busy.wait(60)
    browser.wait_until("document.querySelector('#picture .progress-text')")
    assert browser.evaluate("document.querySelector('#status .progress-text')") is None  # in words
    open_others()
    served.finder.may_finish.set()
    browser.wait_until(f"{TEXT_OF.format('#status')}.includes('reload the page')")

    _open(browser, served)
    _send(browser, draw(2, "next.png"), "2 cells")
    open_others()
    _move_slider(browser, 0.5)
    browser.wait_until(f"{TEXT_OF.format('#status')}.includes('reload the page')")
    assert browser.evaluate("document.querySelector('#picture img')") is None


@pytest.mark.browser
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (320, True)])
def test_page_then_nothing_is_cut_off_and_it_is_as_light_as_its_reader_wants(
    served: Served, browser: Page, draw: Callable[..., Path], width: int, dark: bool
) -> None:
    _open(browser, served, width, dark)
    _send(browser, draw(9), "9 cells")
    browser.wait_until(DRAWN)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    color = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    levels = [float(part) for part in color[color.index("(") + 1 : -1].split(",")][:3]
    assert (sum(levels) < 3 * 128) is dark
