"""Measures streams of exported networks beside each other: cost, delay and errors.

    .venv/bin/python -m tests.benchmarks.streams EXPORT [EXPORT...] [--dataset DIR] [--every N] [--lm]

Ratios are against the first EXPORT, that of a bidirectional network, say; the others have a ds_lookahead. The test set
of DIR (AN4) is heard recording by recording, and joined to streams of five minutes, with pauses of 2.5 s:

- real-time factor: CPU-seconds per second of speech, of one thread
- first partial: from where speech begins to the first partial text, and to the first that the final text goes on from
- words (of the joined streams): from the end of a word to when it is in the text for good, and to the final text
- pieces (of the joined streams): the CPU time of one of 40 ms, which a network with look-ahead has the same of them all

A sample can be heard when its piece of 40 ms is complete, and each result comes after the CPU time that it takes.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before numpy is imported

import numpy as np

from deepspeech_wer import wer
from deepspeech_wer.training import audio, spans
from deepspeech_wer.training.arrays import Floats
from deepspeech_wer.training.transcribe import details, transcriber
from deepspeech_wer.training.transcribe.recogniser import Finish, Recogniser
from deepspeech_wer.training.transcribe.streaming import Result
from tests.benchmarks.peers import AN4, Recording, joined, read

PIECE = 2 * audio.STEP  # samples
LONGEST = 300.0  # seconds of a joined stream
Timed = list[tuple[float, Result]]  # when each result of a stream was there


@dataclass
class Network:
    """An export, and what was measured of it."""

    name: str
    recogniser: Recogniser
    finish: Finish
    file_seconds: float = 0.0
    seconds: float = 0.0
    wrong: int = 0
    differing: int = 0
    words: int = 0
    first: list[float] = field(default_factory=list)
    steady: list[float] = field(default_factory=list)


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("exports", type=Path, nargs="+", metavar="EXPORT")
    parser.add_argument("--dataset", type=Path, default=AN4)
    parser.add_argument("--every", type=int, default=1, help="take every Nth utterance only")
    parser.add_argument("--lm", action="store_true", help="decode final texts with each export's language model")
    given = parser.parse_args()
    recordings = list(read(given.dataset / "test.csv", given.every))
    networks = [_network(export, with_lm=given.lm) for export in given.exports]
    for recording in recordings:  # in turn: what else the machine does meets all of them alike
        for network in networks:
            _measure(network, recording)
    total = sum(len(one.samples) for one in recordings) / audio.SAMPLE_RATE
    print(f"{len(recordings)} recordings, {total:.0f} s", flush=True)
    for network in networks:
        print(_line(network, networks[0], total), flush=True)
    streams = list(joined(recordings, np.random.default_rng(1), LONGEST))
    print(f"\n{len(streams)} joined streams of up to {LONGEST:.0f} s", flush=True)
    for network in networks:
        print(_joined_line(network, streams), flush=True)
    return 0


def _network(export: Path, *, with_lm: bool) -> Network:
    recogniser = Recogniser(export)
    ahead = recogniser.description.lookahead
    options = transcriber.Options(export, language_model="own" if with_lm else None)
    search = transcriber.search(recogniser, options)
    finish = search.text if search else recogniser.greedy
    return Network(f"look-ahead {ahead}" if ahead else "bidirectional", recogniser, finish)


def _measure(network: Network, recording: Recording) -> None:
    """Hear one recording as a file and as a stream."""
    started = time.process_time()
    whole = network.recogniser.text(recording.samples, network.finish)
    network.file_seconds += time.process_time() - started
    heard, spent = _stream(network, recording.samples)
    network.seconds += sum(spent)
    final = " ".join(one.text for _, one in heard if one.final)
    counts = wer.score_utterance(recording.transcript, final)
    network.wrong += counts.errors
    network.words += counts.reference
    network.differing += final != whole
    begin = audio.loud_part(audio.log_mel(audio.without_offset(recording.samples)))[0] * spans.FRAME
    times = [time for time, _ in heard]
    steady = [time for time, one in heard if final.startswith(one.text)]
    network.first += [one - begin for one in times[:1]]
    network.steady += [one - begin for one in steady[:1]]


def _stream(network: Network, samples: Floats) -> tuple[Timed, list[float]]:
    """Return the results of a stream with their times, and the CPU-seconds of each piece."""
    stream = transcriber.listener(network.recogniser, network.finish)
    heard: Timed = []
    spent: list[float] = []
    free = 0.0  # when the processor has done all before
    for start in range(0, len(samples) + PIECE, PIECE):
        piece = samples[start : start + PIECE]
        free = max(free, min(start + PIECE, len(samples)) / audio.SAMPLE_RATE)
        before = time.process_time()
        found = list(stream.feed(piece) if len(piece) else stream.close())
        spent.append(time.process_time() - before)
        free += spent[-1]
        heard += [(free, one) for one in found]
    return heard, spent


def _line(network: Network, base: Network, total: float) -> str:
    return (
        f"{network.name:14} stream: real-time factor {network.seconds / total:.4f} "
        f"({network.seconds / base.seconds:.2f} times), file: {network.file_seconds / total:.4f} "
        f"({network.file_seconds / base.file_seconds:.2f} times); first partial {_spread(network.first)}; "
        f"first that stays {_spread(network.steady)}; WER {network.wrong / network.words:.2%}; "
        f"{network.differing} texts differ from the file's"
    )


def _joined_line(network: Network, streams: Sequence[Recording]) -> str:
    told = details.Details(network.recogniser, details.Wanted())
    stays: list[float] = []
    ends: list[float] = []
    texts, pieces = {}, []
    for number, one in enumerate(streams):
        heard, spent = _stream(network, one.samples)
        texts[str(number)] = " ".join(result.text for _, result in heard if result.final)
        pieces += spent
        segment: Timed = []
        for when, result in heard:
            segment.append((when, result))
            if result.final:
                words = told.of(result)["words"]
                stays += _until_steady(segment, words)
                ends += [when - words[-1]["end"]] if words else []
                segment = []
    rate = wer.score_corpus({str(number): one.transcript for number, one in enumerate(streams)}, texts).wer or 0.0
    usual, most = np.percentile(pieces, [50, 99]) * 1000
    return (
        f"{network.name:14} words stay {_spread(stays)}; final {_spread(ends)} after the last word; "
        f"WER {rate:.2%}; piece {usual:.2f} ms (99 %: {most:.2f})"
    )


def _until_steady(segment: Timed, words: Sequence[dict[str, Any]]) -> list[float]:
    """Return how long after its end each word of the final text is in all the texts."""
    found = []
    for place, word in enumerate(words):
        since = segment[-1][0]
        for when, result in reversed(segment):
            said = result.text.split()
            if len(said) <= place or said[place] != word["word"]:
                break
            since = when
        found.append(since - word["end"])
    return found


def _spread(values: Sequence[float]) -> str:
    """Return the median and the 95th percentile, in ms."""
    if not values:
        return "none"
    middle, most = np.percentile(values, [50, 95]) * 1000
    return f"{middle:.0f} ms (95 %: {most:.0f})"


if __name__ == "__main__":
    sys.exit(main())
