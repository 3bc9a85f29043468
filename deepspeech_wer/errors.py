"""The two kinds of failure: expected trouble, told in one line, and everything else, which is a bug."""


class Trouble(Exception):
    """Expected trouble. The message is one line: what, where, expected and found, cure."""


class UsageTrouble(Trouble):
    """The settings or the command line cannot be used. One fault per line, all faults at once."""


class Stopped(Exception):
    """A signal asked this process to end."""

    def __init__(self, number: int, name: str) -> None:
        super().__init__(name)
        self.number = number


def innermost(error: BaseException) -> BaseException:
    """The error at the bottom of those that were raised from it: what a library wraps, the socket's own error, say."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return error
