"""Check that the environment can train: pinned versions, mmcv's compiled ops, one whole OpenCV.

    .venv/bin/python tools/check_install.py

Exit status: 0 all is well, 3 mmcv's ops do not load (its wheel must be built again), 4 OpenCV must
be installed again, 1 anything else. Each finding is one sentence with its mend.
"""

import importlib.metadata
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENT_FILES = ("requirements-build.txt", "requirements.txt")
OTHER_OPENCV = ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")
OPS_MEND = (
    "Build it again: .venv/bin/pip install --no-cache-dir --force-reinstall --no-deps "
    "--no-build-isolation {pin}"
)


def read_pins(path: Path) -> dict[str, str]:
    """Return the version of each package that a requirements file pins with ==."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = (re.match(r"([A-Za-z0-9._-]+)==([^\s#;]+)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def find_wrong_versions(pins: dict[str, str]) -> list[str]:
    """Return a sentence for each package that is absent or has another version than its pin."""
    wrong = []
    for name, pinned in pins.items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{name} is not installed. Run `make install`.")
            continue
        if installed.partition("+")[0] != pinned:
            wrong.append(f"{name} is {installed}, not {pinned}. Run `make install`.")
    return wrong


def find_opencv_faults() -> list[str]:
    """Return a sentence for each way in which OpenCV is not the headless one alone, and whole."""
    faults = []
    for name in OTHER_OPENCV:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        faults.append(f"{name} shares the cv2 folder with opencv-python-headless. Uninstall it.")
    try:
        import cv2

        cv2.resize  # noqa: B018 - a folder that another package emptied imports without it
    except (ImportError, AttributeError) as error:
        faults.append(f"OpenCV does not load ({error}). Install opencv-python-headless again.")
    return faults


def find_op_faults(pins: dict[str, str]) -> list[str]:
    """Return a sentence where mmcv's compiled ops do not load or do not run on the CPU."""
    import torch

    mend = OPS_MEND.format(pin=f"onedl-mmcv=={pins['onedl-mmcv']}")
    try:
        from mmcv.ops import nms, roi_align
    except (ImportError, OSError) as error:
        reason = f"mmcv's compiled ops do not load with torch {torch.__version__} ({error})."
        return [f"{reason} It was built without torch or for another one. {mend}"]
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])
    try:
        _, kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)
        pooled = roi_align(
            torch.ones(1, 1, 8, 8), torch.tensor([[0.0, 0, 0, 4, 4]]), (2, 2), 1.0, 0, "avg", True
        )
    except (RuntimeError, AttributeError) as error:
        return [f"mmcv's compiled ops do not run on the CPU ({error}). {mend}"]
    if kept.tolist() != [0, 2] or pooled.sum() != 4:
        return [f"mmcv's compiled ops give wrong results. {mend}"]
    return []


def main() -> int:
    """Print every finding and return the exit status."""
    pins = {}
    for name in REQUIREMENT_FILES:
        pins.update(read_pins(ROOT / name))
    findings, status = find_wrong_versions(pins), 1
    if not findings:
        findings, status = find_opencv_faults(), 4
    if not findings:
        findings, status = find_op_faults(pins), 3
    for sentence in findings:
        sys.stderr.write(f"error: {sentence}\n")
    if not findings:
        sys.stdout.write("environment: every pin installed, mmcv's ops run, one OpenCV\n")
    return status if findings else 0


if __name__ == "__main__":
    sys.exit(main())
