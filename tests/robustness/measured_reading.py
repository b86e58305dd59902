"""Read malformed files one after another, and measure CPU time and memory of each.

python -m tests.robustness.measured_reading < CASES    # lines of {"kind": ..., "path": ...}

Writes a line for each case: the case with seconds, peak_gb, what the error said, and, where it was
no error of this project, what it was.
"""

import gc
import json
import resource
import sys
import time
from pathlib import Path

from cellseg.errors import CellsegError
from tests.robustness.malformed import READERS

_MOST_BYTES = 16 * 2**30  # of address space, so that no file takes the machine down
_RESET_PEAK = "5"


def read_peak_gb() -> float:
    """Return the peak of resident memory since it was last reset, in 1e9 bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / 1e9
    raise RuntimeError("This system does not tell a process's peak of memory.")


def measure(kind: str, path: Path) -> dict[str, object]:
    """Read one file."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
    said = wrong = ""
    begin = time.process_time()
    try:
        READERS[kind](path)
    except CellsegError as error:
        said = str(error)
    except BaseException as error:
        wrong = f"{type(error).__name__}: {str(error)[:300]}"
    seconds = time.process_time() - begin
    return {"seconds": seconds, "peak_gb": read_peak_gb(), "said": said, "wrong": wrong}


def main() -> None:
    """Read the cases from stdin."""
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    for line in sys.stdin:
        case = json.loads(line)
        found = measure(case["kind"], Path(case["path"]))
        sys.__stdout__.write(json.dumps(case | found) + "\n")
        sys.__stdout__.flush()


if __name__ == "__main__":
    main()
