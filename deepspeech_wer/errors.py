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


def root_cause(error: BaseException) -> BaseException:
    """The error at the bottom of those that libraries wrapped around it."""
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
