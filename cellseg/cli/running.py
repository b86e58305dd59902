"""Run a command: flags are parsed, user errors become one sentence, and an exit status comes out.

Exit status: 0 success; 1 an error that the user can fix, said in one sentence (of `predict` also
when an image could not be read); 2 a wrong command line; 130 ended with Ctrl-C, 143 by SIGTERM,
129 by SIGHUP. An unexpected failure ends with a traceback and 1.
"""

from __future__ import annotations

import argparse
import errno
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from cellseg.errors import CellsegError, LostProcessError
from cellseg.stopping import StoppedError, StopRecord, end_forks_with_parent, stop_on_signals

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 and the number of the signal, as shells count."""

_ADVICE = {
    errno.ENOSPC: "make room on the disk and run the command again",
    errno.EDQUOT: "make room within the quota and run the command again",
    errno.EFBIG: "the file system or a limit allows no larger file; write to another place",
    errno.EACCES: "give this user the permission, or choose another path",
    errno.EPERM: "give this user the permission, or choose another path",
    errno.EROFS: "choose a path that can be written to",
    errno.ELOOP: "remove the link that leads to itself",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "a part of the path is a file; choose another path",
    errno.EISDIR: "it is a folder; name a file",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EIO: "the disk cannot be read or written; check it",
}

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
    """Call a function; what ends it early becomes a sentence and a status.

    Args:
        work: The function; it returns a status, None for 0. The text of a KeyboardInterrupt that it
            raises is shown.

    Returns:
        Its status; 1 after a CellsegError, an OSError that is the machine's (a full disk, a folder
        without permission), or a package that is not installed; 130 after Ctrl-C; 128 and its
        number after a stop signal.
    """
    end_forks_with_parent()
    stops = StopRecord()
    try:
        with stop_on_signals() as stops:
            return work() or 0
    except LostProcessError as error:
        sys.stderr.write(f"\nerror: {error}\n")
        sys.stderr.flush()
        os._exit(1)  # what is left of the group would be waited for
    except (KeyboardInterrupt, StoppedError) as stop:
        return _say_why_it_ends(stop)
    except Exception as error:
        hidden = _find_hidden_stop(error) or stops.make_stop()
        return _say_error(error) if hidden is None else _say_why_it_ends(hidden)


def _say_error(error: Exception) -> int:
    """Say what the user can do about an error, or raise it again; returns the status."""
    if isinstance(error, CellsegError):
        _say(f"error: {error}")
    elif isinstance(error, ModuleNotFoundError):
        absent = (error.name or "").partition(".")[0]
        if absent in ("", "cellseg") or importlib.util.find_spec(absent) is not None:
            raise error
        _say(
            f"error: {absent} is not installed, but this command needs it. Run `make install` in "
            "the checkout, or `pip install .` again."
        )
    elif isinstance(error, OSError) and error.errno in _ADVICE:
        _say(f"error: {describe_os_error(error)}")
    else:
        raise error
    return 1


def _say_why_it_ends(stop: BaseException) -> int:
    """Say that Ctrl-C or a signal ended the command; returns its status."""
    if isinstance(stop, StoppedError):
        _say(f"ended by {stop.name}")
        return int(str(stop.code))
    _say("; ".join(["interrupted", *map(str, stop.args)]))
    return INTERRUPTED


def _find_hidden_stop(error: BaseException) -> BaseException | None:
    """Return the stop whose place an error took, as MMEngine's while it formats a config."""
    while (earlier := error.__context__) is not None:
        if isinstance(earlier, KeyboardInterrupt | StoppedError):
            return earlier
        error = earlier
    return None


def describe_os_error(error: OSError) -> str:
    """Say in a sentence what the machine refuses, and what to do."""
    where = f"{error.filename}: " if error.filename else ""
    advice = _ADVICE.get(error.errno or 0, "check the path")
    return f"{where}{error.strerror or error}; {advice}."


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
