"""The page in a browser: look, find, filter, correct in every way, undo, take away."""

import csv
import io
import json
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from tests.report.browser import Page

from .reader import COUNT, LOADED, NOTICE, OUTLINED, Reader, find_cells
from .serving import Served, make_service, serve_page
from .stand_in import draw_blobs


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Serve a page of its own for each test."""
    with serve_page(tmp_path / "web") as page:
        yield page


@pytest.mark.browser
def test_page_when_two_people_use_it_then_each_sees_their_own_images(
    served: Served, browser: Page, draw: Callable[..., Path], tmp_path: Path
) -> None:
    first = find_cells(browser, served, draw(7, "mine.tif"))
    first.wait(f"{COUNT} == '4'")  # those of a score of at least 0.5
    context = browser.call_browser("Target.createBrowserContext")["browserContextId"]
    browser.context = context
    second = Reader(browser, served, width=390, dark=True)
    assert second.ask("cellseg.state.images") == []
    second.upload(draw(3, "theirs.png"))
    second.find()
    assert [image["name"] for image in second.ask("cellseg.state.images")] == ["theirs.png"]
    browser.switch(first.session)
    for answer, left in (("no", 1), ("yes", 0)):  # a dialog asks first
        first.click("#remove")
        first.click(f"#ask [value={answer}]")
        first.wait(f"!document.getElementById('ask').open && cellseg.state.images.length == {left}")
    assert len(list((tmp_path / "web").glob("uploads/*/*"))) == 1
    assert browser.complaints == []
    assert [url for url in browser.urls if not url.startswith((served.address, "blob:"))] == []


@pytest.mark.browser
def test_page_when_filters_move_then_counts_follow_and_the_model_is_not_asked(
    served: Served, browser: Page, draw: Callable[..., Path], tmp_path: Path
) -> None:
    reader = find_cells(browser, served, draw(7, "mine.tif"))
    asked = len(served.finder.calls)
    set_value = (
        "(() => {{ const box = document.getElementById('{}'); box.value = '{}';"
        "box.dispatchEvent(new Event('input')); }})()"
    )
    browser.evaluate(set_value.format("score", 0.05))
    reader.wait(f"{COUNT} == '7'")
    reader.click("#counts tbody tr:nth-child(2) input")
    reader.wait(f"{COUNT} == '4'")
    reader.click("#counts tbody tr:nth-child(2) input")
    browser.evaluate(set_value.format("least", 145))
    reader.wait(f"{COUNT} == '0'")
    browser.evaluate(set_value.format("least", ""))
    browser.evaluate(set_value.format("score", 0.5))
    reader.wait(f"{COUNT} == '4'")
    assert len(served.finder.calls) == asked
    assert "<b>round</b>" in reader.ask("document.getElementById('counts').innerText")

    folder = tmp_path / "downloads"
    labels = tifffile.imread(reader.download("[data-export=labels]", folder, ".labels.tif"))
    assert len(np.unique(labels)) == 5
    features = json.loads(
        reader.download("[data-export=geojson]", folder, ".geojson").read_text("utf-8")
    )
    assert len(features["features"]) == 4
    with reader.download("[data-export=csv]", folder, ".cells.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4


@pytest.mark.browser
def test_page_when_cells_are_corrected_then_every_tool_works_and_is_undone(
    served: Served, browser: Page, draw: Callable[..., Path], tmp_path: Path
) -> None:
    reader = find_cells(browser, served, draw(1, "mine.png"))  # one blob at 6, 6, 12 px wide
    assert reader.areas() == [144]

    reader.click_at(12, 12)
    assert reader.ask("cellseg.state.selection.size") == 1
    reader.press("1")  # its class: nothing changes, and it does not count as corrected
    reader.press("2")
    reader.await_revision(2)
    assert reader.labels() == [1]

    reader.press("p")  # a polygon by four points, finished with Enter
    for point in ((40, 40), (60, 40), (60, 60), (40, 60)):
        reader.click_at(*point)
    reader.press("Enter")
    reader.await_revision(3)
    assert reader.areas()[-1] == pytest.approx(400, abs=40)
    for level in (1, 2):  # as it is drawn, its corners are nearly where they were set
        assert reader.ask(OUTLINED.replace("LEVEL", str(level))) == pytest.approx(400, abs=40)

    reader.press("w")  # the new cell is selected; draw it again, larger
    reader.drag((36, 36), (64, 36), (64, 64), (36, 64), (36, 37))
    reader.await_revision(4)
    assert reader.areas()[-1] == pytest.approx(28 * 28, abs=60)

    reader.press("b")
    before = reader.areas()[-1]
    reader.drag((50, 50), (75, 50))
    reader.await_revision(5)
    assert reader.areas()[-1] > before + 50
    reader.press("e")
    larger = reader.areas()[-1]
    reader.drag((36, 40), (64, 40))
    reader.await_revision(6)
    assert reader.areas()[-1] < larger - 50

    reader.press("s")
    reader.drag((50, 30), (50, 70))
    reader.await_revision(7)
    assert len(reader.areas()) == 3

    reader.press("Escape")
    reader.click_at(42, 58)
    reader.click_at(58, 58, modifiers=8)
    assert reader.ask("cellseg.state.selection.size") == 2
    reader.press("m")
    reader.await_revision(8)
    assert len(reader.areas()) == 2

    reader.press("f")
    reader.drag((70, 80), (85, 80), (85, 92), (70, 92), (70, 81))
    reader.await_revision(9)
    reader.press("Delete")
    reader.await_revision(10)
    assert len(reader.areas()) == 2

    for number in range(11, 21):
        reader.press("z", modifiers=2)
        reader.await_revision(number)
    assert reader.areas() == []  # the prediction itself is undone, too
    for number in range(21, 31):
        reader.press("z", modifiers=10)
        reader.await_revision(number)
    assert len(reader.areas()) == 2
    assert browser.complaints == []


@pytest.mark.browser
def test_page_when_browser_and_server_are_killed_then_nothing_is_lost(
    browser: Page, draw: Callable[..., Path], tmp_path: Path
) -> None:
    with serve_page(tmp_path / "web") as served:
        reader = find_cells(browser, served, draw(3, "mine.png"))
        reader.click_at(12, 12)
        reader.press("Delete")
        reader.await_revision(2)
        reader.press("r")
        reader.drag((2, 2), (90, 60))
        reader.await_revision(3)
        cookie = browser.call("Network.getCookies", urls=[served.address])["cookies"][0]
        browser.call("Page.navigate", url="about:blank")
        log = next((tmp_path / "web" / "uploads").glob("*/*/edits.jsonl"))
        copied = log.read_bytes()
    log.write_bytes(copied + b'{"do":"delete","removed":[2')  # as a kill may leave it
    with serve_page(tmp_path / "web") as served:
        browser.call("Network.setCookie", name="cellseg", value=cookie["value"], url=served.address)
        reader = Reader(browser, served)
        reader.wait(LOADED)
        assert reader.areas() == [144, 144]
        assert reader.ask("cellseg.state.log.regions.length") == 1
        reader.press("z", modifiers=2)
        reader.await_revision(4)
        reader.press("z", modifiers=2)
        reader.await_revision(5)
        assert reader.areas() == [144, 144, 144]


@pytest.mark.browser
def test_page_when_cells_were_changed_elsewhere_then_an_edit_still_holds_but_an_undo_does_not(
    served: Served, browser: Page, draw: Callable[..., Path]
) -> None:
    reader = find_cells(browser, served, draw(3, "mine.png"))
    elsewhere = (
        "void fetch(`/api/images/${cellseg.state.image.key}/edit`, {method: 'POST',"
        "headers: {'x-cellseg': '1'}, body: JSON.stringify({do: 'review', revision: REVISION,"
        "points: [[0, 0], [20, 0], [20, 20]]})}).then(answer => (window.answered = answer.ok))"
    )
    browser.evaluate(elsewhere.replace("REVISION", "1"))
    reader.wait("window.answered")
    reader.click_at(12, 12)
    reader.press("Delete")
    reader.await_revision(3)
    assert reader.areas() == [144, 144]
    browser.evaluate("window.answered = null")
    browser.evaluate(elsewhere.replace("REVISION", "3"))
    reader.wait("window.answered")
    reader.press("z", modifiers=2)
    reader.wait(f"{NOTICE}.includes('changed elsewhere')")
    reader.await_revision(4)
    assert reader.ask("cellseg.state.log.regions.length") == 2


@pytest.mark.browser
def test_page_when_reviewed_then_training_data_are_taken_away(
    served: Served, browser: Page, draw: Callable[..., Path], tmp_path: Path
) -> None:
    reader = find_cells(browser, served, draw(3, "mine.png"))
    reader.click("#training")
    reader.wait("!document.getElementById('notice').hidden")
    assert "No region is reviewed" in reader.ask(NOTICE)
    reader.click("#review-all")
    reader.await_revision(2)
    reader.click("#counts tbody tr:nth-child(2) input")  # hidden, but still a cell to learn
    reader.wait(f"{COUNT} == '1'")
    path = reader.download("#training", tmp_path / "downloads", ".zip")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        (labels,) = (name for name in names if re.search(r"train/.*class2.tif", name))
        label_map = tifffile.imread(io.BytesIO(archive.read(labels)))
    assert (label_map > 0).sum() == 144
    assert {f"training-data/{part}/dataset.json" for part in ("train", "val")} < set(names)
    assert sum(name.endswith("image.tif") for name in names) == 2


@pytest.mark.browser
def test_page_when_the_corners_of_a_region_are_clicked_then_it_is_a_polygon(
    served: Served, browser: Page, draw: Callable[..., Path]
) -> None:
    reader = Reader(browser, served)
    reader.upload(draw(16, "mine.png"))
    reader.press("d")
    for point in ((2, 2), (90, 2), (2, 90)):  # the upper left half: 10 of 16 blobs
        reader.click_at(*point)
    reader.press("Enter")
    reader.wait("cellseg.state.log.undo == 'predict' && document.getElementById('job').hidden")
    assert len(reader.areas()) == 10
    reader.press("r")
    corners = [(2, 2), (90, 2), (90, 90)]
    for point in (*corners, (50, 50)):
        reader.click_at(*point)
    reader.press("Backspace")  # takes the last corner back
    reader.press("Enter")
    reader.await_revision(2)
    (region,) = reader.ask("cellseg.state.log.regions")
    assert np.abs(np.array(region) - corners).max() < 1
    reader.drag((10, 10), (40, 60))  # a drag is still a rectangle
    reader.await_revision(3)
    assert len(reader.ask("cellseg.state.log.regions")[1]) == 4
    assert browser.complaints == []


@pytest.mark.browser
def test_page_when_a_file_is_bad_then_one_sentence_says_so_and_other_images_go_on(
    served: Served, browser: Page, draw: Callable[..., Path], tmp_path: Path
) -> None:
    reader = Reader(browser, served)
    (tmp_path / "notes.png").write_text("these are notes")
    browser.choose_file("#upload", tmp_path / "notes.png")
    reader.wait(f"{NOTICE}.includes('notes.png is not an image')")
    browser.choose_file("#upload", draw(1, "vast.png", size=500))
    reader.wait(f"{NOTICE}.includes('vast.png has 500 x 500 pixels')")
    assert reader.ask("cellseg.state.images") == []
    assert list((tmp_path / "web").glob("uploads/*/*")) == []

    reader.upload(draw(2, "good.png"))
    served.finder.fault = RuntimeError("out of memory")
    reader.click("#predict")
    reader.wait(f"{NOTICE}.includes('good.png could not be processed')")
    served.finder.fault = None
    reader.find()
    assert reader.areas() == [144, 144]
    assert served.finder.was_shared is False


@pytest.mark.browser
def test_page_when_the_server_is_gone_then_it_says_so_and_comes_back(
    browser: Page, draw: Callable[..., Path], tmp_path: Path
) -> None:
    with serve_page(tmp_path / "web") as served:
        reader = find_cells(browser, served, draw(3, "mine.png"))
        reader.click_at(12, 12)
    reader.press("Delete")
    reader.wait(f"{NOTICE}.includes('cannot be reached')")
    port = int(served.address.rstrip("/").rpartition(":")[2])
    with serve_page(tmp_path / "web", port=port):
        reader.wait("document.getElementById('notice').hidden")
        reader.wait("cellseg.store.byKey.size == 3")


@pytest.mark.browser
def test_page_when_an_image_is_large_then_cells_appear_tile_by_tile_and_stop_keeps_them(
    browser: Page, tmp_path: Path
) -> None:
    path = tmp_path / "wide.tif"
    tifffile.imwrite(path, np.tile(draw_blobs(16), (20, 20, 1)), tile=(256, 256), photometric="rgb")
    with serve_page(tmp_path / "web", given=[path]) as served:
        reader = Reader(browser, served)
        reader.wait(LOADED)
        assert reader.ask("cellseg.state.image.width") == 1920
        served.finder.may_finish.clear()
        reader.click("#predict")
        assert served.finder.busy.wait(60)
        reader.wait("!document.getElementById('job').hidden")
        reader.click("#cancel")
        time.sleep(0.5)
        served.finder.may_finish.set()
        reader.wait("document.getElementById('scale-note').textContent.startsWith('Stopped')")
        reader.wait("cellseg.state.log.undo == 'predict'")
        assert 0 < len(reader.areas()) < 16 * 400

        reader.press("z", modifiers=2)
        reader.await_revision(2)
        reader.press("d")  # a region: only cells whose middle lies in it
        reader.drag((300, 300), (700, 600))
        reader.wait("cellseg.state.log.revision == 3")
        boxes = reader.ask("[...cellseg.store.byKey.values()].map(c => [c.x1, c.y1, c.x2, c.y2])")
        centers = [((x1 + x2) / 2, (y1 + y2) / 2) for x1, y1, x2, y2 in boxes]
        assert len(centers) > 150
        assert all(298 < x < 702 and 298 < y < 602 for x, y in centers)


@pytest.mark.slow
@pytest.mark.browser
def test_page_when_a_slide_has_20000_pixels_a_side_then_single_pixels_and_a_region_are_shown(
    browser: Page, tmp_path: Path
) -> None:
    path = tmp_path / "slide.tif"
    tile = np.tile(draw_blobs(16, 128), (4, 4, 1))
    tifffile.imwrite(
        path,
        (tile for _ in range(40 * 40)),
        shape=(20_000, 20_000, 3),
        dtype=np.uint8,
        tile=(512, 512),
        compression="zlib",
        photometric="rgb",
        resolution=(4e4, 4e4),
        resolutionunit="CENTIMETER",
    )
    with serve_page(tmp_path / "web", given=[path]) as served:
        reader = Reader(browser, served)
        browser.wait_until(LOADED, 300)
        browser.evaluate("void cellseg.viewer.show(15_000, 12_000, 20)")
        reader.place(0, 0)
        assert reader.ask("cellseg.viewer.view().scale") == pytest.approx(20, rel=0.05)
        reader.wait("cellseg.viewer.main.world.getItemAt(0).getFullyLoaded()")
        bar = reader.ask("document.getElementById('scalebar').textContent")
        assert bar.endswith("\u00b5m")
        browser.evaluate("void cellseg.viewer.main.viewport.zoomBy(0.1, null, true)")
        reader.press("d")
        reader.drag((14_900, 11_900), (15_100, 12_100))
        reader.wait("cellseg.state.log.undo == 'predict'")
        assert len(reader.areas()) > 20
        assert max(width for _, width in served.finder.calls) <= 400


@pytest.mark.browser
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True), (320, False)])
def test_page_then_nothing_is_cut_off_and_it_is_as_light_as_its_reader_wants(
    served: Served, browser: Page, draw: Callable[..., Path], width: int, dark: bool
) -> None:
    reader = find_cells(browser, served, draw(9), width, dark)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    color = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    levels = [float(part) for part in color[color.index("(") + 1 : -1].split(",")][:3]
    assert (sum(levels) < 3 * 128) is dark
    unnamed = reader.ask(
        "[...document.querySelectorAll('button, input, select')].filter(e => !e.labels?.length"
        " && !e.ariaLabel && !e.closest('label') && !e.textContent.trim()).map(e => e.outerHTML)"
    )
    assert unnamed == []


@pytest.mark.browser
def test_page_when_there_is_no_mouse_then_a_cell_is_drawn_and_chosen_by_keys(
    served: Served, browser: Page, draw: Callable[..., Path]
) -> None:
    reader = find_cells(browser, served, draw(2))
    reader.press("n")
    assert reader.ask("cellseg.state.selection.size") == 1
    reader.press("Escape")
    reader.press("p")
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft"):
        reader.place(0, 0)  # which waits until the view rests
        reader.press(" ")
        reader.press(key)
    reader.place(0, 0)
    reader.press(" ")
    reader.press("Enter")
    reader.await_revision(2)
    assert len(reader.areas()) == 3


@pytest.mark.browser
@pytest.mark.parametrize("tool", ["f", "p"])
def test_page_when_two_fingers_touch_then_the_image_moves_and_nothing_is_drawn(
    served: Served, browser: Page, draw: Callable[..., Path], tool: str
) -> None:
    reader = Reader(browser, served)
    reader.upload(draw(1, "mine.png"))
    reader.press(tool)
    x, y = reader.place(48, 48)
    before = reader.ask("cellseg.viewer.view()")

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
        browser.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    touch("touchStart", (x - 20, y))  # the first finger begins to draw
    touch("touchStart", (x - 20, y), (x + 20, y))
    for step in range(1, 6):
        touch("touchMove", (x - 20 - 4 * step, y + 6 * step), (x + 20 + 4 * step, y + 6 * step))
    touch("touchEnd", (x - 40, y + 30))
    touch("touchMove", (x - 60, y + 60))  # the one that stays neither moves nor draws
    touch("touchEnd")
    moved = reader.place(48, 48)
    assert moved == pytest.approx((x, y + 30), abs=8)
    after = reader.ask("cellseg.viewer.view()")
    assert after["scale"] == pytest.approx(2 * before["scale"], rel=0.05)
    assert reader.ask("cellseg.tools.points") == []
    assert reader.ask("cellseg.state.log.revision") == 0

    touch("touchStart", moved)  # one finger draws again
    touch("touchEnd")
    assert len(reader.ask("cellseg.tools.points")) == (tool == "p")
    assert browser.complaints == []


def test_service_when_nothing_was_served_then_it_closes(tmp_path: Path, finder: Any) -> None:
    make_service(tmp_path, finder).close()
