"""Name a process so that another one with the same id, later, is not taken for it."""

import os
import subprocess
from pathlib import Path

_IS_WINDOWS = os.name == "nt"
_ASK_WINDOWS = "(Get-Process -Id {pid}).StartTime.Ticks"
_LONGEST_ANSWER_S = 30


def identify_process(pid: int) -> str:
    """Name a process by its id and when it started, as ids come again.

    Args:
        pid: The process's id.

    Returns:
        The id, a space and the time of its start, in whatever form the system tells it; "" where
        the process has ended, or the system does not tell.
    """
    started = _read_start(pid) if Path("/proc/self/stat").exists() else _ask_start(pid)
    return f"{pid} {started}" if started else ""


def _read_start(pid: int) -> str:
    """Read when a process started, in clock ticks since Linux did; "" where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _ask_start(pid: int) -> str:
    """Ask the system's own program when a process started: ps (macOS), or PowerShell."""
    if _IS_WINDOWS:
        command = ["powershell", "-NoProfile", "-Command", _ASK_WINDOWS.format(pid=pid)]
    else:
        command = ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]
    try:
        answer = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace",
            timeout=_LONGEST_ANSWER_S, env={**os.environ, "LC_ALL": "C"}, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    words = answer.stdout.split()
    if _IS_WINDOWS:
        return "".join(words)
    return "" if not words or words[0].startswith("Z") else " ".join(words[1:])
