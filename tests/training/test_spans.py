"""Where words begin and end: the network's letters, and the quiet beside them."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspeech_wer.training import audio, spans
from deepspeech_wer.training.alignment import Edges, Letter, Word
from deepspeech_wer.training.arrays import Floats
from deepspeech_wer.training.spans import Frames

NONE = Edges(0.0, 0.0)
LEVELS = {".": 0.0, "-": 2.0, "#": 10.0, "0": -36.04}  # of ln energy: background, a breath, speech, digital silence


def frames_of(levels: str, places: list[int] | None = None) -> Frames:
    """A frame for each character of LEVELS."""
    energies = np.array([LEVELS[one] for one in levels], np.float32)
    return Frames(np.arange(len(levels)) if places is None else np.array(places), energies)


def words_at(*frames: tuple[int, int]) -> list[Word]:
    """Words of one letter each, written from one frame to another."""
    return [Word("a", (Letter("a", begin, end, 0.0),)) for begin, end in frames]


def in_frames(words: list[Word], frames: Frames, edges: Edges = NONE) -> list[tuple[float, float]]:
    return [(round(begin / 0.02, 3), round(end / 0.02, 3)) for begin, end in spans.of_words(words, frames, edges)]


@pytest.mark.parametrize(
    ("levels", "written", "expected"),
    [
        (".....#####....", [(6, 8)], [(5, 10)]),
        (".....#####....", [(2, 8)], [(5, 10)]),  # too early
        (".....#####....", [(7, 13)], [(5, 10)]),  # too late
        (".....#####...#####...", [(6, 8), (16, 18)], [(5, 10), (13, 18)]),
        (".....#####...#####...", [(4, 11), (14, 20)], [(5, 10), (13, 18)]),
        (".....#####.#####.....", [(5, 9), (12, 15)], [(5, 10), (11, 16)]),  # one frame of quiet
        ("..########..##...#####..", [(2, 14), (17, 22)], [(2, 14), (17, 22)]),  # a closure in the first word
        ("..########..##.#####..", [(2, 14), (15, 20)], [(2, 14), (15, 20)]),  # longer than the gap
        ("--...#####...--", [(5, 9)], [(5, 10)]),  # breaths
        ("00000#####000##0000", [(5, 9), (13, 14)], [(5, 10), (13, 15)]),
    ],
)
def test_words_begin_and_end_beside_the_quiet(
    levels: str, written: list[tuple[int, int]], expected: list[tuple[int, int]]
) -> None:
    assert in_frames(words_at(*written), frames_of(levels)) == expected


@pytest.mark.parametrize(
    ("levels", "written"),
    [
        ("##########", [(1, 3), (6, 8)]),  # spoken without a pause
        ("..........", [(1, 3), (6, 8)]),  # a text where nobody speaks
        ("0000000000", [(1, 3), (6, 8)]),
        ("---.---.--", [(1, 3), (6, 8)]),  # nothing is 10 dB below
        ("#", [(0, 1)]),
    ],
)
def test_without_quiet_they_are_where_the_network_has_them(levels: str, written: list[tuple[int, int]]) -> None:
    assert in_frames(words_at(*written), frames_of(levels)) == written


def test_quiet_far_from_where_the_network_sees_a_side_is_in_a_word() -> None:
    levels = "." * 5 + "#" * 10 + "..." + "#" * 20 + "." * 5

    assert in_frames(words_at((5, 28), (28, 38)), frames_of(levels)) == [(5, 28), (28, 38)]


def test_pauses_that_the_network_did_not_hear_count_in_times() -> None:
    frames = frames_of("..####....####..", [*range(8), *range(108, 116)])

    assert in_frames(words_at((2, 6), (10, 14)), frames) == [(2, 6), (110, 114)]


def test_letters_are_moved_by_the_edges_where_there_is_no_quiet() -> None:
    found = spans.of_words(words_at((20, 25), (40, 45)), frames_of("#" * 60), Edges(0.1, 0.06))

    assert found == [pytest.approx(one) for one in ((0.3, 0.56), (0.7, 0.96))]
    assert spans.of_words([], frames_of(""), NONE) == []


def test_letters_are_in_their_word() -> None:
    word = Word("ab", (Letter("a", 10, 11, 0.0), Letter("b", 18, 20, 0.0)))

    assert spans.of_letters(word, (1.0, 2.0)) == [pytest.approx((1.0, 1.1)), pytest.approx((1.8, 2.0))]


@given(
    st.lists(st.floats(-36, 25), min_size=1, max_size=60),
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=8),
    st.floats(-0.3, 0.3),
    st.floats(-0.3, 0.3),
)
def test_words_follow_each_other_whatever_the_sound(
    energies: list[float], lengths: list[tuple[int, int]], lead: float, trail: float
) -> None:
    written, at = [], 0
    for gap, length in lengths:
        at += gap
        if at + length > len(energies):
            break
        written.append((at, at + length))
        at += length
    frames = Frames(np.arange(len(energies)), np.array(energies, np.float32))

    found = spans.of_words(words_at(*written), frames, Edges(lead, trail))

    assert len(found) == len(written)
    sides = [side for span in found for side in span]
    assert all(after >= before - 1e-9 for before, after in pairwise(sides))
    assert all(end > begin for begin, end in found)


SPEAK = """
import sys
import numpy as np
from deepspeech_wer.training import audio
from deepspeech_wer.training.importers.synthetic import VOICES, WORDS
from deepspeech_wer.training.importers.tools.espeak import Engine
engine = Engine()
spoken = [audio.resample(engine.speak(word, voice, 170, 50), engine.rate) for word in WORDS for voice in VOICES[:3]]
np.savez(sys.argv[1], *spoken)
"""


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> list[Floats]:
    """The words of eSpeak NG, each without what is 40 dB below its peak at its sides; it stays in its process."""
    path = tmp_path_factory.mktemp("spoken") / "words.npz"
    subprocess.run([sys.executable, "-c", SPEAK, str(path)], check=True, timeout=300)
    trimmed = []
    for samples in np.load(path).values():
        loud = np.flatnonzero(np.abs(samples) > np.abs(samples).max() / 100)
        trimmed.append(samples[loud[0] : loud[-1] + 1].astype(np.float32))
    return trimmed


@pytest.mark.parametrize("noise", [8, 40])
def test_joined_words_are_found_from_letters_that_are_up_to_80_ms_off(spoken: list[Floats], noise: int) -> None:
    rng = np.random.default_rng(2)
    off = []
    for _ in range(60):
        parts, known, at = [np.zeros(3200, np.float32)], [], 3200
        for number in rng.integers(0, len(spoken), 4):
            known.append((at, at + len(spoken[number])))
            parts += [spoken[number], np.zeros(round(rng.uniform(0.03, 0.2) * 16_000), np.float32)]
            at += len(parts[-2]) + len(parts[-1])
        samples = np.concatenate([*parts, np.zeros(3200, np.float32)])
        mel = audio.log_mel(samples + rng.normal(0, noise, len(samples)).astype(np.float32))
        guess = np.array(known) / audio.STEP + rng.uniform(-4, 4, (4, 2))  # frames
        sides = np.maximum.accumulate(np.round(guess).astype(int).ravel() + np.arange(8) // 2).reshape(4, 2)
        words = words_at(*((int(begin), max(int(end), int(begin) + 1)) for begin, end in sides))
        found = spans.of_words(words, Frames(np.arange(len(mel)), mel[:, -1]), NONE)
        off += [np.array(one) - np.array(true) / 16_000 for one, true in zip(found, known, strict=True)]
    near = (np.abs(off) <= 0.06).mean(0)

    assert near.min() >= 0.95
