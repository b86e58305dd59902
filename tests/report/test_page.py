"""The page as a whole: what it says, what it escapes, and how it looks in a browser."""

import base64
import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from cellseg.analysis.training_logs import TrainingRun
from cellseg.errors import CellsegError
from cellseg.report.inputs import ReportInput, ReportOptions
from cellseg.report.page import build_report
from cellseg.scoring.results import ImageResult
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_crop
from tests.report.browser import find_chromium, launch

HEIGHT, WIDTH = 64, 80
HOSTILE = '"><img src=x onerror="alert(1)"><script>alert(2)</script>&amp;{{ 7 * 7 }}'
VOID = {"meta", "link", "img", "br", "line", "rect", "polyline", "circle"}


def make_cells(cells, height, width, **fields):
    """Turn (x, y, size, label, ...) into cells."""
    rles = [encode_crop(np.ones((c[2], c[2]), bool), c[0], c[1], height, width) for c in cells]
    return Cells.from_rles(rles, height, width, [c[3] for c in cells], **fields)


def make_result(img_id, truth, found):
    """Make a result from truth (x, y, size, label or -1) and found (x, y, size, label, score)."""
    predictions = make_cells(found, HEIGHT, WIDTH, scores=[cell[4] for cell in found])
    ground_truth = make_cells(truth, HEIGHT, WIDTH, ignored=[cell[3] < 0 for cell in truth])
    return ImageResult(img_id, HEIGHT, WIDTH, predictions, ground_truth)


def make_input(classes=("round", "square", "absent"), names=None, run=None, notes=()):
    """Make four images: a perfect one, a bad one, an empty one, one with an ignored region."""
    perfect = [(4, 4, 8, 0), (30, 30, 12, 1)]
    results = [
        make_result(1, perfect, [(*cell, 0.9) for cell in perfect]),
        make_result(
            2,
            [(4, 4, 8, 0), (20, 4, 9, 0), (40, 40, 10, 1)],
            [(4, 4, 8, 1, 0.8), (60, 10, 9, 0, 0.7), (20, 50, 8, 2, 0.2)],
        ),
        make_result(3, [], []),
        make_result(
            4, [(0, 0, 20, -1), (50, 50, 10, 0)], [(2, 2, 9, 0, 0.9), (50, 50, 10, 0, 0.6)]
        ),
    ]
    pixels = np.random.default_rng(0).integers(90, 250, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    palette = [(0, 210, 60), (255, 225, 25), (0, 200, 255)][: len(classes)]
    names = names or ["first", "second", "third", "fourth"]
    return ReportInput(
        *("a run", list(classes), palette, names, results, lambda place: pixels),
        *(run, {"Config": "config.py"}, notes),
    )


@pytest.fixture(scope="module")
def run() -> TrainingRun:
    """Return what two epochs logged."""
    train = [{"loss": 3 / i, "iter": i, "epoch": 1 + i // 5} for i in range(1, 9)]
    val = [{"coco/segm_mAP_50": 0.2 * e, "coco/segm_mAP": 0.1 * e, "iter": 4 * e} for e in (1, 2)]
    return TrainingRun("run", train, val, 4)


@pytest.fixture(scope="module")
def page(run) -> str:
    """Return the page of an ordinary run."""
    return build_report(make_input(run=run))


class Balance(HTMLParser):
    """Check that tags close in order, and collect them."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def parse(html: str) -> Balance:
    """Parse a page whose tags must balance."""
    parsed = Balance()
    parsed.feed(html)
    parsed.close()
    assert parsed.open == []
    return parsed


def read_text(html: str) -> str:
    """Return the page's text with single spaces."""
    return " ".join(" ".join(parse(html).texts).split())


def test_build_report_when_results_are_known_then_says_what_became_of_the_cells(page) -> None:
    text = read_text(page)
    assert (
        "Of 6 annotated cells in 4 images, 3 were found in the right class, 1 was taken for "
        "another class and 2 were missed. 1 prediction matched no cell." in text
    )
    assert "2 of 4 found, 1 taken for another class, 1 missed, 1 false positive" in text
    assert "absent no cell in the ground truth, 0 false positives" in text
    assert "no cell in the ground truth, so left out of the means" in text
    assert "nan" not in text.lower().split()


def test_build_report_when_written_then_has_every_part(page) -> None:
    ids = {attrs.get("id") for _, attrs in parse(page).tags}
    parts = ("classes", "figures", "training", "precision", "confusion", "size", "images")
    assert {*parts, "missed", "false-positives"} <= ids
    links = re.findall(r'href="#([\w-]+)"', page)
    assert set(links) <= ids
    assert "Worst images" in page
    assert "Best images" in page


def test_build_report_when_written_then_every_picture_has_an_alt_text_and_is_inline(page) -> None:
    tags = parse(page).tags
    pictures = [attrs for tag, attrs in tags if tag == "img"]
    assert len(pictures) == 2 * 3 + 2 + 1  # three images with cells, two missed, one unmatched
    for attrs in pictures:
        assert len(attrs["alt"] or "") > 20
        kind, _, data = (attrs["src"] or "").partition("base64,")
        assert kind == "data:image/jpeg;"
        assert base64.b64decode(data).startswith(b"\xff\xd8")
    charts = [attrs for tag, attrs in tags if tag == "svg" and attrs.get("aria-hidden") != "true"]
    assert len(charts) == 5
    assert all(len(attrs["aria-label"] or "") > 20 for attrs in charts)


def test_build_report_when_written_then_asks_for_nothing_and_runs_nothing(page) -> None:
    tags = parse(page).tags
    assert "script" not in {tag for tag, _ in tags}
    for tag, attrs in tags:
        assert not [name for name in attrs if name.startswith("on")], tag
        for name in ("src", "href", "srcset", "data", "action"):
            assert (attrs.get(name) or "#").startswith(("data:", "#")), (tag, attrs)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in page


def test_build_report_when_names_are_hostile_then_they_are_shown_as_text(run) -> None:
    given = make_input((HOSTILE, "</style><b>", "absent"), [HOSTILE, "b", "c", "d"], run, [HOSTILE])
    html = build_report(given)
    tags = parse(html).tags
    assert {"script", "b"} & {tag for tag, _ in tags} <= {"b"}
    assert not [attrs for _, attrs in tags if "onerror" in attrs or attrs.get("src") == "x"]
    assert "{{ 7 * 7 }}" in html
    assert html.count("</style>") == 1
    alts = [attrs["alt"] or "" for tag, attrs in tags if tag == "img"]
    assert any(HOSTILE in alt for alt in alts)


def test_build_report_when_there_is_one_class_and_no_log_then_leaves_parts_out() -> None:
    truth = [(4, 4, 8, 0)]
    given = make_input(("cell",))
    result = make_result(1, truth, [(*truth[0], 0.9)])
    one = ReportInput("one", ["cell"], [], ["x"], [result], given.read_image)
    html = build_report(one)
    text = read_text(html)
    assert "Of 1 annotated cell in 1 image, 1 was found and 0 were missed." in text
    assert "another class" not in text
    assert 'id="training"' not in html
    assert "None: no cell was missed." in text
    assert "None: every prediction matches a cell." in text
    assert "Best images" not in html


def test_build_report_when_nothing_was_predicted_then_all_cells_are_missed() -> None:
    given = make_input()
    results = [make_result(1, [(4, 4, 8, 0), (30, 30, 12, 1)], [])]
    html = build_report(
        ReportInput("none", given.class_names, given.palette, ["x"], results, given.read_image)
    )
    assert "0 were found in the right class" in read_text(html)


def test_build_report_when_there_is_no_cell_to_judge_by_then_says_so() -> None:
    given = make_input()
    empty = ReportInput("e", ["a"], [], ["x"], [make_result(1, [], [])], given.read_image)
    with pytest.raises(CellsegError, match="hold no annotated cell"):
        build_report(empty)


def test_build_report_when_told_to_show_nothing_then_draws_no_picture() -> None:
    html = build_report(make_input(), ReportOptions(max_images=0, max_cells=0))
    assert "<img" not in html
    assert "2 missed, none shown." in read_text(html)


def test_build_report_when_images_are_dense_and_noisy_then_the_page_stays_small() -> None:
    side = 1000
    cells = [(24 * k % 960, 24 * (24 * k // 960), 14, k % 2) for k in range(800)]
    truth = make_cells(cells, side, side)
    found = make_cells(cells[:600], side, side, scores=np.full(600, 0.9))
    results = [ImageResult(k, side, side, found, truth) for k in range(1, 3)]
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    given = ReportInput("dense", ["a", "b"], [], ["x", "y"], results, lambda place: noise)
    assert len(build_report(given)) < 5_000_000


@pytest.fixture(scope="module")
def chromium() -> str:
    """Return a browser, or skip."""
    found = find_chromium()
    if found is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    return found


@pytest.mark.browser
def test_page_when_opened_in_a_browser_then_it_is_whole_and_silent(
    chromium, run, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    long = "an-image-name-without-any-place-to-break-it-" * 4
    given = make_input(("round", HOSTILE, "absent"), [long, HOSTILE, "c", "d"], run)
    path.write_text(build_report(given), encoding="utf-8")
    backgrounds = set()
    with launch(chromium, tmp_path / "profile") as page:
        for width, dark in itertools.product((1280, 390, 320), (False, True)):
            page.open(path, width, dark)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            loaded = "[...document.images].every(i => i.complete && i.naturalWidth > 0)"
            assert page.evaluate(loaded)
            assert page.evaluate("document.images.length") > 0
            assert page.evaluate("[...document.images].every(i => i.alt.length > 20)")
            background = "getComputedStyle(document.body).backgroundColor"
            backgrounds.add((dark, page.evaluate(background)))
            assert page.complaints == []
            assert {url.partition(":")[0] for url in page.urls} <= {"file", "data"}
            assert [url for url in page.urls if url.startswith("file:")] == [path.as_uri()]
    assert len({color for _, color in backgrounds}) == 2
    assert len(backgrounds) == 2


@pytest.mark.browser
def test_browser_when_a_page_misbehaves_then_complaints_say_so(chromium, tmp_path: Path) -> None:
    path = tmp_path / "bad.html"
    path.write_text("<img src='none.png'><script>console.error('a'); throw 1</script>")
    with launch(chromium, tmp_path / "profile") as page:
        page.open(path, 400)
        page.evaluate("1")
        assert len(page.complaints) >= 2
        assert len(page.urls) >= 2


def test_build_report_when_the_loss_is_smoothed_then_it_says_how() -> None:
    noisy = [{"loss": 2.0 + k % 2, "iter": k} for k in range(1, 200)]
    html = build_report(make_input(run=TrainingRun("r", noisy, [], None)))
    assert "exponential moving average (weight 0.8)" in read_text(html)
