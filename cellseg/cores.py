"""Count the cores that this process may use."""

import math
import os
from pathlib import Path


def count_cores() -> int:
    """Count the cores that this process may use: its affinity, and a container's quota.

    Returns:
        At least 1; where the system tells neither (macOS, Windows), all cores of the machine.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text("utf-8").split()
        limit = math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # no container, or "max": no quota
        return cores
    return max(1, min(cores, limit))
