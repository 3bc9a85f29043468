"""Streaming recognition by a network with look-ahead: each sample is heard once, and the state is carried on.

So a second of a stream costs the same however long it lasts, and the logits are those of the recording as a whole. An
utterance ends after a second of quiet: there the network begins anew, as with another recording. A segment, which gets
a final text, ends there, too, and else where streaming.py ends one: at a pause without letters, or if it gets too long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from .. import audio
from ..arrays import Floats, Longs
from ..sound import causal
from ..spans import FRAME, Frames
from ..text import so_far
from .recogniser import Carried, Finish, Heard, Recogniser
from .streaming import LEAD, LONGEST, Result, end_of_segment

EVERY = 2 * audio.STEP  # samples from one step to the next: 40 ms
KEPT = 2 * round(LONGEST * audio.SAMPLE_RATE)  # samples that the warning may look at


class CarriedStream:
    """Recognises one stream, as StreamRecogniser does; it listens after every `every` samples.

    A partial result comes when the text has changed.
    """

    def __init__(self, recogniser: Recogniser, finish: Finish | None = None, every: int = EVERY) -> None:
        self.recogniser, self.every = recogniser, every
        self.finish = finish or recogniser.greedy
        self.warning: str | None = None  # of the first segment with a text
        self._mel, self._gate = causal.Mel(), causal.Gate()
        self._waiting = np.zeros(0, np.float32)  # samples of the next step
        self._first: _Beginning | None = _Beginning()
        self._begin()

    def feed(self, samples: Floats) -> Iterator[Result]:
        """Yield the results of more [samples] at 16 kHz, in the range of 16-bit integers; any number of them."""
        while len(samples):
            # At most up to the next step, so that the results do not depend on how the stream is cut into pieces.
            part, samples = np.split(samples, [self.every - len(self._waiting)])
            self._waiting = np.concatenate([self._waiting, part])
            if len(self._waiting) == self.every:
                yield from self._listen()

    def close(self) -> Iterator[Result]:
        """Yield the last results, at the end of the stream."""
        results = [*self._listen(), *self._pass(self._mel.close(), is_end=True)]
        yield from (result for result in results if result.final)

    def _listen(self) -> Iterator[Result]:
        samples, self._waiting = self._waiting, np.zeros(0, np.float32)
        if self._first:
            self._first.add(samples)
        yield from self._pass(self._mel.feed(samples))

    def _pass(self, mel: Floats, *, is_end: bool = False) -> Iterator[Result]:
        parts = self._gate.feed(mel)
        for number, (rows, places) in enumerate(parts, 1):
            yield from self._hear(rows, places, is_end=is_end or number < len(parts))

    def _begin(self) -> None:
        """Begin an utterance."""
        self._normaliser, self._network = causal.Normaliser(), Carried(self.recogniser)
        self._logits: deque[Floats] = deque()  # of the frames of the segment
        self._labels: list[int] = []  # the best of each
        self._places: list[int] = []  # which frame of the stream each is; longer by those that are not scored yet
        self._energies: list[float] = []  # of as many frames
        self._text = ""  # of the last partial result

    def _hear(self, mel: Floats, places: Longs, *, is_end: bool) -> Iterator[Result]:
        """Yield the results of the next frames [frames, 27] of an utterance."""
        self._places += places.tolist()
        self._energies += mel[:, -1].tolist()
        if len(mel) or (is_end and self._places):
            logits = self._network.feed(self._normaliser.feed(causal.cepstra(mel)))
            if is_end:
                logits = np.concatenate([logits, self._network.rest])
            self._logits.extend(logits)
            self._labels += logits.argmax(1).tolist()
            yield from self._results(is_end=is_end)
        if is_end:
            self._begin()

    def _results(self, *, is_end: bool) -> Iterator[Result]:
        alphabet = self.recogniser.alphabet
        nothing = (alphabet.blank, alphabet.numbers[" "])
        while True:
            spoken = np.array([place for place, label in enumerate(self._labels) if label not in nothing])
            frames = end_of_segment(spoken, len(self._labels)) if spoken.size else None
            if frames is None and is_end and spoken.size:
                frames = len(self._labels)
            if frames is None:
                break
            yield from self._finish_segment(frames)
        if not spoken.size:
            self._drop(len(self._labels) - round(LEAD / FRAME))
        if not is_end:
            yield from self._partial()

    def _partial(self) -> Iterator[Result]:
        """Yield the text that the segment has if the utterance ends here, if it is another than before."""
        labels = [*self._labels, *self._network.rest.argmax(1).tolist()]
        text = so_far(self.recogniser.alphabet.decode_path(labels))
        if text != self._text:
            self._text = text
            if text:
                yield self._result(text, len(labels), final=False)

    def _finish_segment(self, frames: int) -> Iterator[Result]:
        """Finish the first `frames` frames of the segment, and drop them."""
        logits = np.array([self._logits[place] for place in range(frames)])
        text = self.finish(logits)
        if text:
            result = self._result(text, frames, final=True)
            places = np.array(self._places[:frames], np.int64)
            known = Frames(places - places[0], np.array(self._energies[:frames], np.float32))
            yield replace(result, heard=Heard(text, logits, known))
            if self._first:
                self.warning = self.recogniser.warning(self._first.samples(self._places[0], self._places[frames - 1]))
                self._first = None
        self._drop(frames)
        self._text = ""

    def _result(self, text: str, frames: int, *, final: bool) -> Result:
        start, end = self._places[0] * FRAME, (self._places[frames - 1] + 1) * FRAME
        return Result(final=final, start=round(start, 2), end=round(end, 2), text=text)

    def _drop(self, count: int) -> None:
        """Drop the first `count` frames of the segment."""
        count = max(0, count)
        for _ in range(count):
            self._logits.popleft()
        del self._labels[:count], self._places[:count], self._energies[:count]


class _Beginning:
    """The samples of a stream until its first text, but no more than the last KEPT of them."""

    def __init__(self) -> None:
        self._parts: deque[Floats] = deque()
        self._dropped = self._held = 0

    def add(self, samples: Floats) -> None:
        self._parts.append(samples)
        self._held += len(samples)
        while self._held - len(self._parts[0]) >= KEPT:
            self._held -= len(self._parts[0])
            self._dropped += len(self._parts.popleft())

    def samples(self, first: int, last: int) -> Floats:
        """Return the [samples] from one frame to another."""
        start, end = first * audio.STEP - self._dropped, (last + 1) * audio.STEP - self._dropped
        return np.concatenate(self._parts)[max(0, start) : max(0, end)]
