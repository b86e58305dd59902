"""Say what a Python lacks for building cellseg's environment; runs on any Python 3.

    python3 tools/check_python.py

Exits with 0 where nothing is missing; otherwise prints one line per missing thing.
"""

import argparse
import importlib.util
import sys

OLDEST, NEWEST = (3, 11), (3, 13)


def find_missing():
    """Return a sentence for each thing that this Python lacks."""
    version = sys.version_info[:2]
    name = "{}.{}".format(*version)  # noqa: UP032 - an old Python must still parse this file
    missing = []
    if not OLDEST <= version <= NEWEST:
        missing.append("it is Python " + name + "; 3.11, 3.12 or 3.13 is needed")
    if not all(importlib.util.find_spec(module) for module in ("venv", "ensurepip")):
        missing.append("it has no venv module (Debian and Ubuntu: python" + name + "-venv)")
    return missing


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    lines = [sys.executable + ": " + sentence for sentence in find_missing()]
    sys.stdout.write("".join(line + "\n" for line in lines))
    sys.exit(1 if lines else 0)
