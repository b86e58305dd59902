"""Taking images and finding cells for several pages with one model."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from cellseg.errors import CellsegError
from cellseg.web.service import SupersededError
from cellseg.web.sessions import PageClosedError


def test_service_when_an_image_is_looked_at_again_then_the_network_is_not_asked(
    service, finder, draw
):
    seen = []
    service.receive("a", draw(5))
    found = service.find("a", lambda done, total: seen.append((done, total)))
    assert seen == [(0, 2), (1, 2), (2, 2)]
    counts = [len(service.store.get("a").found.at(score).cells) for score in (0.05, 0.5, 0.94, 1.0)]
    assert counts == [5, 3, 1, 0]
    assert service.store.get("a").found is found
    assert finder.calls == [(96, 96)]


def test_service_when_two_pages_send_the_same_name_then_results_do_not_mix(service, draw):
    for key, count in (("a", 2), ("b", 7)):
        service.receive(key, draw(count, "same.png"))
    assert len(service.find("a").cells) == 2
    assert len(service.find("b").cells) == 7
    assert len(service.store.get("a").found.cells) == 2
    assert service.store.get("c") is None


def test_service_when_pages_ask_at_once_then_the_network_serves_one_at_a_time(
    service, finder, draw
):
    for index, key in enumerate("abcd"):
        service.receive(key, draw(index + 1, f"{key}.png"))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(service.find, "abcd"))
    assert [len(result.cells) for result in found] == [1, 2, 3, 4]
    assert len(finder.calls) == 4
    assert not finder.was_shared


@pytest.mark.parametrize("change", ["closed", "replaced"])
def test_service_when_nobody_waits_any_more_then_the_work_stops(service, finder, draw, change):
    finder.may_finish.clear()
    service.receive("a", draw(3))
    session = service.store.open("a")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(service.find, "a")
        assert finder.busy.wait(60)
        if change == "closed":
            service.store.close("a")
        else:
            service.receive("a", draw(6, "next.png"))
        finder.may_finish.set()
        with pytest.raises(PageClosedError if change == "closed" else SupersededError):
            running.result(60)
    assert session.found is None
    if change == "replaced":
        assert len(service.find("a").cells) == 6


def test_service_when_a_page_made_room_before_its_turn_then_words_say_so(service, finder, draw):
    service.receive("a", draw(3))
    for key in "bcde":
        service.receive(key, draw(1, f"{key}.png"))
    with pytest.raises(PageClosedError, match="More than 4 pages are open"):
        service.find("a")
    assert finder.calls == []
    service.receive("a", draw(3))
    assert len(service.find("a").cells) == 3


def test_service_when_a_file_is_refused_then_the_result_before_is_gone(service, draw, tmp_path):
    service.receive("a", draw(3))
    service.find("a")
    (tmp_path / "notes.png").write_text("notes")
    with pytest.raises(CellsegError, match=r"notes\.png is not an image"):
        service.receive("a", tmp_path / "notes.png")
    assert service.store.get("a").found is None
    assert service.find("a") is None
    with pytest.raises(CellsegError, match="did not arrive"):
        service.receive("a", tmp_path / "absent.png")


def test_service_when_the_network_fails_then_words_say_so_and_the_next_image_works(
    service, finder, draw
):
    finder.fault = RuntimeError("out of memory")
    service.receive("a", draw(3))
    with pytest.raises(CellsegError, match=r"slide 1\.png could not be processed .*out of memory"):
        service.find("a")
    assert service.store.get("a").found is None
    finder.fault = None
    service.receive("a", draw(3))
    assert len(service.find("a").cells) == 3


def test_service_when_an_image_has_no_cell_then_it_is_found_empty(service, draw):
    service.receive("a", draw(0))
    found = service.find("a")
    assert len(found.cells) == 0
    assert found.rows(10) == []
