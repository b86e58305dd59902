"""The one kind of error that a tool shows as a sentence instead of a traceback."""


class CellsegError(Exception):
    """Something that the person at the keyboard can mend; its text says what and how."""
