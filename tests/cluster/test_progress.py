from pathlib import Path

import pytest

from cellseg.cluster.orders import LargeImage, WorkerFacts
from cellseg.cluster.progress import CohortProgress, format_seconds
from cellseg.inference.image_list import InputImage
from cellseg.inference.image_work import ImageOutcome


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_progress_when_time_goes_by_then_a_line_comes_at_least_every_minute() -> None:
    clock, lines = Clock(), []
    progress = CohortProgress(4, lambda line: lines.append((clock.now, line)), clock)
    for second in range(200):
        clock.now = float(second)
        if second < 60:
            progress.tell_waiting(0, 2)
        elif second < 120:
            progress.tell_checking()
        else:
            progress.tick(2, 2)
    times = [0.0, *(when for when, _ in lines), 199.0]
    assert max(b - a for a, b in zip(times, times[1:], strict=False)) < 60
    assert lines[0][1] == "Waiting for workers (0 of 2 are there), 5 s so far."


def test_progress_when_parts_are_done_then_megapixels_and_time_left_follow() -> None:
    clock = Clock()
    progress = CohortProgress(3, lambda line: None, clock)
    progress.add_image(ImageOutcome("a", resumed=True))
    large = LargeImage(None, 10, (), 400.0)
    image = InputImage(Path("b.tif"), "b")
    progress.add_large(image, large)
    clock.now = 100.0
    progress.add_batches(image, 5)
    line = progress.describe(3, 4)
    assert line == "1 of 3 images, 200 Mpx, 0 cells, 5 min left, 3 of 4 workers, 0 failed"
    progress.add_image(ImageOutcome("b", 70, height=20_000, width=20_000))
    progress.add_image(ImageOutcome("c", error="bad"))
    line = progress.describe(3)
    assert line == "3 of 3 images, 400 Mpx, 70 cells, 0 s left, 3 workers, 1 failed"


def test_progress_when_workers_are_checked_then_it_says_what_they_are() -> None:
    lines: list[str] = []
    progress = CohortProgress(1, lines.append)
    progress.tell_workers([WorkerFacts("n1/0", 4, "cuda"), WorkerFacts("n2/1", 4, "cuda")])
    assert lines == ["2 workers (4 threads on cuda) on 2 machines: n1, n2."]
    progress.tell_workers([WorkerFacts("n1/0", 1, "cpu")])
    assert lines[1:] == ["1 worker (1 thread on cpu) on 1 machine: n1."]


@pytest.mark.parametrize(
    ("seconds", "text"), [(42.4, "42 s"), (300, "5 min"), (12_000, "3 h 20 min")]
)
def test_format_seconds_when_long_then_in_larger_units(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
