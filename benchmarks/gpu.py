"""Measure this project on a GPU, and check that a GPU gives what a CPU gives.

python benchmarks/gpu.py                                  # all parts but training: 9 minutes
python benchmarks/gpu.py --parts ops steps --time-limit 240 --out results
python benchmarks/gpu.py --parts train --config configs/cell/CONFIG.py --minutes 4 \
    --cfg-options train_dataloader.dataset.data_root=.gpu/data/consep/train
python benchmarks/gpu.py --small                          # a minute on a CPU, to see that it runs

Each part runs in a process of its own with a time limit of its own: one that fails or hangs does
not end the others. A row is printed as soon as it is known and kept in OUT/gpu.json at once. OUT is
--out, else the variable OUT, else work_dirs/gpu. docs/gpu.md says what the rows mean.
"""

import argparse
import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECONDS = {"ops": 75, "tests": 120, "steps": 200, "predict": 145, "suite": 300, "train": 560}
DEFAULT_PARTS = ("ops", "tests", "steps", "predict")
MODULES = {
    "ops": ("ops", "run"),
    "tests": ("device_tests", "run"),
    "suite": ("device_tests", "run_suite"),
    "steps": ("steps", "run"),
    "predict": ("prediction", "run"),
    "train": ("training", "run"),
}
DEMO = "configs/cell/mask-rcnn_r18_small-anchor_demo.py"
_GRACE_S = 15.0  # beyond a part's limit, for the row that it is at


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=MODULES, default=list(DEFAULT_PARTS))
    parser.add_argument(
        "--time-limit", type=float, default=570, help="seconds for all parts together"
    )
    parser.add_argument("--small", action="store_true", help="tiny networks on tiny images")
    parser.add_argument("--out", type=Path, help="folder of the results")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="default: a GPU if there is one")
    parser.add_argument("--config", default=DEMO, help="what the part train trains")
    parser.add_argument("--minutes", type=float, default=8, help="training and evaluation together")
    parser.add_argument("--cfg-options", nargs="+", default=[], help="override that config")
    parser.add_argument("--scratch", type=Path, default=ROOT / "work_dirs" / "gpu_scratch")
    parser.add_argument("--one", choices=MODULES, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    default = Path(os.environ.get("OUT") or ROOT / "work_dirs" / "gpu")
    args.out, args.scratch = (args.out or default).resolve(), args.scratch.resolve()
    return args


def main() -> int:
    """Run the parts that were asked for, or in a child the one part; the exit status."""
    args = parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.one:
        run_here(args)
        return 0
    # A part has its own process group: it has to be ended with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    deadline = time.monotonic() + args.time_limit
    failed = []
    for part in args.parts:
        # In small mode it matters that all is run, on however busy a machine.
        limit = args.time_limit if args.small else SECONDS[part]
        seconds = min(limit, deadline - time.monotonic())
        if seconds < 1:
            failure = "no time left"
        else:
            failure = run_apart(command_for(part, seconds), seconds + _GRACE_S)
        sys.stdout.write(f"{part}: {failure or 'done'}\n")
        sys.stdout.flush()
        failed += [part] if failure else []
    return 1 if failed else 0


def command_for(part: str, seconds: float) -> list[str]:
    """Return the command that runs one part with this process's own arguments."""
    return [sys.executable, __file__, *sys.argv[1:], "--one", part, "--seconds", f"{seconds:.0f}"]


def run_apart(command: list[str], seconds: float) -> str:
    """Run a command with its children in a process group of its own, and end all in time.

    Returns:
        What went wrong; empty if nothing did.
    """
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONUNBUFFERED": "1",
    }
    process = subprocess.Popen(command, env=environment, cwd=ROOT, start_new_session=True)
    try:
        status = process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"stopped after {seconds:.0f} s"
    finally:
        end_group(process)
    return f"ended with exit status {status}" if status else ""


def end_group(process: subprocess.Popen) -> None:
    """End a process and those it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_here(args: argparse.Namespace) -> None:
    """Run one part in this process."""
    begin = time.monotonic()
    import torch
    from gpu_parts.report import Report, Settings

    import cellseg  # noqa: F401  (registers the project's parts)

    settings = Settings(
        out=args.out,
        device=args.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        small=args.small,
        deadline=begin + args.seconds,
        scratch=args.scratch,
        train=(args.config, args.minutes, tuple(args.cfg_options)),
    )
    report = Report(settings, args.one)
    module, function = MODULES[args.one]
    failure = ""
    try:
        run = getattr(importlib.import_module(f"gpu_parts.{module}"), function)
        run(settings, report)
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
        raise
    finally:
        report.close(time.monotonic() - begin, failure)


if __name__ == "__main__":
    sys.exit(main())
