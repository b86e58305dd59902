"""Talk to a headless Chromium through pipes (its DevTools protocol), with nothing installed."""

import base64
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LIMIT_S = 240
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
)


def find_chromium() -> str | None:
    """Return the path of a Chromium; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One open page; `complaints` holds what the console and the log said, `urls` what it asked."""

    def __init__(self, commands: Any, answers: Any) -> None:
        self._commands, self._answers = commands, answers
        self._number = 0
        self._session: str | None = None
        self.context: str | None = None
        self.complaints: list[str] = []
        self.urls: list[str] = []

    def call_browser(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command to the browser; return its result."""
        return self._call(None, method, params)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command to the page, or to the browser before there is one; return its result."""
        return self._call(self._session, method, params)

    def _call(self, session: str | None, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send a command to a page, or to the browser when None."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def open(self, address: Path | str, width: int, dark: bool = False) -> str:
        """Open a file or URL at a width in CSS pixels, and wait until all of it is there.

        Returns:
            What `switch` takes to come back to this page after another was opened.
        """
        self._session = None
        self.complaints, self.urls = [], []
        own = {} if self.context is None else {"browserContextId": self.context}
        target = self.call("Target.createTarget", url="about:blank", **own)["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        url = address if isinstance(address, str) else address.resolve().as_uri()
        self.call("Page.navigate", url=url)
        while True:
            message = self._read()
            if (message.get("method"), message.get("sessionId")) == (
                "Page.loadEventFired",
                self._session,
            ):
                return attached["sessionId"]

    def switch(self, session: str) -> None:
        """Go back to a page that `open` opened."""
        self._session = session

    def wait_until(self, expression: str, limit_s: float = 120) -> None:
        """Evaluate JavaScript until it is true."""
        end = time.monotonic() + limit_s
        while not self.evaluate(f"Boolean({expression})"):
            if time.monotonic() > end:
                raise TimeoutError(f"{expression} is not true after {limit_s} s.")
            time.sleep(0.1)

    def choose_file(self, selector: str, path: Path) -> None:
        """Give a file to the input element that a CSS selector finds, as its user would."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path.resolve())])

    def keep_downloads(self, folder: Path) -> None:
        """Let every page save downloads into a folder."""
        params = {"behavior": "allow", "downloadPath": str(folder.resolve())}
        self._call(None, "Browser.setDownloadBehavior", params)

    def take_screenshot(self, path: Path) -> None:
        """Write a PNG of the whole page, not only of the part in view."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def evaluate(self, expression: str) -> Any:
        """Evaluate JavaScript and return its value."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def _read(self) -> dict[str, Any]:
        """Read one message, noting what it says about the page."""
        text = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("Chromium ended early.")
            text += byte
        message = json.loads(text)
        method, params = message.get("method"), message.get("params", {})
        if method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(str(params["args"]))
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif method == "Network.requestWillBeSent":
            self.urls.append(params["request"]["url"])
        return message


@contextmanager
def launch(chromium: str, profile: Path, limit_s: float = LIMIT_S) -> Iterator[Page]:
    """Start a browser with a profile of its own and end it afterwards, or after so many seconds."""
    to_browser, commands = os.pipe()
    answers, from_browser = os.pipe()
    # Chromium reads commands from descriptor 3 and writes answers to descriptor 4.
    script = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
    arguments = (*FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank")
    process = subprocess.Popen(
        ["bash", "-c", script, "chromium", chromium, *arguments],
        pass_fds=(to_browser, from_browser),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    watchdog = threading.Timer(limit_s, process.kill)  # a browser that hangs must not hang us
    watchdog.start()
    with os.fdopen(commands, "wb") as writer, os.fdopen(answers, "rb") as reader:
        try:
            yield Page(writer, reader)
        finally:
            watchdog.cancel()
            process.terminate()
            process.wait(timeout=60)
