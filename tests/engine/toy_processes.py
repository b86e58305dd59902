"""Train the toy of test_exact_resume_hook.py in several processes, as torchrun starts them.

    torchrun --nproc-per-node=2 --max-restarts=1 tests/engine/toy_processes.py FOLDER [SIGNAL]

The last process and its data loader get the signal once, in the middle of the second epoch.
"""

import os
import sys
from pathlib import Path

import torch
from mmengine.config import Config

from cellseg.engine.preemption_hook import count_restarts
from cellseg.engine.process_group import init_process_group
from tests.engine.test_exact_resume_hook import STEPS, train

if __name__ == "__main__":
    folder, numbers = Path(sys.argv[1]), list(map(int, sys.argv[2:]))
    restarts = count_restarts()
    is_first = not restarts and os.environ["RANK"] == "1"
    cfg = Config({"work_dir": str(folder)})
    init_process_group(cfg, "pytorch")
    stop_at = STEPS + 2 if numbers and is_first else None
    weights, _ = train(folder, 1, stop_at, bool(restarts), cfg, *numbers, minutes=1e-9)
    if restarts:
        (folder / "resumed").touch()
    torch.save(weights, folder / f"weights_{os.environ['RANK']}.pth")
