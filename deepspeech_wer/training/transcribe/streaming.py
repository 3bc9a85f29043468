"""Speech as it comes in: what was said so far every 200 ms, and a final text at each pause.

The network reads a stretch of speech in both directions, so what was said so far is heard anew each time. At a
real-time factor of a few thousandths that costs little, as long as a stretch is bounded: it ends at a pause or, where
it has grown long, at the longest gap in its second half. So time and memory are bounded, however long the stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from .. import audio
from ..arrays import Flags, Floats, Longs
from .recogniser import Recogniser

EVERY = audio.SAMPLE_RATE // 5  # samples from one partial result to the next: 200 ms
PAUSE = 0.8  # seconds without a letter that end a stretch
LONGEST = 15.0  # seconds of a stretch
LEAD = 0.3  # seconds kept before speech, so that its first sound is whole
LEAST_RISE = 1.0  # in ln energy: speech rises above its background by more, 4 dB; noise alone by 0.25, a hum by nothing

FRAME = audio.STEP / audio.SAMPLE_RATE  # seconds

Finish = Callable[[Floats], str]  # [frames, labels] logits to text


@dataclass(frozen=True)
class Result:
    """What was heard in one stretch of speech."""

    final: bool
    start: float  # seconds from the beginning of the stream
    end: float
    text: str


class StreamRecogniser:
    """Hears one stream, anew after each `every` samples.

    The final texts are by `finish` (greedy when not given), the partial ones always greedy.
    """

    def __init__(self, recogniser: Recogniser, finish: Finish | None = None, every: int = EVERY) -> None:
        self.recogniser, self.every = recogniser, every
        self.finish = finish or recogniser.greedy
        self._samples = np.zeros(0, np.float32)  # the stretch
        self._passed = 0  # samples of the stream before it
        self._waiting = 0  # samples at its end that were not heard yet

    def feed(self, samples: Floats) -> Iterator[Result]:
        """The results that [samples] at 16 kHz bring, in the range of 16-bit integers; any number of samples."""
        while len(samples):
            # Not beyond a step, so that the results do not depend on how the stream is cut into pieces.
            part, samples = np.split(samples, [self.every - self._waiting])
            self._samples = np.concatenate([self._samples, part])
            self._waiting += len(part)
            if self._waiting == self.every:
                self._waiting = 0
                yield from self._hear()

    def close(self) -> Iterator[Result]:
        """The last result, at the end of the stream."""
        results = list(self._hear())
        yield from (result for result in results if result.final)
        if results and not results[-1].final:
            yield from self._end(-(-len(self._samples) // audio.STEP))
        self._forget(len(self._samples))

    def _hear(self) -> Iterator[Result]:
        while True:
            logits = self._logits()
            if logits is None or not (spoken := np.flatnonzero(self._letters(logits))).size:
                self._forget(len(self._samples) - round(LEAD * audio.SAMPLE_RATE))
                return
            frames = _end_of_stretch(spoken, len(logits))
            if frames is None:
                yield self._result(self.recogniser.greedy(logits), len(logits), final=False)
                return
            yield from self._end(frames)

    def _logits(self) -> Floats | None:
        """[frames, labels] logits of the stretch; None where nothing rises above its background.

        Normalisation would make that background as loud as speech.
        """
        if len(self._samples) < audio.WINDOW:
            return None
        mel = audio.log_mel(self._samples)
        energies = mel[mel[:, -1] >= audio.SILENT, -1]
        if not len(energies):
            return None
        quiet, loud = np.percentile(energies, (10, 95))
        return self.recogniser.logits_of_mel(mel) if loud - quiet >= LEAST_RISE else None

    def _letters(self, logits: Floats) -> Flags:
        """[frames] whether a letter is heard there."""
        alphabet = self.recogniser.alphabet
        best = logits.argmax(1)
        heard: Flags = (best != alphabet.blank) & (best != alphabet.numbers[" "])
        return heard

    def _end(self, frames: int) -> Iterator[Result]:
        """Make the first so many frames final, and go on with what follows."""
        text = self.finish(self.recogniser.logits(self._samples[: frames * audio.STEP]))
        if text:
            yield self._result(text, frames, final=True)
        self._forget(frames * audio.STEP)

    def _result(self, text: str, frames: int, *, final: bool) -> Result:
        start = self._passed / audio.SAMPLE_RATE
        return Result(final, round(start, 2), round(start + frames * FRAME, 2), text)

    def _forget(self, count: int) -> None:
        """Let go of the first so many samples of the stretch."""
        count = max(0, count)
        self._samples = self._samples[count:].copy()
        self._passed += count


def _end_of_stretch(spoken: Longs, frames: int) -> int | None:
    """Where, in so many frames, the first stretch of speech ends: half a pause after its last letter.

    `spoken` are the frames with letters. None: it goes on.
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
