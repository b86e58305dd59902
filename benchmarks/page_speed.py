"""Measure how long a frame of the page takes while an image with many cells is moved.

    python benchmarks/page_speed.py
    python benchmarks/page_speed.py --quick

Headless Chromium (Debian: apt-get install chromium), 1280 x 800, software rendering. The whole
image is in view, then a quarter of its width, then a sixteenth. The median frame must take at most
50 ms with 5,000 cells. Writes docs/page_speed.md.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from frame import find_page, make_parser, write_page, write_table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from cellseg.structures.runs import Crop  # noqa: E402
from cellseg.web.edit_log import EditLog, EditStep  # noqa: E402
from cellseg.web.page_images import LOG_NAME, list_given  # noqa: E402
from tests.report.browser import Page, find_chromium, launch  # noqa: E402
from tests.web.serving import serve_page  # noqa: E402

TARGET_MS, TARGET_CELLS = 50.0, 5000
PITCH_PX = 40  # from cell to cell
VIEWS = (1, 4, 16)
READY = (
    "document.body.dataset.ready && cellseg.overlay.front.view && !cellseg.overlay.work"
    " && cellseg.viewer.main.world.getItemAt(0).getFullyLoaded()"
)
MEASURE = """
window.measured = null;
(async () => {
  const { viewport } = cellseg.viewer.main;
  const times = [];
  let last = performance.now();
  for (let i = 0; i < FRAMES; i++) {
    const width = viewport.getBounds().width;
    const step = new OpenSeadragon.Point(0.03 * width * Math.sin(i / 9), 0.02 * width);
    viewport.panBy(i % 40 < 20 ? step : step.times(-1), true);
    await new Promise(requestAnimationFrame);
    times.push(performance.now() - last);
    last = performance.now();
  }
  window.measured = times;
})();
"""


def main() -> int:
    """Measure and write the page; 1 if the target is missed."""
    parser = make_parser(__doc__, "200 cells and 20 frames")
    args = parser.parse_args()
    chromium = find_chromium()
    if chromium is None:
        print("No Chromium is installed (Debian: apt-get install chromium).")
        return 1
    counts = (200,) if args.quick else (TARGET_CELLS, 50_000)
    rows, is_met = [], True
    for count in counts:
        move = partial(move_view, frames=20 if args.quick else 240)
        times = measure(chromium, count, VIEWS, move)
        for view, own in times.items():
            middle, worst = float(np.median(own)), float(np.percentile(own, 95))
            rows.append((f"{count:,}", f"1/{view}", f"{middle:.1f}", f"{worst:.1f}"))
            is_met &= count != TARGET_CELLS or middle <= TARGET_MS
    write(args, rows, is_met)
    return 0 if is_met else 1


def write(args: Namespace, rows: list[tuple[str, ...]], is_met: bool) -> None:
    """Write the page."""
    head = ("cells", "part of the width in view", "median frame, ms", "95% of frames within, ms")
    words = "met" if is_met else "**missed**"
    body = (
        f"{write_table(head, rows)}\n\nTarget: a median of at most {TARGET_MS:g} ms with "
        f"{TARGET_CELLS:,} cells: {words}.\n"
    )
    setting = "headless Chromium, 1280 x 800, software rendering, the view moved each frame"
    page = write_page(
        find_page(args, "page_speed"), "Speed of the page", "page_speed.py", body, setting
    )
    print(page)


def measure(
    chromium: str, count: int, views: Sequence[int], move: Callable[[Page], list[float]]
) -> dict[int, list[float]]:
    """Measure the frames of the page while one image is moved.

    Args:
        chromium: The browser.
        count: Number of cells.
        views: What is in view: the width divided by these.
        move: Moves the image; returns the times of the frames in ms.

    Returns:
        The times for each of the views.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = draw(folder, count)
        given = list_given({path.stem: path}, folder / "corrections")[0].folder
        given.mkdir(parents=True)
        add_cells(given / LOG_NAME, count)
        with (
            serve_page(folder, given=[path]) as served,
            launch(chromium, folder / "profile", 500) as page,
        ):
            open_page(page, served.address)
            found = {}
            for view in views:
                page.wait_until(READY)
                page.evaluate("void cellseg.viewer.main.viewport.goHome(true)")
                page.evaluate(f"void cellseg.viewer.main.viewport.zoomBy({view}, null, true)")
                time.sleep(1.0)
                page.wait_until(READY)
                found[view] = move(page)
            return found


def open_page(page: Page, address: str) -> None:
    """Open an address in a window of 1280 x 800."""
    page.open(address, 1280)
    size = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    page.call("Emulation.setDeviceMetricsOverride", **size)


def move_view(page: Page, frames: int) -> list[float]:
    """Move the view for some frames; returns their times in ms."""
    page.evaluate(MEASURE.replace("FRAMES", str(frames)))
    page.wait_until("window.measured")
    return list(json.loads(page.evaluate("JSON.stringify(window.measured)"))[3:])


def draw(folder: Path, count: int) -> Path:
    """Draw an image large enough for so many cells; its cells are those of `add_cells`."""
    side = math.ceil(math.sqrt(count)) * PITCH_PX
    path = folder / "drawn.jpg"
    noise = np.random.default_rng(0).integers(190, 230, (side // 8 + 1, side // 8 + 1, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC))
    return path


def add_cells(path: Path, count: int) -> None:
    """Write a log of so many cells, wavy disks of about 30 pixels."""
    from cellseg.web.rings import encode_crop_rings

    source = np.random.default_rng(1)
    columns = math.ceil(math.sqrt(count))
    y, x = np.mgrid[:36, :36] - 17.5
    angle, distance = np.arctan2(y, x), np.hypot(x, y)
    shapes = []
    for _ in range(50):
        wave = 1 + 0.12 * np.sin(angle * source.integers(2, 6) + source.random() * 6)
        mask = distance < source.uniform(11, 16) * wave
        shapes.append(encode_crop_rings(Crop(mask, 0, 0)))
    rings = []
    for number in range(count):
        left, top = number % columns * PITCH_PX + 2, number // columns * PITCH_PX + 2
        shape = shapes[number % len(shapes)]
        rings.append([[ring[0] + left, ring[1] + top, *ring[2:]] for ring in shape])
    side = columns * PITCH_PX
    log = EditLog.open(path, (side, side))
    labels = source.integers(0, 2, count).tolist()
    scores = source.uniform(0.5, 1, count).round(3).tolist()
    log.apply(EditStep("predict", added=log.new_cells(rings, labels, scores)))


if __name__ == "__main__":
    sys.exit(main())
