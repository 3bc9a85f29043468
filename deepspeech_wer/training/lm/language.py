"""The interface of language models, and reading one from a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Protocol

from ...errors import Trouble
from . import arpa
from .arpa import UNKNOWN

KENLM_MAGIC = b"mmap lm http://kheafield.com/code format version"


class WordModel(Protocol):
    """Scores words in context. Contexts are opaque and immutable; probabilities are logarithms to base 10."""

    @property
    def order(self) -> int: ...

    def words(self) -> list[str]:
        """Return the vocabulary without <s>, </s> and <unk>."""

    def knows(self, word: str) -> bool:
        """Whether a word, or <unk>, is in the vocabulary."""

    def alone(self, word: str) -> float:
        """Return log10 P(word) without a context."""

    def start(self) -> Any:
        """Return the context at the beginning of a sentence."""

    def score(self, context: Any, word: str) -> tuple[float, Any]:
        """Return (log10 P(word | context), the context after it). A word not in the vocabulary counts as <unk>."""

    def finish(self, context: Any) -> float:
        """Return log10 P(</s> | context)."""


def load(path: Path) -> WordModel:
    """Read an ARPA file, plain or .gz, or a KenLM binary file. Raises Trouble for a file that is neither."""
    try:
        with path.open("rb") as stream:
            is_kenlm = stream.read(len(KENLM_MAGIC)) == KENLM_MAGIC
    except OSError as error:
        raise Trouble(f"{path}: cannot be read as a language model: {error}") from error
    return Kenlm(path) if is_kenlm else arpa.read(path)


class Kenlm:
    """A KenLM binary file, read by its own library, which is optional because it has no wheels."""

    def __init__(self, path: Path) -> None:
        try:
            import kenlm
        except ImportError as error:
            raise Trouble(
                f"{path}: a KenLM binary file: pip install deepspeech-wer[kenlm] (needs a C++ compiler) to read it; "
                "or use the ARPA file that it was made from"
            ) from error
        self._new_state = kenlm.State
        try:
            self._model = kenlm.Model(str(path))
        except OSError as error:
            raise Trouble(f"{path}: KenLM cannot read it: {' '.join(str(error).split())}") from error
        self._words = kenlm_words(path)

    @property
    def order(self) -> int:
        return int(self._model.order)

    def words(self) -> list[str]:
        return self._words

    def knows(self, word: str) -> bool:
        return word in self._model or word == UNKNOWN

    def alone(self, word: str) -> float:
        state = self._new_state()
        self._model.NullContextWrite(state)
        return self.score(state, word)[0]

    def start(self) -> Any:
        state = self._new_state()
        self._model.BeginSentenceWrite(state)
        return state

    def score(self, context: Any, word: str) -> tuple[float, Any]:
        after = self._new_state()
        return float(self._model.BaseScore(context, word, after)), after

    def finish(self, context: Any) -> float:
        return self.score(context, arpa.END)[0]


def kenlm_words(path: Path) -> list[str]:
    """Read the vocabulary, zero-terminated strings at the end of the file: KenLM's library cannot list it."""
    data = path.read_bytes()
    start = data.rfind(UNKNOWN.encode() + b"\0")
    if start < 0 or not data.endswith(b"\0"):
        raise Trouble(f"{path}: contains no vocabulary: build it without build_binary's option -v")
    try:
        words = data[start:-1].decode().split("\0")
    except UnicodeDecodeError as error:
        raise Trouble(f"{path}: its vocabulary is not UTF-8: {error}") from error
    return [word for word in words if word not in arpa.MARKS and not re.search(r"\s", word)]
