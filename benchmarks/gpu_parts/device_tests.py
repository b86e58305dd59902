"""The tests that compare devices, and on request the whole fast suite, beside a GPU."""

import re
import subprocess
import sys
import time

from frame import ROOT

from .report import Report, Row, Settings

LOG = "tests.log"
_KEPT_BYTES = 2 << 20  # of the log, from its end
_COUNTS = re.compile(r"(\d+) (passed|failed|skipped|errors?|xfailed|deselected)")
_SMALL = ("tests/models/test_fp32_roi_extractor.py", "-k", "cpu")
_DEVICE = ("tests", "-k", "cuda")


def run(settings: Settings, report: Report) -> None:
    """Run the tests of the `device` fixture."""
    chosen = settings.pick(_SMALL, _DEVICE)
    report.attempt("device tests", lambda: run_tests(settings, chosen))


def run_suite(settings: Settings, report: Report) -> None:
    """Run the whole fast suite; much of it takes the GPU by itself where there is one."""
    chosen = settings.pick(_SMALL, ("tests", "-n", "12"))
    report.attempt("fast suite", lambda: run_tests(settings, chosen))


def run_tests(settings: Settings, chosen: tuple[str, ...]) -> Row:
    """Run tests in a process of their own and keep the end of their log.

    Args:
        settings: Say how long they may take, and where the log goes.
        chosen: What pytest is asked for.

    Returns:
        How many passed, failed and were skipped, the names of those that failed, and seconds.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-o", "minversion=7"]
    log = settings.out / LOG
    begin = time.monotonic()
    with log.open("wb") as sink:
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider", *chosen],
            cwd=ROOT,
            stdout=sink,
            stderr=subprocess.STDOUT,
            timeout=max(settings.seconds_left(), 1),
            check=False,
        )
    text = log.read_bytes()[-_KEPT_BYTES:].decode(errors="replace")
    log.write_text(text)
    row: Row = {"exit_status": done.returncode, "seconds": time.monotonic() - begin}
    row |= read_counts(text)
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", text, re.MULTILINE)
    return row | ({"failed_tests": failed[:100]} if failed else {})


def read_counts(text: str) -> dict[str, int]:
    """Read the last line of pytest's summary, such as "3 failed, 10 passed in 2.10s"."""
    lines = [line for line in text.splitlines() if _COUNTS.search(line) and " in " in line]
    return {name: int(count) for count, name in _COUNTS.findall(lines[-1])} if lines else {}
