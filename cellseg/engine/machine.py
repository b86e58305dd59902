"""What this machine can train: its device, cores and memory, and the loaders that suit it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from cellseg.cores import count_cores

CPU_BATCH, GPU_BATCH, SMALL_BATCH = 4, 8, 2
_STEP_GB = 0.6  # a crop of 320 px in the light model's training step, rounded up
_BASE_GB = 1.5  # Python, PyTorch, the model and its optimizer, rounded up
_MOST_WORKERS = 4


@dataclass(frozen=True)
class Machine:
    """What a training may use.

    Attributes:
        device: 'cuda', 'mps' or 'cpu', as MMEngine chooses it.
        name: The GPU's or processor's name.
        cores: Cores that this process may use.
        memory_gb: Memory of the device in GB; None where the system does not tell.
    """

    device: str
    name: str
    cores: int
    memory_gb: float | None

    @property
    def batch_size(self) -> int:
        """Crops for a training step that the memory holds."""
        wanted = GPU_BATCH if self.device == "cuda" else CPU_BATCH
        if self.memory_gb is not None and self.memory_gb < _BASE_GB + _STEP_GB * wanted:
            return SMALL_BATCH
        return wanted

    @property
    def num_steps(self) -> int:
        """Steps that train a model further in minutes on a GPU, and in less than an hour else."""
        return 500 if self.device == "cuda" else 200

    @property
    def num_workers(self) -> int:
        """Processes that read images beside the training."""
        if self.device == "cpu":
            return 1 if self.cores > 1 else 0
        return max(min(_MOST_WORKERS, self.cores - 1), 0)

    def describe(self) -> str:
        """Say in a few words what the machine is."""
        memory = "" if self.memory_gb is None else f", {self.memory_gb:.0f} GB of memory"
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        if self.device == "cuda":
            return f"{self.name}{memory}"
        return f"CPU with {cores} ({self.name}){memory}"

    def explain_batch(self) -> str:
        """Say why the batch is as large as it is."""
        if self.device == "cuda":
            return f"crops for a step, on {self.name}"
        if self.batch_size == SMALL_BATCH:
            return f"crops for a step: more may not fit into {self.memory_gb or 0:.0f} GB of memory"
        return "crops for a step: enough for the batch norms, and a CPU takes longer for more"

    def explain_workers(self) -> str:
        """Say why there are so many workers."""
        if not self.num_workers:
            return "there is one core only, so the training reads the images itself"
        if self.device == "cpu":
            return "one process reads images, the other cores compute"
        return f"processes that read images; {self.cores} cores"


def look_at_machine() -> Machine:
    """Find the device that training will use, and what it has."""
    cores = count_cores()
    if torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(0)
        return Machine("cuda", facts.name, cores, facts.total_memory / 1e9)
    device = "mps" if torch.backends.mps.is_available() else "cpu"
    return Machine(device, _name_processor(), cores, _read_memory_gb())


def _name_processor() -> str:
    """Return the processor's name as the system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _read_memory_gb() -> float | None:
    """Return the machine's memory in GB, or a container's limit; None where it is not told."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):
        return None
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text("utf-8")) / 1e9
    except (OSError, ValueError):  # no container, or "max": no limit
        return total
    return min(total, limit)
