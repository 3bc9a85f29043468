"""The two kinds of failure: expected ones, reported in one line, and bugs, reported with a traceback."""


class Trouble(Exception):
    """An expected failure. The message is one line: what, where, expected and found, cure."""


class UsageTrouble(Trouble):
    """Unusable settings or command line. The message lists all faults, one per line."""


class Stopped(Exception):
    """A signal asked this process to end."""

    def __init__(self, number: int, name: str) -> None:
        super().__init__(name)
        self.number = number


def innermost(error: BaseException) -> BaseException:
    """Return the root cause of an error: for example the socket's error that a library wrapped."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return error
