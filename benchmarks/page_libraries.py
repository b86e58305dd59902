"""Compare the page with libraries that draw polygons in a browser, while a mouse drags the image.

    npm install ol leaflet openseadragon @annotorious/openseadragon
    python benchmarks/page_libraries.py node_modules

Headless Chromium (Debian: apt-get install chromium), 1280 x 800, software rendering. Each draws the
same image with 5,000 and 50,000 outlines of 20 points, first whole, then a quarter of its width.
Frames are timed from one to the next for half a minute at most. Writes docs/page_libraries.md.
"""

from __future__ import annotations

import functools
import http.server
import json
import math
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from frame import find_page, make_parser, write_page, write_table
from page_speed import PITCH_PX, draw, find_chromium, launch, measure, open_page

from tests.report.browser import Page

OWN_NAME = "this page: moves a canvas larger than the view, and draws it again in slices"
VIEWS = (1, 4)
POINTS = 20
LONGEST_S, MOST_FRAMES = 30.0, 120
START_TIMING = """
window.times = []; window.timing = true;
(function note(last) {
  requestAnimationFrame(() => {
    const now = performance.now();
    window.times.push(now - last);
    if (window.timing) note(now);
  });
})(performance.now());
"""
PAGE = """<!doctype html><meta charset="utf-8"><style>body {{ margin: 0 }}
#map {{ position: absolute; inset: 0 }}</style><link rel="stylesheet" href="{style}">
<div id="map"></div>{scripts}<script>
const side = {side}, outlines = {outlines};
{code}
</script>"""


@dataclass(frozen=True)
class Library:
    """A library and how it shows outlines on an image.

    Attributes:
        name: As the table says it.
        package: Of npm; its version is read there.
        scripts: Its scripts, in the packages' folder.
        style: Its style sheet there.
        code: JavaScript that shows `outlines`, lists of [x, y], on drawn.jpg of `side` pixels, and
            defines show(view), which brings a part of the width into view, and isReady().
    """

    name: str
    package: str
    scripts: tuple[str, ...]
    style: str
    code: str


LIBRARIES = (
    Library(
        "OpenLayers, canvas, drawn again while the image is dragged",
        "ol",
        ("ol/dist/ol.js",),
        "ol/ol.css",
        """
const extent = [0, 0, side, side];
const projection = new ol.proj.Projection({ code: "px", units: "pixels", extent });
const stroke = new ol.style.Stroke({ color: "#0072b2", width: 1.5 });
const image = new ol.source.ImageStatic({
  url: "drawn.jpg", projection, imageExtent: extent,
});
const features = outlines.map(
  (ring) => new ol.Feature(new ol.geom.Polygon([ring.map(([x, y]) => [x, side - y])])),
);
const map = new ol.Map({
  target: "map",
  layers: [
    new ol.layer.Image({ source: image }),
    new ol.layer.Vector({
      source: new ol.source.Vector({ features }),
      style: new ol.style.Style({ stroke }),
      updateWhileInteracting: true,
    }),
  ],
  view: new ol.View({ projection, center: [side / 2, side / 2], resolution: side / 800 }),
});
let done = false;
map.on("rendercomplete", () => { done = true; });
const show = (view) => {
  done = false;
  map.getView().setCenter([side / 2, side / 2]);
  map.getView().setResolution(side / 800 / view);
  map.render();
};
const isReady = () => done;
""",
    ),
    Library(
        "Leaflet, canvas, drawn again when the mouse is released",
        "leaflet",
        ("leaflet/dist/leaflet.js",),
        "leaflet/dist/leaflet.css",
        """
const map = L.map("map", {
  crs: L.CRS.Simple, preferCanvas: true, zoomSnap: 0, minZoom: -20, inertia: false,
  fadeAnimation: false, zoomAnimation: false,
});
const show = (view) =>
  map.setView([side / 2, side / 2], Math.log2((800 / side) * view), { animate: false });
show(1);
L.imageOverlay("drawn.jpg", [[0, 0], [side, side]]).addTo(map);
for (const ring of outlines) {
  const points = ring.map(([x, y]) => [side - y, x]);
  L.polygon(points, { weight: 1.5, fill: false, interactive: false }).addTo(map);
}
const isReady = () => true;
""",
    ),
    Library(
        "OpenSeadragon with Annotorious, WebGL without a GPU",
        "@annotorious/openseadragon",
        (
            "openseadragon/build/openseadragon/openseadragon.min.js",
            "@annotorious/openseadragon/dist/annotorious-openseadragon.js",
        ),
        "@annotorious/openseadragon/dist/annotorious-openseadragon.css",
        """
const viewer = OpenSeadragon({
  id: "map", showNavigationControl: false, tileSources: { type: "image", url: "drawn.jpg" },
});
let done = false;
viewer.addHandler("open", () => {
  const annotator = AnnotoriousOSD.createOSDAnnotator(viewer, { userSelectAction: "NONE" });
  annotator.setAnnotations(outlines.map((points, number) => {
    const [xs, ys] = [points.map((p) => p[0]), points.map((p) => p[1])];
    const bounds = {
      minX: Math.min(...xs), minY: Math.min(...ys), maxX: Math.max(...xs), maxY: Math.max(...ys),
    };
    const geometry = { bounds, points };
    const id = `a${number}`;
    return { id, bodies: [], target: { annotation: id, selector: { type: "POLYGON", geometry } } };
  }));
  done = true;
});
const show = (view) => { viewer.viewport.goHome(true); viewer.viewport.zoomBy(view, null, true); };
const isReady = () => done;
""",
    ),
)


def main() -> int:
    """Measure and write the page; 1 without a browser."""
    parser = make_parser(__doc__, "200 outlines")
    parser.add_argument("packages", type=Path, help="the folder node_modules")
    args = parser.parse_args()
    chromium = find_chromium()
    if chromium is None:
        print("No Chromium is installed (Debian: apt-get install chromium).")
        return 1
    counts = (200,) if args.quick else (5000, 50_000)
    rows = []
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            own = measure(chromium, count, VIEWS, drag)
            found = {OWN_NAME: list(own.values())}
            for library in LIBRARIES:
                label = f"{library.name} ({read_version(args.packages, library)})"
                found[label] = time_library(chromium, Path(name), args.packages, library, count)
        rows += [(name, f"{count:,}", *map(describe, times)) for name, times in found.items()]
        print(*rows[-len(found) :], sep="\n", flush=True)
    head = ("drawn by", "outlines", "whole image in view, ms", "a quarter of its width, ms")
    body = (
        f"{write_table(head, rows)}\n\nMedians of the times from frame to frame, with the slowest "
        "and their number. OpenLayers' WebGL layer and deck.gl, on which Viv is built, are left "
        "out: they did not finish without a GPU.\n"
    )
    setting = "headless Chromium, 1280 x 800, software rendering, the image dragged by a mouse"
    path = find_page(args, "page_libraries")
    print(write_page(path, "Libraries that draw outlines", "page_libraries.py", body, setting))
    return 0


def read_version(packages: Path, library: Library) -> str:
    """Read the version of a package."""
    return str(json.loads((packages / library.package / "package.json").read_text())["version"])


def describe(times: list[float]) -> str:
    """Write the median of some times, the slowest and their number."""
    if not times:
        return f"none in {LONGEST_S:g} s"
    return f"{np.median(times):.0f} (up to {max(times):.0f}; {len(times)})"


def make_outlines(count: int) -> list[list[list[float]]]:
    """Make wavy circles on the grid of `page_speed.draw`."""
    source, columns = np.random.default_rng(1), math.ceil(math.sqrt(count))
    angle = np.arange(POINTS) * 2 * math.pi / POINTS
    outlines = []
    for number in range(count):
        wave = 1 + 0.12 * np.sin(angle * source.integers(2, 6) + source.random() * 6)
        radius = source.uniform(11, 16) * wave
        x = (number % columns + 0.5) * PITCH_PX + radius * np.cos(angle)
        y = (number // columns + 0.5) * PITCH_PX + radius * np.sin(angle)
        outlines.append(np.stack([x, y], 1).round(1).tolist())
    return outlines


def time_library(
    chromium: str, folder: Path, packages: Path, library: Library, count: int
) -> list[list[float]]:
    """Time the frames of a library, in ms, for each view."""
    draw(folder, count)
    link = folder / "packages"
    if not link.exists():
        link.symlink_to(packages.resolve())
    side = math.ceil(math.sqrt(count)) * PITCH_PX
    scripts = "".join(f'<script src="packages/{path}"></script>' for path in library.scripts)
    text = PAGE.format(
        style=f"packages/{library.style}", scripts=scripts, side=side,
        outlines=json.dumps(make_outlines(count)), code=library.code,
    )  # fmt: skip
    (folder / "library.html").write_text(text)
    profile = folder / "profile"
    with serve(folder) as address, launch(chromium, profile, 500) as page:
        open_page(page, f"{address}/library.html")
        found = []
        for view in VIEWS:
            page.wait_until("isReady()", 200)
            page.evaluate(f"void show({view})")
            page.wait_until("isReady()", 200)
            time.sleep(2.0)
            found.append(drag(page))
    shutil.rmtree(profile, ignore_errors=True)
    return found


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine; yields the address."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.func.log_message = lambda *args: None  # type: ignore[method-assign]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def drag(page: Page) -> list[float]:
    """Drag the image with the mouse; return the times between frames, in ms."""
    x, y, number = 640.0, 400.0, 0
    mouse = {"button": "left", "buttons": 1, "clickCount": 1}
    page.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, **mouse)
    page.evaluate(START_TIMING)
    until = time.monotonic() + LONGEST_S
    while time.monotonic() < until and number < MOST_FRAMES:
        number += 1
        x, y = 640 + 200 * math.sin(number / 9), 400 + 60 * math.sin(number / 5)
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, **mouse)
    page.evaluate("window.timing = false")
    page.call("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, **mouse)
    return list(json.loads(page.evaluate("JSON.stringify(window.times)"))[2:])


if __name__ == "__main__":
    sys.exit(main())
