"""Say at a command's end what to do next."""

from __future__ import annotations

import shlex


def describe_next(*steps: tuple[str, str]) -> str:
    """Write commands with what each is for, one a line.

    Args:
        *steps: A command, and a few words on it.

    Returns:
        The lines, under a title.
    """
    width = max(len(command) for command, _ in steps)
    return "\n".join(["Next:", *(f"  {command:<{width}}  # {text}" for command, text in steps)])


def quote(word: object) -> str:
    """Write a path so that a shell takes it as one word."""
    return shlex.quote(str(word))
