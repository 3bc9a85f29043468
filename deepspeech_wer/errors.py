"""The two kinds of failure: expected ones, reported in one line, and bugs, reported with a traceback; their texts."""


class Trouble(Exception):
    """An expected failure. The message is one line: what, where, expected and found, cure."""


class UsageTrouble(Trouble):
    """Unusable settings or command line. The message lists all faults, one per line."""


class Stopped(Exception):
    """A signal asked this process to end."""

    def __init__(self, number: int, name: str) -> None:
        super().__init__(name)
        self.number = number


def root_cause(error: BaseException) -> BaseException:
    """Return the root cause of an error: for example the socket's error that a library wrapped."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return error


def innermost(error: BaseException) -> str:
    """The text of the innermost error that has one, on one line: requests wraps "Connection refused" three times."""
    while (inner := error.__cause__ or error.__context__) and (str(inner) or isinstance(inner, TimeoutError)):
        error = inner
    if isinstance(error, TimeoutError):
        return "timed out"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:200]
