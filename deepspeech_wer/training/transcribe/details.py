"""The words of a transcript with their times and confidences, and other texts that it might be: records for JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .. import alignment, spans
from ..confidence import NONE, Calibration
from ..lm.beam import BeamSearch
from ..spans import Span
from .recogniser import Heard, Recogniser
from .streaming import Result


@dataclass(frozen=True)
class Wanted:
    """What is told of each transcript."""

    letters: bool = False
    alternatives: int = 0  # number of other texts


@dataclass(frozen=True)
class Details:
    """Describes what a recogniser has heard, decoded greedily or by a beam search."""

    recogniser: Recogniser
    wanted: Wanted
    search: BeamSearch | None = None  # of the alternatives
    decoder: str = "greedy"  # whose calibration is used

    def of(self, result: Result) -> dict[str, Any]:
        """Return the words of a result, in seconds from the start of the recording, and the alternatives."""
        heard = result.heard
        record: dict[str, Any] = {"words": self._words(heard, heard.text, result.start) if heard else []}
        if self.wanted.alternatives:
            record["alternatives"] = self._alternatives(heard, result.start) if heard else []
        return record

    def _words(self, heard: Heard, text: str, start: float) -> list[dict[str, Any]]:
        if not text:
            return []
        found = alignment.words(heard.logits, text, self.recogniser.alphabet)
        edges = self.recogniser.description.calibrations.edges
        records = []
        for one, span in zip(found, spans.of_words(found, heard.frames, edges), strict=True):
            record: dict[str, Any] = {
                "word": one.word,
                **_times(span, start),
                "confidence": round(self._calibration().of(one), 3),
            }
            if self.wanted.letters:
                letters = zip(one.letters, spans.of_letters(one, span), strict=True)
                record["letters"] = [{"letter": letter.letter, **_times(times, start)} for letter, times in letters]
            records.append(record)
        return records

    def _calibration(self) -> Calibration:
        known = self.recogniser.description.calibrations.decoders
        return known.get(self.decoder) or known.get("greedy") or NONE

    def _alternatives(self, heard: Heard, start: float) -> list[dict[str, Any]]:
        """Return other texts, the best first, each with its share of the probability of all texts in the beam."""
        if not heard.text or self.search is None:
            return []
        candidates = self.search.candidates(heard.logits)
        shares = _shares([one.score(self.search.alpha, self.search.beta) for one in candidates])
        others = [(one, share) for one, share in zip(candidates, shares, strict=True) if one.text != heard.text]
        return [
            {"text": one.text, "probability": round(share, 4), "words": self._words(heard, one.text, start)}
            for one, share in others[: self.wanted.alternatives]
        ]


def _times(span: Span, start: float) -> dict[str, float]:
    """Return a span of what was heard from `start` on, in seconds of the recording."""
    begin, end = span
    return {"begin": round(max(start, start + begin), 2), "end": round(max(start, start + end), 2)}


def _shares(scores: Sequence[float]) -> list[float]:
    """Return the probabilities that scores, in ln P without a constant, stand for."""
    weights = [math.exp(one - max(scores)) for one in scores]
    return [one / sum(weights) for one in weights]
