"""The `cellseg` command: it finds the subcommand, parses its flags and runs it.

Exit status: see `cellseg.cli.running`.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

import cellseg
from cellseg.cli.running import call, first_line
from cellseg.errors import CellsegError

COMMANDS = (
    "predict",
    "models",
    "new",
    "check",
    "train",
    "evaluate",
    "configs",
    "convert",
    "draw-sample-data",
    "dataset-report",
    "browse-dataset",
    "anchor-recall",
    "test",
    "cross-validate",
    "analyze-logs",
    "ensemble",
    "confusion-matrix",
    "report",
    "publish",
    "web",
)
"""The subcommands, in the order in which a user meets them."""

_USAGE = 2
_EPILOG = """`cellseg COMMAND --help` shows the flags of a command.

exit status: 0 success, 1 an error that the message says how to fix (of predict also when an image
could not be read), 2 a wrong command line, 130 ended with Ctrl-C,
143 by SIGTERM, 129 by SIGHUP"""


def load_command(name: str) -> ModuleType:
    """Import the module of a subcommand; none of them imports anything heavy."""
    return importlib.import_module(f"cellseg.cli.{name.replace('-', '_')}")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the whole command."""
    parser = argparse.ArgumentParser(
        prog="cellseg",
        description="Find cells in microscope images: train, test, predict, evaluate, report.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"cellseg {cellseg.__version__}")
    parser.add_argument(
        "--print-completion",
        choices=("bash", "zsh", "tcsh"),
        metavar="SHELL",
        help="print a completion script for bash, zsh or tcsh; needs the package shtab",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name in COMMANDS:
        module = load_command(name)
        summary = first_line(module.__doc__)
        module.add_arguments(commands.add_parser(name, help=summary, description=summary))
    return parser


def suggest_command(word: str) -> str:
    """Write the sentence on a word that is no subcommand."""
    near = difflib.get_close_matches(word, COMMANDS, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else "`cellseg --help` lists the commands."
    return f"cellseg has no command {word}; {hint}"


def print_completion(parser: argparse.ArgumentParser, shell: str) -> None:
    """Write a script that completes the command in a shell.

    Raises:
        CellsegError: If shtab is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise CellsegError(
            "--print-completion needs the package shtab; install it: pip install shtab"
        ) from None
    sys.stdout.write(shtab.complete(parser, shell) + "\n")


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        words: What follows `cellseg`; the process's own by default.

    Returns:
        The exit status.
    """
    words = sys.argv[1:] if words is None else list(words)
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        sys.stderr.write(f"error: {suggest_command(words[0])}\n")
        return _USAGE
    parser = build_parser()
    args = parser.parse_args(words)
    if args.print_completion:
        return call(lambda: print_completion(parser, args.print_completion))
    if args.command is None:
        parser.print_help(sys.stderr)
        return _USAGE
    return call(lambda: load_command(args.command).main(args))
