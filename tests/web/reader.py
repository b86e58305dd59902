"""A person at a browser, for the tests of the page."""

import json
import time
from pathlib import Path
from typing import Any

from tests.report.browser import Page

from .serving import Served

WAIT_S = 60
LOADED = (
    "document.body.dataset.ready && cellseg.viewer.view() && cellseg.state.log"
    " && cellseg.overlay.front.view && !cellseg.overlay.work"
    " && cellseg.viewer.main.world.getItemAt(0).getFullyLoaded()"
)
READY = "document.body.dataset.ready"
NOTICE = "document.getElementById('notice').textContent"
OUTLINED = (  # the area of the last cell's outline as it is drawn
    "[...cellseg.store.byKey.values()].at(-1).outline(LEVEL).reduce((all, p) => {"
    " for (let i = 0; i < p.length; i += 2) { const j = (i + 2) % p.length;"
    " all += (p[i] * p[j + 1] - p[j] * p[i + 1]) / 2; } return all; }, 0)"
)
COUNT = "document.querySelector('#counts tfoot td:last-child')?.textContent"


class Reader:
    """A person at a browser; positions are pixels of the image."""

    def __init__(self, browser: Page, served: Served, width: int = 1280, dark: bool = False):
        self.browser = browser
        self.session = browser.open(served.address, width, dark)
        browser.wait_until(READY)

    def ask(self, expression: str) -> Any:
        return json.loads(self.browser.evaluate(f"JSON.stringify({expression})"))

    def wait(self, expression: str) -> None:
        self.browser.wait_until(expression, WAIT_S)

    def upload(self, path: Path) -> None:
        self.browser.evaluate("void (cellseg.viewer.image = null)")
        self.browser.choose_file("#upload", path)
        self.wait(f"{LOADED} || !document.getElementById('notice').hidden")

    def click(self, selector: str) -> None:
        self.browser.evaluate(f"void document.querySelector({selector!r}).click()")

    def press(self, key: str, modifiers: int = 0) -> None:
        """Press a key; modifiers are 2 for Ctrl, 8 for Shift."""
        text = {} if modifiers & 2 or len(key) > 1 else {"text": key}
        for kind in ("keyDown", "keyUp"):
            own = text if kind == "keyDown" else {}
            self.browser.call(
                "Input.dispatchKeyEvent", type=kind, key=key, modifiers=modifiers, **own
            )

    def place(self, x: float, y: float) -> tuple[float, float]:
        self.wait(
            "JSON.stringify(cellseg.viewer.main.viewport.getBounds(true)) =="
            " JSON.stringify(cellseg.viewer.main.viewport.getBounds())"
        )
        left, top = self.ask(
            f"(([a, b], r) => [a + r.left, b + r.top])(cellseg.viewer.toScreen({x}, {y}),"
            " document.getElementById('viewer').getBoundingClientRect())"
        )
        return left, top

    def mouse(self, kind: str, x: float, y: float, modifiers: int = 0) -> None:
        is_down = kind != "mouseReleased"
        self.browser.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x,
            y=y,
            button="left" if kind != "mouseMoved" or is_down else "none",
            buttons=int(is_down),
            clickCount=1,
            modifiers=modifiers,
        )

    def click_at(self, x: float, y: float, modifiers: int = 0) -> None:
        left, top = self.place(x, y)
        self.mouse("mousePressed", left, top, modifiers)
        self.mouse("mouseReleased", left, top, modifiers)

    def drag(self, *points: tuple[float, float]) -> None:
        places = [self.place(*point) for point in points]
        self.mouse("mousePressed", *places[0])
        for (x1, y1), (x2, y2) in zip(places, places[1:], strict=False):
            for step in range(1, 7):
                self.mouse("mouseMoved", x1 + (x2 - x1) * step / 6, y1 + (y2 - y1) * step / 6)
        self.mouse("mouseReleased", *places[-1])

    def await_revision(self, number: int) -> None:
        try:
            self.browser.wait_until(f"cellseg.state.log.revision == {number}", 20)
        except TimeoutError as error:
            found = self.ask("cellseg.state.log.revision")
            raise AssertionError(f"{found}, not {number}: {self.ask(NOTICE)}") from error

    def find(self) -> None:
        self.click("#predict")
        self.wait("cellseg.state.log.undo == 'predict' && document.getElementById('job').hidden")

    def areas(self) -> list[int]:
        return sorted(self.ask("[...cellseg.store.byKey.values()].map(cell => cell.area)"))

    def labels(self) -> list[int]:
        return self.ask("[...cellseg.store.byKey.values()].map(cell => cell.label)")

    def download(self, selector: str, folder: Path, suffix: str) -> Path:
        self.click(selector)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            found = list(folder.glob(f"*{suffix}"))
            if found:
                return found[0]
            self.browser.evaluate("1")
            time.sleep(0.1)
        raise TimeoutError(f"nothing was downloaded for {selector}")


def find_cells(
    browser: Page, served: Served, path: Path, width: int = 1280, dark: bool = False
) -> Reader:
    """Open the page, upload an image and find its cells."""
    reader = Reader(browser, served, width, dark)
    reader.upload(path)
    reader.find()
    return reader
