"""Tracks what each merge does to the word error rate: trains it, archives the result, publishes the page."""

__version__ = "1.0.0"
