"""Check that the environment can train, and say which operators it uses.

    .venv/bin/python tools/check_install.py          (any environment with cellseg in it)
    .venv/bin/python tools/check_install.py --lock   (and every version is that of requirements.txt)

Exit status: 0 all is well, 1 something must be fixed. Each finding is one sentence with its fix.
"""

import argparse
import importlib
import importlib.metadata
import re
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = "cellseg-mmdet"
OLDEST, NEWEST = (3, 11), (3, 13)
OPENCV = "opencv-python-headless"
OTHER_OPENCV = ("opencv-contrib-python", "opencv-contrib-python-headless")
# OpenMMLab's own packages write into the same folders as the forks that the project uses.
FORKS = {
    "mmcv": "onedl-mmcv",
    "mmcv-full": "onedl-mmcv",
    "mmcv-lite": "onedl-mmcv",
    "mmengine": "onedl-mmengine",
    "mmengine-lite": "onedl-mmengine",
    "mmdet": "onedl-mmdetection",
}
# imaug asks for these; the lock leaves them out, and nothing here uses them.
LEFT_OUT = ("opencv-python", "imagecorruptions-imaug")


def find_version(name: str) -> str | None:
    """Return the installed version of a package, or None where it is absent."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def find_python_faults() -> list[str]:
    """Return a sentence where this Python is too old or too new."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return []
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return [
        f"This is Python {version}; cellseg needs 3.11, 3.12 or 3.13. "
        "Run `make install PYTHON=/path/to/python3.12`."
    ]


def read_pins(path: Path) -> dict[str, str]:
    """Return the version of each package that a requirements file pins for this platform."""
    from packaging.markers import Marker

    pins = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)==([^\s#;]+)\s*(?:;\s*([^#]+))?", line)
        if match and (match[3] is None or Marker(match[3].strip()).evaluate()):
            pins[match[1]] = match[2]
    return pins


def find_wrong_versions(pins: dict[str, str]) -> list[str]:
    """Return a sentence for each package that is absent or has another version than its pin."""
    wrong = []
    for name, pinned in pins.items():
        installed = find_version(name)
        if installed is None:
            wrong.append(f"{name} is not installed. Run `make install`.")
        elif installed.partition("+")[0] != pinned:
            wrong.append(f"{name} is {installed}, not {pinned}. Run `make install`.")
    return wrong


def find_unmet_needs(name: str = PROJECT) -> list[str]:
    """Return a sentence for each missing package among those that one needs, in turn."""
    from packaging.requirements import Requirement

    unmet, seen, waiting = [], set(), [Requirement(name)]
    while waiting:
        needed = waiting.pop()
        key = (needed.name.lower(), frozenset(needed.extras))
        if key in seen or needed.name in LEFT_OUT:
            continue
        seen.add(key)
        installed = find_version(needed.name)
        if installed is None:
            unmet.append(f"{needed.name} is not installed. Run `pip install .` again.")
            continue
        if not needed.specifier.contains(installed, prereleases=True):
            unmet.append(
                f"{needed.name} is {installed}, but {needed.specifier} is needed. "
                f'Run `pip install "{needed.name}{needed.specifier}"`.'
            )
        for line in importlib.metadata.requires(needed.name) or []:
            further = Requirement(line)
            extras = [*needed.extras, ""]
            if not further.marker or any(further.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(further)
    return sorted(set(unmet))


def find_foreign_packages() -> list[str]:
    """Return a sentence for each OpenMMLab package beside the fork that has its folder."""
    found = []
    for name, fork in FORKS.items():
        if find_version(name) is not None:
            version = find_version(fork)
            pin = f"{fork}=={version}" if version else fork
            found.append(
                f"{name} {find_version(name)} shares its folder with {fork}, which cellseg uses. "
                f"Remove both with `pip uninstall -y {name} {fork}`, then run "
                f"`pip install --no-deps --no-cache-dir {pin}`."
            )
    return found


def find_opencv_faults() -> list[str]:
    """Return a sentence for each way in which OpenCV is not one whole version."""
    faults = []
    headless = find_version(OPENCV)
    again = f"pip install --force-reinstall --no-deps {OPENCV}=={headless}"
    for name in OTHER_OPENCV:
        if find_version(name) is not None:
            faults.append(
                f"{name} shares the cv2 folder with {OPENCV}. "
                f"Run `pip uninstall -y {name}`, then `{again}`."
            )
    other = find_version("opencv-python")
    if other not in (None, headless):
        faults.append(
            f"opencv-python {other} shares the cv2 folder with {OPENCV} {headless}. "
            f"Run `pip uninstall -y opencv-python`, then `{again}`."
        )
    try:
        import cv2

        cv2.resize  # noqa: B018 - a folder that another package emptied imports without it
    except (ImportError, AttributeError) as error:
        faults.append(f"OpenCV does not load ({error}). Run `{again}`.")
    return faults


def find_op_faults() -> list[str]:
    """Return a sentence where MMDetection or the operators that it needs do not work."""
    try:
        importlib.import_module("cellseg")  # before mmdet, which looks for mmcv's operators
        import mmdet.models  # noqa: F401
        import torch
    except (ImportError, OSError, RuntimeError) as error:
        return [f"MMDetection does not load ({error}). Run `make install`."]
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])
    from mmcv.ops import nms, roi_align

    _, kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)
    pooled = roi_align(
        torch.ones(1, 1, 8, 8), torch.tensor([[0.0, 0, 0, 4, 4]]), (2, 2), 1.0, 0, "avg", True
    )
    if kept.tolist() != [0, 2] or pooled.sum() != 4:
        return [
            "The operators nms and roi_align give wrong results. Remove .venv, run `make install`."
        ]
    return []


def find_compiled_here() -> list[str]:
    """Return the names of the packages that were compiled on this machine, sorted.

    A wheel from a package index says which Linux it needs at least (manylinux); one that was
    built here only says linux. What is pure Python has no platform.
    """
    names = []
    for distribution in importlib.metadata.distributions():
        tags = re.findall(r"^Tag: \S+-(\S+)$", distribution.read_text("WHEEL") or "", re.MULTILINE)
        if any(tag.startswith("linux_") for tag in tags):
            names.append(distribution.metadata["Name"])
    return sorted(names)


def describe_torchvision() -> str | None:
    """Return a sentence where torchvision is there and does not work with torch; it is no error."""
    version = find_version("torchvision")
    if version is None:
        return None
    torch = str(find_version("torch"))
    try:
        importlib.import_module("torchvision")
    except Exception as error:  # noqa: BLE001 - it raises what it likes; a run must not end for it
        reason = str(error.__cause__ or error).partition("\n")[0]
        minor = int(torch.split(".")[1])
        return (
            f"torchvision {version} does not work with torch {torch} ({reason}) and is not used; "
            f"torchvision 0.{minor + 15} from where torch is from would."
        )
    return None


def describe_environment() -> list[str]:
    """Return a sentence for each thing that is worth knowing and no error."""
    import torch

    from cellseg.ops import describe_backend

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    python = ".".join(map(str, sys.version_info[:3]))
    sentences = [f"Python {python}, torch {torch.__version__}, {gpu}", describe_backend()]
    compiled = ", ".join(find_compiled_here())
    sentences.append(
        f"compiled on this machine, not from a wheel: {compiled}"
        if compiled
        else "nothing was compiled here; onedl-mmcv and onedl-mmdetection are pure Python"
    )
    vision = describe_torchvision()
    return [*sentences, vision] if vision else sentences


def list_checks(lock: bool) -> Iterable[Callable[[], list[str]]]:
    """Return the checks in their order; one that finds something makes the later ones pointless."""
    versions = find_unmet_needs
    if lock:
        versions = lambda: find_wrong_versions(read_pins(ROOT / "requirements.txt"))  # noqa: E731
    return find_python_faults, versions, find_foreign_packages, find_opencv_faults, find_op_faults


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags to the parser."""
    parser.add_argument(
        "--lock", action="store_true", help="every version must be that of requirements.txt, too"
    )


def main(argv: list[str] | None = None) -> int:
    """Print every finding and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_arguments(parser)
    for check in list_checks(parser.parse_args(argv).lock):
        try:
            findings = check()
        except ModuleNotFoundError as error:
            findings = [f"{error.name} is not installed. Run `make install`."]
        if findings:
            sys.stderr.writelines(f"error: {sentence}\n" for sentence in findings)
            return 1
    sys.stdout.writelines(f"environment: {sentence}\n" for sentence in describe_environment())
    return 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of packages that are compiled on their first import
    sys.exit(main())
