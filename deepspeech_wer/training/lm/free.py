"""A language model that finds every word equally likely: for a beam search without one, with hot words perhaps."""

from __future__ import annotations

from .arpa import UNKNOWN


class Free:
    """Any word of the letters of an alphabet, at no cost; a `language.WordModel`."""

    order = 1

    def __init__(self, letters: str) -> None:
        self._words = [letter for letter in letters if letter != " "]

    def words(self) -> list[str]:
        """Return a word of each letter: the others are spelled."""
        return self._words

    def knows(self, word: str) -> bool:
        return word == UNKNOWN

    def alone(self, word: str) -> float:  # noqa: ARG002  # the interface's
        return 0.0

    def start(self) -> None:
        return None

    def score(self, context: object, word: str) -> tuple[float, None]:  # noqa: ARG002  # the interface's
        return 0.0, None

    def finish(self, context: object) -> float:  # noqa: ARG002  # the interface's
        return 0.0
