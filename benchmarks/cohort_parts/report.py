"""The page of benchmarks/cohort.py, from its raw numbers."""

from pathlib import Path
from typing import Any

from frame import Raw, is_met, write_page, write_table

LEAST_BUSY, MOST_SLOWER = 0.95, 1.05
SMALL_KILLED, LARGE_KILLED_PX = 60, 3000  # images of the part with kills


def write_report(raw: Raw, page: Path) -> str:
    """Write the page from all measurements."""
    sections = [
        _write_waiting(_find(raw, "waiting")),
        _write_memory(_find(raw, "memory")),
        _write_cohort(raw.get("cohort")),
        _write_kills(raw.get("kills")),
    ]
    body = "\n\n".join(section for section in sections if section)
    return write_page(page, "Cohorts on Dask", "cohort.py", f"{body}\n", raw=raw)


def are_targets_met(raw: Raw) -> bool:
    """Return whether all that was measured reaches its target."""
    eight = raw.get("waiting 8", {"busy": 1.0})
    met = [eight["busy"] >= LEAST_BUSY]
    if "cohort" in raw:
        met.append(_compare(raw["cohort"]) <= MOST_SLOWER)
    if "kills" in raw:
        met.append(raw["kills"]["is_alike"])
    return all(met)


def _find(raw: Raw, part: str) -> list[dict[str, Any]]:
    """List the measurements of a part, the smallest first."""
    named = [(int(name.split()[1]), case) for name, case in raw.items() if name.startswith(part)]
    return [case for _, case in sorted(named, key=lambda item: item[0])]


def _write_waiting(cases: list[dict[str, Any]]) -> str:
    """Write how busy workers are."""
    if not cases:
        return ""
    rows = []
    for case in cases:
        target = is_met(case["busy"] >= LEAST_BUSY) if case["workers"] == 8 else ""
        rows.append([case["workers"], f"{case['busy']:.1%}", target])
    text = (
        "## Units that wait\n\n"
        f"Units wait for {cases[0]['unit_s']:g} s in place of predicting, {cases[0]['units']} per "
        "worker, so that cores are not the limit.\n\n"
    )
    return text + write_table(["workers", "busy", "at least 95%"], rows)


def _write_memory(cases: list[dict[str, Any]]) -> str:
    """Write what lists of images add to a process."""
    if not cases:
        return ""
    rows = [
        [
            f"{case['images']:,}",
            f"{case['mb_at_most']:.0f}",
            f"{case['mb_after']:.0f}",
            f"{1000 * case['mb_at_most'] / case['images']:.2f}",
            f"{1000 * case['seconds'] / case['images']:.1f}",
        ]
        for case in cases
    ]
    head = ["images", "MB at most", "MB afterwards", "KB per image", "ms per image"]
    text = (
        "## Memory of client and scheduler\n\n"
        "What a list of images adds to the memory of the process that holds client and scheduler, "
        "while two workers do units that take no time.\n\n"
    )
    return text + write_table(head, rows)


def _compare(case: dict[str, Any]) -> float:
    """Return how much longer two workers take than two processes that share the work perfectly."""
    return case["workers"] / case["half_of_sum"]


def _write_cohort(case: dict[str, Any] | None) -> str:
    """Write what two workers and two processes take."""
    if case is None:
        return ""
    ratio = _compare(case)
    seconds = [f"{case[name]:.0f}" for name in ("workers", "processes", "half_of_sum")]
    row = [*seconds, f"{ratio:.2f}", is_met(ratio <= MOST_SLOWER)]
    head = ["two workers, s", "two processes, s", "their mean, s", "workers / mean", "at most 1.05"]
    text = (
        "## A cohort\n\n"
        f"{case['small']:,} drawn images of 96 px and one of {case['large_px']:,} px: one command "
        "with `--dask local:2`, against two commands that divide the images in turn. Only one of "
        "these has the large image, so the fair comparison is with the mean of their times: what "
        "two processes need that share the work perfectly.\n\n"
    )
    return text + write_table(head, [row])


def _write_kills(case: dict[str, Any] | None) -> str:
    """Write what was killed, and whether that changed anything."""
    if case is None:
        return ""
    jobs = "not run" if case.get("job") is None else case["job"]
    row = [case["worker"], case["client"], jobs, case["runs"], is_met(case["is_alike"])]
    head = ["workers killed", "clients killed", "SLURM jobs cancelled", "runs", "outputs equal"]
    text = (
        "## Kills\n\n"
        f"{case['small']} drawn images of 96 px and one of {case['large_px']:,} px, predicted "
        "again and again on two workers. After each unit or two, a worker, a job or the whole "
        "command is killed; a killed command is started again. The label TIFFs, tables and COCO "
        "files of each run must equal those of one process, byte for byte.\n\n"
    )
    return text + write_table(head, [row])
