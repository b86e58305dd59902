"""Print the changelog's section of a tag; fail where tag, version and changelog disagree.

python tools/release_notes.py v0.2.0
"""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def read_version(root: Path) -> str:
    """Read the version, which pyproject.toml and cellseg/__init__.py must name alike.

    Raises:
        ValueError: If they differ, or one names none.
    """
    found = {
        name: re.search(pattern, (root / name).read_text(encoding="utf-8"), re.MULTILINE)
        for name, pattern in (
            ("pyproject.toml", r'^version = "(.+)"'),
            ("cellseg/__init__.py", r'^__version__ = "(.+)"'),
            ("CITATION.cff", r"^version: (.+)$"),
        )
    }
    versions = {name: match.group(1) if match else "none" for name, match in found.items()}
    if len(set(versions.values())) > 1:
        raise ValueError(f"The versions differ: {versions}; write one of them everywhere.")
    return versions["pyproject.toml"]


def find_section(changelog: str, version: str) -> str:
    """Find a version's section in a changelog.

    Raises:
        ValueError: If there is none, or it is empty.
    """
    pattern = rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## |\Z)"
    match = re.search(pattern, changelog, re.DOTALL | re.MULTILINE)
    text = match.group(1).strip() if match else ""
    if not text:
        raise ValueError(f"CHANGELOG.md has nothing under ## [{version}]; write it before the tag.")
    return text


def main() -> int:
    """Print the section; 1 where something disagrees."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tag", help="such as v0.2.0")
    tag = parser.parse_args().tag
    try:
        version = read_version(ROOT)
        if tag != f"v{version}":
            raise ValueError(
                f"The tag is {tag}, but the version {version}; the tag must be v{version}."
            )
        text = find_section((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
