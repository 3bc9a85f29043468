"""The two kinds of failure: expected trouble, told in one line, and everything else, which is a bug."""


class Trouble(Exception):
    """Expected trouble. The message is one line: what, where, expected and found, cure."""


class UsageTrouble(Trouble):
    """The settings or the command line cannot be used. One fault per line, all faults at once."""
