"""Jobs run one at a time, can be stopped, and leave alone what people have done."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cellseg.errors import CellsegError
from cellseg.web import prediction as module
from cellseg.web.cell_edits import make_step
from cellseg.web.page_images import OpenImages, PageImage
from cellseg.web.prediction import PredictionQueue
from cellseg.web.sessions import FullError

from .stand_in import BlobFinder


@pytest.fixture
def queue(finder: BlobFinder) -> Any:
    """Return a queue that is closed afterwards."""
    queue = PredictionQueue(finder, OpenImages({}, finder.class_names))
    yield queue
    finder.may_finish.set()
    queue.close()


@pytest.fixture
def image(draw: Callable[..., Path], tmp_path: Path) -> PageImage:
    return PageImage("k", "a.png", draw(3, "a.png"), tmp_path / "folder")


def wait(queue: PredictionQueue, image: PageImage, *states: str) -> dict[str, Any]:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        job = queue.describe(image, 0)
        if job is not None and job["state"] in states:
            return job
        time.sleep(0.01)
    raise TimeoutError


def find(queue: PredictionQueue, image: PageImage, outline: Any = None) -> dict[str, Any]:
    queue.start(image, outline, None)
    return wait(queue, image, "done", "failed", "stopped")


def edit(queue: PredictionQueue, image: PageImage, **action: Any) -> None:
    log = queue.images.open(image).log
    log.apply(make_step(log, image.canvas(2), action))


def areas(queue: PredictionQueue, image: PageImage) -> list[int]:
    return sorted(cell.area for cell in queue.images.open(image).log.cells.values())


def test_job_then_cells_are_there_and_a_second_one_replaces_them(
    queue: PredictionQueue, image: PageImage, finder: BlobFinder
) -> None:
    job = find(queue, image)
    assert (job["state"], job["done"], job["total"]) == ("done", 1, 1)
    assert job["words"].startswith("3 cells")
    find(queue, image)
    assert areas(queue, image) == [144, 144, 144]
    assert len(finder.calls) == 2


def test_job_when_cells_were_corrected_then_they_stay(
    queue: PredictionQueue, image: PageImage
) -> None:
    find(queue, image)
    log = queue.images.open(image).log
    first, second, third = sorted(log.cells.values(), key=lambda cell: cell.box)
    box = [[first.box[0], 6], [first.box[0] + 13, 6], [first.box[0] + 13, 20], [first.box[0], 20]]
    edit(queue, image, do="redraw", keys=[first.key], points=box)
    edit(queue, image, do="delete", keys=[third.key])
    x1, y1, x2, y2 = third.box
    region = [[x1 - 2, y1 - 2], [x2 + 2, y1 - 2], [x2 + 2, y2 + 2], [x1 - 2, y2 + 2]]
    edit(queue, image, do="review", points=region)
    find(queue, image)
    assert areas(queue, image) == [144, 13 * 14]  # what was deleted stays so where it is reviewed
    assert second.key not in log.cells


def test_job_of_a_region_then_cells_outside_stay_as_they_are(
    queue: PredictionQueue, image: PageImage
) -> None:
    find(queue, image)
    log = queue.images.open(image).log
    keys = {cell.box: key for key, cell in log.cells.items()}
    find(queue, image, ((0.0, 0.0), (25.0, 0.0), (25.0, 25.0), (0.0, 25.0)))
    changed = [box for key, box in ((c.key, c.box) for c in log.cells.values()) if keys[box] != key]
    assert changed == [(6, 6, 18, 18)]


def test_jobs_then_the_model_serves_one_at_a_time_and_others_wait(
    queue: PredictionQueue, finder: BlobFinder, draw: Callable[..., Path], tmp_path: Path
) -> None:
    images = [
        PageImage(str(i), f"{i}.png", draw(i, f"{i}.png"), tmp_path / f"{i}") for i in range(4)
    ]
    finder.may_finish.clear()
    for image in images:
        queue.start(image, None, None)
    assert finder.busy.wait(60)
    told = [queue.describe(image, 0) for image in images]
    assert [(job or {})["ahead"] for job in told] == [0, 1, 2, 3]
    queue.cancel(images[3])
    finder.may_finish.set()
    for image in images[:3]:
        wait(queue, image, "done")
    assert not finder.was_shared
    assert [len(areas(queue, image)) for image in images] == [0, 1, 2, 0]
    assert wait(queue, images[3], "stopped")["words"] == "Stopped."


def test_jobs_when_too_many_wait_then_refused(
    queue: PredictionQueue, finder: BlobFinder, image: PageImage, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 1)
    finder.may_finish.clear()
    queue.start(image, None, None)
    assert finder.busy.wait(60)
    others = [PageImage(k, k, image.path, tmp_path / k) for k in "bc"]
    queue.start(others[0], None, None)
    with pytest.raises(FullError, match="Too many"):
        queue.start(others[1], None, None)


def test_job_when_the_image_is_removed_meanwhile_then_nothing_is_kept(
    queue: PredictionQueue, finder: BlobFinder, image: PageImage
) -> None:
    finder.may_finish.clear()
    queue.start(image, None, None)
    assert finder.busy.wait(60)
    queue.forget(image)
    image.remove()
    finder.may_finish.set()
    other = PageImage("o", "o", image.path, image.folder.with_name("other"))
    find(queue, other)
    assert not image.folder.exists()
    assert queue.describe(image, 0) is None


@pytest.mark.parametrize("fault", [RuntimeError("out of memory"), MemoryError()])
def test_job_when_the_network_fails_then_words_say_so_and_the_next_image_works(
    queue: PredictionQueue, finder: BlobFinder, image: PageImage, fault: Exception
) -> None:
    finder.fault = fault
    job = find(queue, image)
    assert job["state"] == "failed"
    assert job["words"].startswith("a.png could not be processed")
    finder.fault = None
    assert find(queue, image)["state"] == "done"


def test_job_with_another_model_then_it_is_loaded_once_and_its_cells_replace_the_others(
    finder: BlobFinder, image: PageImage
) -> None:
    other, loads = BlobFinder(), []
    other.model_name = "other"
    images = OpenImages({}, finder.class_names)
    queue = PredictionQueue(finder, images, {"other": lambda: loads.append(1) or other})
    try:
        find(queue, image)
        for _ in range(2):
            queue.start(image, None, None, "other")
            assert wait(queue, image, "done")["words"].startswith("3 cells")
        with pytest.raises(CellsegError, match="no such model"):
            queue.start(image, None, None, "absent")
    finally:
        queue.close()
    assert (len(finder.calls), len(other.calls), len(loads)) == (1, 2, 1)
    assert areas(queue, image) == [144, 144, 144]
    assert set(image.choices) == {"blobs", "other"}


def test_queue_when_closed_while_the_network_computes_then_it_says_so(
    queue: PredictionQueue,
    finder: BlobFinder,
    image: PageImage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finder.may_finish.clear()
    queue.start(image, None, None)
    assert finder.busy.wait(60)
    assert queue.close() is False
    monkeypatch.setattr(module, "_LONGEST_END_S", 60.0)
    finder.may_finish.set()
    assert queue.close() is True
