"""Run uv with the indexes, folders, constraints and certificates that pip is configured with.

    .venv/bin/python tools/run_uv.py pip install --no-deps -r requirements.txt

uv reads neither pip's configuration files nor its PIP_* variables. What is set for uv itself (UV_*)
is kept.
"""

import argparse
import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# pip's option, uv's variable, what stands between several values there.
OPTIONS = (
    ("index-url", "UV_DEFAULT_INDEX", None),
    ("extra-index-url", "UV_INDEX", " "),
    ("find-links", "UV_FIND_LINKS", ","),
    ("no-index", "UV_NO_INDEX", None),
    ("trusted-host", "UV_INSECURE_HOST", " "),
    ("cert", "SSL_CERT_FILE", None),
    ("proxy", "ALL_PROXY", None),
    ("default-timeout", "UV_HTTP_TIMEOUT", None),
    ("timeout", "UV_HTTP_TIMEOUT", None),
)


def read_settings(listing: str) -> dict[str, str]:
    """Read the output of `pip config list`.

    Args:
        listing: Lines such as `global.index-url='file:///wheels'`.

    Returns:
        The value of each option that `pip install` obeys: a variable counts more than the section
        `install` of a file, and that more than `global`.
    """
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listing.splitlines():
        key, equals, value = line.partition("=")
        section, _, option = key.partition(".")
        if equals and section in sections:
            sections[section][option] = str(ast.literal_eval(value))
    return {**sections["global"], **sections["install"], **sections[":env:"]}


def translate_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make uv do what pip's settings say."""
    variables = {"UV_INDEX_STRATEGY": "unsafe-best-match"}  # as pip: the best of all indexes
    for option, variable, separator in OPTIONS:
        if option in settings:
            values = settings[option].split()
            variables[variable] = separator.join(values) if separator else settings[option]
    return variables


def find_constraints(settings: Mapping[str, str], arguments: list[str]) -> list[str]:
    """Return the options that name pip's constraint files, where uv is asked to install."""
    if arguments[:2] != ["pip", "install"]:
        return []
    return [
        part for path in settings.get("constraint", "").split() for part in ("--constraint", path)
    ]


def main(arguments: list[str]) -> int:
    """Run uv with these arguments in this Python's environment and return its exit status."""
    if not arguments or arguments[0] in ("-h", "--help"):
        parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
        parser.add_argument("argument", nargs="+", help="what uv is given, such as: pip list")
        parser.parse_args(arguments)
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    settings = read_settings(listed.stdout)
    environment = translate_settings(settings) | os.environ | {"VIRTUAL_ENV": sys.prefix}
    uv = Path(sys.executable).with_name("uv")
    return subprocess.run(
        [uv, *arguments, *find_constraints(settings, arguments)], env=environment, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
