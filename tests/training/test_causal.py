"""Features of a stream: the same in pieces of any size, and how they differ from those of a whole recording."""

from __future__ import annotations

import numpy as np
import pytest
from tone_corpus import DISTURBANCES, disturbance, tone_speech

from deepspeech_wer.training import audio
from deepspeech_wer.training.arrays import Floats, Longs
from deepspeech_wer.training.sound import causal

RATE = audio.SAMPLE_RATE
SECOND = RATE // audio.STEP  # frames


def noise(seconds: float, level: float = 20, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE)).astype(np.float32)


def spoken(text: str, seed: int = 0) -> Floats:
    return tone_speech(text, seed).astype(np.float32)


def in_pieces(samples: Floats, size: int) -> Floats:
    """The frames of samples that come in pieces."""
    front = causal.Mel()
    rows = [front.feed(samples[start : start + size]) for start in range(0, len(samples), size)]
    return np.concatenate([*rows, front.close()])


@pytest.mark.parametrize("size", [1, 7, 319, 320, 401, 5000])
@pytest.mark.parametrize("count", [1, 399, 401, 7777])
def test_frames_do_not_depend_on_the_pieces(size: int, count: int) -> None:
    samples = spoken("a b")[1500 : 1500 + count]

    found, whole = in_pieces(samples, size), in_pieces(samples, count)

    assert len(found) == audio.frame_count(count)
    assert np.abs(found - whole).max() < 1e-6


def test_without_an_offset_they_are_those_of_audio_but_for_the_lowest_sounds() -> None:
    samples = spoken("a b c")

    difference = np.abs(in_pieces(samples, 1000) - audio.log_mel(samples))

    assert difference[:, 2:].max() < 0.2
    assert difference.max() < 2


def test_an_offset_changes_nothing() -> None:
    samples = spoken("a b c")

    assert np.abs(in_pieces(samples + 3000, 640) - in_pieces(samples, 640)).max() < 1e-2


def passed(*parts: Floats, size: int = 10_000) -> list[Longs]:
    """The numbers of the frames of each utterance in joined samples that come `size` frames at a time."""
    mel = in_pieces(np.concatenate(parts), 100_000)
    gate, found = causal.Gate(), [np.zeros(0, np.int64)]
    for start in range(0, len(mel), size):
        for number, (rows, places) in enumerate(gate.feed(mel[start : start + size])):
            if number:
                found.append(places)
            else:
                found[-1] = np.concatenate([found[-1], places])
            assert len(rows) == len(places)
    return [places for places in found if len(places)]


@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_the_second_after_speech_is_heard_and_a_third_of_one_before_it(size: int) -> None:
    first, second = passed(noise(3), spoken("a b"), noise(4), spoken("c"), noise(0.4), size=size)

    assert np.diff(first).max() == np.diff(second).max() == 1
    assert first[0] == pytest.approx(3.1 * SECOND - 15, abs=4)
    assert first[-1] == pytest.approx((3.1 + 0.5 + 1) * SECOND, abs=4)
    assert second[0] == pytest.approx((3 + 0.7 + 4.1) * SECOND - 15, abs=4)


def test_short_quiet_parts_are_heard_whole() -> None:
    [places] = passed(noise(0.8), spoken("a"), noise(0.6), spoken("b"), noise(0.6))

    assert places[0] == 0
    assert np.diff(places).max() == 1
    assert places[-1] == audio.frame_count(round((0.8 + 0.4 + 0.6 + 0.4 + 0.6) * RATE)) - 1


@pytest.mark.parametrize(
    "samples",
    [
        noise(5),
        noise(5, 3000),
        np.zeros(5 * RATE, np.float32),
        np.full(5 * RATE, 700, np.float32),
        (2000 * np.sin(2 * np.pi * 50 * np.arange(5 * RATE) / RATE)).astype(np.float32),
        np.where(np.arange(5 * RATE) % RATE < RATE // 2, noise(5, 1), 0).astype(np.float32),
        np.where(np.arange(5 * RATE) % RATE < 80, 8000, noise(5)).astype(np.float32),  # clicks
        *(disturbance(kind, 45) for kind in DISTURBANCES),
        *(np.round(disturbance(kind, 5) + noise(5, 3)) for kind in DISTURBANCES),
    ],
    ids=[
        *("quiet noise", "loud noise", "silence", "offset", "hum", "muted at times", "clicks"),
        *DISTURBANCES,
        *(f"{kind} and noise" for kind in DISTURBANCES),
    ],
)
def test_what_does_not_rise_is_not_heard_but_can_be_learnt(samples: Floats) -> None:
    assert passed(samples) == []
    assert not len(causal.kept(samples)[0])
    assert len(causal.speech_mel(samples)) == audio.frame_count(len(samples))


def test_a_louder_background_is_speech_for_some_seconds_only() -> None:
    [places] = passed(noise(2, 20), noise(20, 400))

    assert places[-1] < 12 * SECOND


def test_digital_silence_within_speech_becomes_the_quiet_before_it() -> None:
    muted = np.concatenate([noise(0.5), spoken("a"), np.zeros(RATE // 2, np.float32), spoken("b")])

    rows, places = causal.kept(muted)

    assert np.diff(places).max() == 1
    assert (rows[:, -1] < 10).sum() <= 4  # the filter's way to zero
    assert rows[:, -1].min() > causal.SILENT


def test_normalised_frames_do_not_depend_on_the_pieces() -> None:
    mel = causal.speech_mel(spoken("a b c a"))
    features = causal.cepstra(mel)
    whole = causal.Normaliser().feed(features)
    assert np.abs(whole - causal.normalise(audio.cepstra(mel))).max() < 1e-4
    for size in (1, 2, 13):
        one = causal.Normaliser()
        pieces = [one.feed(features[start : start + size]) for start in range(0, len(features), size)]
        assert np.array_equal(np.concatenate(pieces), whole)
    assert causal.Normaliser().feed(features[:0]).shape == (0, audio.COEFFICIENTS)


def test_mean_and_deviation_come_to_be_those_of_what_is_heard() -> None:
    rng = np.random.default_rng(0)
    loud = rng.normal(40, 7, (3000, audio.COEFFICIENTS)).astype(np.float32)

    found = causal.normalise(loud)

    assert np.abs(found[0]).max() > 2
    assert np.abs(found[-600:].mean(0)).max() < 0.2
    assert np.abs(found[-600:].std(0) - 1).max() < 0.1
