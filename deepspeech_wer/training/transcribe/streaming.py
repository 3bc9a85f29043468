"""Streaming recognition: a partial text every 200 ms, and a final one at each pause.

This is for a bidirectional network, so each partial result scores the whole segment again; carried.py is for one with
look-ahead. At a real-time factor of a few thousandths that costs little, provided that segments are short. A segment
ends at a pause or, when it gets too long, at the longest gap in its second half. So time per sample and memory are
bounded for any length of stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from .. import audio
from ..arrays import Flags, Floats, Longs
from ..spans import FRAME
from ..text import so_far
from .recogniser import Finish, Heard, Recogniser

EVERY = audio.SAMPLE_RATE // 5  # samples from one partial result to the next: 200 ms
PAUSE = 0.8  # seconds without a letter that end a segment
LONGEST = 15.0  # seconds of a segment
LEAD = 0.3  # seconds kept before speech, so that its first sound is complete


@dataclass(frozen=True)
class Result:
    """The text of one segment of speech."""

    final: bool
    start: float  # seconds from the start of the stream
    end: float
    text: str
    heard: Heard | None = field(default=None, compare=False)  # of a final one


class StreamRecogniser:
    """Recognises one stream, and scores its current segment after every `every` samples.

    Final texts are decoded by `finish` (greedily if None), partial ones always greedily.
    """

    def __init__(self, recogniser: Recogniser, finish: Finish | None = None, every: int = EVERY) -> None:
        self.recogniser, self.every = recogniser, every
        self.finish = finish or recogniser.greedy
        self.warning: str | None = None  # of the first segment with a text
        self._is_first = True
        self._samples = np.zeros(0, np.float32)  # of the current segment
        self._passed = 0  # samples of the stream before the segment
        self._waiting = 0  # samples at its end that have not been scored

    def feed(self, samples: Floats) -> Iterator[Result]:
        """Yield the results of more [samples] at 16 kHz, in the range of 16-bit integers; any number of them."""
        while len(samples):
            # At most up to the next step, so that the results do not depend on how the stream is cut into pieces.
            part, samples = np.split(samples, [self.every - self._waiting])
            self._samples = np.concatenate([self._samples, part])
            self._waiting += len(part)
            if self._waiting == self.every:
                self._waiting = 0
                yield from (result for result in self._score() if result.text or result.final)

    def close(self) -> Iterator[Result]:
        """Yield the last results, at the end of the stream."""
        results = list(self._score())
        yield from (result for result in results if result.final)
        if results and not results[-1].final:
            yield from self._finish_segment(-(-len(self._samples) // audio.STEP))
        self._drop(len(self._samples))

    def _score(self) -> Iterator[Result]:
        while True:
            logits = self._logits()
            if logits is None or not (spoken := np.flatnonzero(self._letters(logits))).size:
                self._drop(len(self._samples) - round(LEAD * audio.SAMPLE_RATE))
                return
            frames = end_of_segment(spoken, len(logits))
            if frames is None:
                yield self._result(so_far(self.recogniser.greedy(logits)), len(logits), final=False)
                return
            yield from self._finish_segment(frames)

    def _logits(self) -> Floats | None:
        """Return [frames, labels] logits of the segment; None if nothing rises above its background."""
        if len(self._samples) < audio.WINDOW:
            return None
        mel = self.recogniser.mel(self._samples)
        loudest = audio.rise(self.recogniser.calm_mel(self._samples, mel))
        return self.recogniser.logits_of_mel(mel) if loudest >= audio.LEAST_RISE else None

    def _letters(self, logits: Floats) -> Flags:
        """Return [frames]: whether the best label is a letter."""
        alphabet = self.recogniser.alphabet
        best = logits.argmax(1)
        is_letter: Flags = (best != alphabet.blank) & (best != alphabet.numbers[" "])
        return is_letter

    def _finish_segment(self, frames: int) -> Iterator[Result]:
        """Finish the first `frames` frames of the segment, and drop them."""
        samples = self._samples[: frames * audio.STEP]
        heard = self.recogniser.hear(samples, self.finish)
        if heard.text:
            if self._is_first:
                self.warning, self._is_first = self.recogniser.warning(samples), False
            yield replace(self._result(heard.text, frames, final=True), heard=heard)
        self._drop(frames * audio.STEP)

    def _result(self, text: str, frames: int, *, final: bool) -> Result:
        start = self._passed / audio.SAMPLE_RATE
        return Result(final=final, start=round(start, 2), end=round(start + frames * FRAME, 2), text=text)

    def _drop(self, count: int) -> None:
        """Drop the first `count` samples of the segment."""
        count = max(0, count)
        self._samples = self._samples[count:].copy()
        self._passed += count


def end_of_segment(spoken: Longs, frames: int) -> int | None:
    """Return the frame at which the first segment of speech ends, half a pause after its last letter; None: not yet.

    `spoken` are the indices of the frames with letters, `frames` is the number of all frames.
    """
    pause = round(PAUSE / FRAME)
    gaps = np.diff(np.append(spoken, frames - 1))
    pauses = np.flatnonzero(gaps >= pause)
    if pauses.size:
        return int(spoken[pauses[0]]) + pause // 2
    if frames * FRAME < LONGEST:
        return None
    late = gaps * (spoken >= frames // 2)
    longest = int(late.argmax())
    return int(spoken[longest]) + max(1, int(gaps[longest]) // 2)
