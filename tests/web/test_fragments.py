"""The page's HTML says what it should, with every name escaped."""

import re

from cellseg.images import ArraySource
from cellseg.web import fragments
from cellseg.web.found_cells import DOWNLOADS, FoundCells
from cellseg.web.uploads import UploadedImage

from .stand_in import BlobFinder, draw_blobs

HOSTILE = '"><script>alert(1)</script>'


def _found(name: str) -> FoundCells:
    pixels = draw_blobs(3)
    return FoundCells.measured(
        name, UploadedImage(pixels), BlobFinder()(ArraySource(pixels)), BlobFinder.palette
    )


def test_fragments_when_names_are_hostile_then_they_are_escaped():
    found = _found(HOSTILE)
    pieces = [
        fragments.make_status(HOSTILE, is_error=True),
        fragments.make_picture(found, HOSTILE, 0.5, True),
        fragments.make_counts(found.count_classes()),
        fragments.make_downloads(found, HOSTILE, 0.5),
    ]
    for piece in pieces:
        assert "<script>" not in piece
        assert "<b>" not in piece
    assert "&lt;b&gt;round&lt;/b&gt;" in pieces[2]


def test_counts_then_every_class_and_the_sum_are_there():
    text = re.sub(r"<[^>]*>", " ", fragments.make_counts(_found("a").count_classes()))
    assert re.sub(r"\s+", " ", text).strip().endswith("round&lt;/b&gt; 1 all cells 3")


def test_downloads_then_there_is_one_link_a_format_at_the_threshold():
    piece = fragments.make_downloads(_found("a"), "token", 0.25)
    assert re.findall(r'id="download-(\w+)"', piece) == list(DOWNLOADS)
    assert piece.count("?score=0.2500&amp;") == len(DOWNLOADS)


def test_status_when_there_is_nothing_to_say_then_it_is_empty():
    assert fragments.make_status("") == ""
    assert 'role="alert"' in fragments.make_status("no", is_error=True)
    assert 'role="status"' in fragments.make_status("yes")
