"""Run a command: flags are parsed, user errors become one sentence, and an exit status comes out.

Exit status: 0 success; 1 an error that the user can fix, said in one sentence (of `predict` also
when an image could not be read); 2 a wrong command line; 130 ended with Ctrl-C. A failure that
nobody foresaw ends with a traceback and 1.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from cellseg.errors import CellsegError

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 and the number of the signal, as shells count."""

AddArguments = Callable[[argparse.ArgumentParser], None]
Main = Callable[[argparse.Namespace], int | None]


def first_line(doc: str | None) -> str:
    """Return a docstring's first line: what the help says on a command."""
    return (doc or "").strip().partition("\n")[0]


def build_parser(
    doc: str | None, add_arguments: AddArguments, prog: str | None = None
) -> argparse.ArgumentParser:
    """Build the parser of one command.

    Args:
        doc: Docstring whose first line describes the command.
        add_arguments: Adds the command's flags.
        prog: Name shown in the usage line; the script's by default.

    Returns:
        The parser.
    """
    parser = argparse.ArgumentParser(prog=prog, description=first_line(doc))
    add_arguments(parser)
    return parser


def call(work: Callable[[], int | None]) -> int:
    """Call a function; a CellsegError becomes a sentence and status 1, Ctrl-C status 130.

    So does a package that is absent: an installation that stopped halfway is for the user to fix.
    """
    try:
        return work() or 0
    except CellsegError as error:
        _say(f"error: {error}")
        return 1
    except ModuleNotFoundError as error:
        absent = (error.name or "").partition(".")[0]
        if absent in ("", "cellseg") or importlib.util.find_spec(absent) is not None:
            raise
        _say(
            f"error: {absent} is not installed, but this command needs it. Run `make install` in "
            "the checkout, or `pip install .` again."
        )
        return 1
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED


def _say(sentence: str) -> None:
    """Write to stderr, once however many processes there are."""
    if int(os.environ.get("RANK", "0")) == 0:
        sys.stderr.write(f"\n{sentence}\n")


def run_tool(
    doc: str | None,
    add_arguments: AddArguments,
    main: Main,
    words: Sequence[str] | None = None,
) -> NoReturn:
    """Run a script of tools/: parse the command line, do the work, exit with its status."""
    args = build_parser(doc, add_arguments).parse_args(words)
    sys.exit(call(lambda: main(args)))


def write_result(*parts: object) -> None:
    """Write what a command found to stdout; an empty line stands between its parts."""
    sys.stdout.write("\n\n".join(map(str, parts)) + "\n")
    sys.stdout.flush()
