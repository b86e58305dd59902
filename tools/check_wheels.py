"""Check that every pin has a wheel for each Python and platform; needs a network.

    .venv/bin/python tools/check_wheels.py

Asks the package index through uv, downloads no package, and prints the table of docs/install.md.
The packages in PURE_SDISTS have no wheels; they hold Python only, so that no compiler is needed.
"""

import argparse
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).resolve().parent.parent
PURE_SDISTS = ("onedl-mmcv", "onedl-mmdetection")
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = {  # each with the oldest system that the lock serves, and its sys.platform
    "Linux x86-64": ([f"manylinux_2_{minor}_x86_64" for minor in range(28, 4, -1)], "linux"),
    "macOS arm64": (list(mac_platforms((14, 0), "arm64")), "darwin"),
    "Windows x86-64": (["win_amd64"], "win32"),
}
PLATFORMS["Linux x86-64"][0].extend(["manylinux2014_x86_64", "manylinux1_x86_64"])


@dataclass(frozen=True)
class PlatformWheels:
    """How many packages one Python on one platform takes, their bytes, those without a wheel."""

    pure: int
    compiled: int
    size: int
    lacking: tuple[str, ...]


@cache
def list_tags(python: str, platform: str) -> dict[Tag, int]:
    """Return the tags that a Python on a platform takes, each with its rank; 0 is the best."""
    version = tuple(int(part) for part in python.split("."))
    platforms, _ = PLATFORMS[platform]
    tags = [*cpython_tags(version, platforms=platforms)]
    tags += compatible_tags(version, f"cp{python.replace('.', '')}", platforms)
    return {tag: rank for rank, tag in reversed(list(enumerate(tags)))}


def choose_wheel(names: Iterable[str], python: str, platform: str) -> str | None:
    """Return the wheel that pip would take of these file names, or None."""
    tags = list_tags(python, platform)
    ranks = {
        name: min((tags[tag] for tag in parse_wheel_filename(name)[3] if tag in tags), default=None)
        for name in names
    }
    fitting = [name for name, rank in ranks.items() if rank is not None]
    return min(fitting, key=lambda name: ranks[name], default=None)


def check_platform(packages: list[dict[str, Any]], python: str, platform: str) -> PlatformWheels:
    """Look for the wheel of every package that one Python on one platform needs.

    Args:
        packages: As a pylock.toml lists them.
        python: Such as "3.11".
        platform: A key of PLATFORMS.
    """
    system = {"python_version": python, "sys_platform": PLATFORMS[platform][1]}
    pure, compiled, size, lacking = 0, 0, 0, []
    for package in packages:
        if "marker" in package and not Marker(package["marker"]).evaluate(
            system | {"python_full_version": f"{python}.0"}
        ):
            continue
        if package["name"] in PURE_SDISTS:
            pure, size = pure + 1, size + package["sdist"]["size"]
            continue
        wheels = {wheel["url"].rpartition("/")[2]: wheel for wheel in package.get("wheels", [])}
        name = choose_wheel(wheels, python, platform)
        if name is None:
            lacking.append(f"{package['name']} {package['version']}")
            continue
        size += wheels[name]["size"]
        pure, compiled = (pure + 1, compiled) if "-none-any" in name else (pure, compiled + 1)
    return PlatformWheels(pure, compiled, size, tuple(lacking))


def ask_index() -> list[dict[str, Any]]:
    """Return the packages of requirements.txt with all their files, as a pylock.toml lists them."""
    command = [Path(sys.executable).with_name("uv"), "pip", "compile", "requirements.txt"]
    options = [
        "--no-deps",
        "--universal",
        "--python-version",
        "3.11",
        "--format",
        "pylock.toml",
        "--no-python-downloads",
    ]
    done = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"error: uv could not read the package index: {done.stderr.strip()}")
    packages: list[dict[str, Any]] = tomllib.loads(done.stdout)["packages"]
    return packages


def main(arguments: Sequence[str] = ()) -> int:
    """Print the table and what lacks a wheel; return 1 where something does."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(arguments)
    packages = ask_index()
    print("| platform | Python | pure Python | compiled | download |")
    print("|---|---|---|---|---|")
    lacking = []
    for platform in PLATFORMS:
        for python in PYTHONS:
            found = check_platform(packages, python, platform)
            megabytes = round(found.size / 1e6)
            print(f"| {platform} | {python} | {found.pure} | {found.compiled} | {megabytes} MB |")
            lacking += [f"{name}: Python {python}, {platform}" for name in found.lacking]
    for line in lacking:
        sys.stderr.write(f"error: no wheel of {line}\n")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
