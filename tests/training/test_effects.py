"""What rooms, noise, recorders and telephones do to real speech, measured."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from real_speech import utterances

from deepspeech_wer.training import audio
from deepspeech_wer.training.arrays import Floats
from deepspeech_wer.training.sound import band, effects

SPEECH = utterances()


def decibels(ratio: float) -> float:
    return 10 * float(np.log10(ratio))


@pytest.mark.parametrize("snr", [-5.0, 0.0, 12.5, 30.0])
@pytest.mark.parametrize("level", [3.0, 3000.0])
def test_the_measured_signal_to_noise_ratio_is_the_one_asked_for(snr: float, level: float) -> None:
    for number, speech in enumerate(SPEECH):
        noise = np.random.default_rng(number).normal(200, level, len(speech)).astype(np.float32)  # with an offset
        added = effects.overlay(speech, noise, snr) - speech

        assert decibels(speech.astype(np.float64).var() / added.astype(np.float64).var()) == pytest.approx(
            snr, abs=0.01
        )
        assert abs(added.mean()) < 0.02 * added.std()
        assert np.corrcoef(added, noise)[0, 1] > 0.9999


def test_silent_noise_and_silent_speech_change_nothing() -> None:
    speech, silence = SPEECH[0], np.zeros(len(SPEECH[0]), np.float32)

    assert np.array_equal(effects.overlay(speech, silence, 10), speech)
    assert np.array_equal(effects.overlay(speech, silence + 5, 10), speech)
    assert np.array_equal(effects.overlay(silence, speech, 10), silence)
    for change in (
        lambda one: effects.reverberate(one, 50, 5),
        lambda one: effects.at_volume(one, -20),
        effects.telephoned,
    ):
        assert not change(silence).any()


def reverberation_time(response: Floats) -> float:
    """Return the seconds in which energy falls by 60 dB: Schroeder's integration, from -5 to -35 dB (ISO 3382)."""
    left = np.cumsum(response.astype(np.float64)[::-1] ** 2)[::-1]
    curve = 10 * np.log10(np.maximum(left / left[0], 1e-12))
    inside = np.flatnonzero((curve <= -5) & (curve >= -35))
    slope, _ = np.polyfit(inside / audio.SAMPLE_RATE, curve[inside], 1)
    return float(-60 / slope)


@pytest.mark.parametrize(("delay", "decay"), [(20.0, 3.0), (40.0, 6.0), (80.0, 10.0)])
def test_the_energy_of_a_click_decays_as_delay_and_decay_say(delay: float, decay: float) -> None:
    click = np.zeros(3 * audio.SAMPLE_RATE, np.float32)
    click[0] = 10_000
    response = effects.reverberate(click, delay, decay)
    first = delay / 1000 * 60 / decay  # seconds for 60 dB of the comb whose echoes come soonest; the last takes 31 / 17

    assert first * 0.95 < reverberation_time(response) < first * 31 / 17 * 1.05
    step = round(delay / 1000 * audio.SAMPLE_RATE)
    echoes = [response[number * step] / response[step] for number in range(1, 5)]
    assert [20 * np.log10(one) for one in echoes] == pytest.approx([-decay * number for number in range(4)], abs=0.01)
    assert not response[1:step].any()


def test_speech_in_a_room_fades_instead_of_ending() -> None:
    for speech in SPEECH:
        cut = np.concatenate([speech, np.zeros(audio.SAMPLE_RATE, np.float32)])
        heard = effects.reverberate(cut, 40, 4).astype(np.float64)
        tail = heard[len(speech) :]
        powers = [decibels(float((part**2).mean())) for part in tail.reshape(4, -1)]  # of quarters of a second

        assert len(heard) == len(cut)
        assert heard.var() == pytest.approx(cut.astype(np.float64).var(), rel=1e-4)
        # 100 dB a second for the comb whose echoes come soonest, 55 for the last; give or take an echo.
        assert 0.75 * 55 - 4 < powers[0] - powers[3] < 0.75 * 100 + 4


def test_mu_law_is_that_of_libsndfile_for_all_samples() -> None:
    every = np.arange(-32768, 32768).astype(np.int16)
    stream = io.BytesIO()
    soundfile.write(stream, every, 8000, format="WAV", subtype="ULAW")
    stream.seek(0)
    expected, _ = soundfile.read(stream, dtype="int16")

    assert np.array_equal(effects.mu_law(every.astype(np.float32)), expected)


def test_mu_law_has_the_decision_and_output_values_of_g_711() -> None:
    # ITU-T G.711 (11/1988), table 2a, columns 5 and 7: decision values of 14 bits, and the output above each.
    table = {0: 0, 1: 2, 3: 4, 29: 30, 31: 33, 35: 37, 95: 99, 223: 231, 479: 495, 991: 1023, 2015: 2079, 4063: 4191}
    decisions = np.array([*table, 7903]) * 4.0

    found = effects.mu_law(decisions.astype(np.float32)) / 4
    assert found.tolist() == [*table.values(), 8031]
    below = effects.mu_law((decisions[1:] - 0.01).astype(np.float32)) / 4
    assert (below < found[1:]).all()


def test_mu_law_follows_the_compression_formula() -> None:
    # F(x) = ln(1 + 255 |x|) / ln(256), which G.711's segments approximate: 128 steps, equally wide in F.
    magnitudes = np.linspace(50, 32_000, 5000).astype(np.float32)
    decoded = effects.mu_law(magnitudes)
    compressed, back = (np.log1p(255 * one / 32768) / np.log(256) for one in (magnitudes, decoded))

    assert np.abs(compressed - back).max() < 1 / 128
    assert np.array_equal(effects.mu_law(decoded), decoded)  # what is coded twice is as coded once
    assert np.array_equal(effects.mu_law(-magnitudes), -decoded)


def test_the_telephone_has_no_sound_above_4_khz_and_mu_laws_noise() -> None:
    for speech in SPEECH:
        heard = effects.telephoned(speech)
        spectrum, before = (np.abs(np.fft.rfft(one.astype(np.float64))) ** 2 for one in (heard, speech))
        edge = len(spectrum) // 2
        low = heard - effects.resampled(speech, 8000)

        assert len(heard) == len(speech)
        assert band.is_narrow(heard)
        assert spectrum[edge + 50 :].sum() < 1e-6 * before.sum()
        assert 25 < decibels(heard.var() / low.var()) < 45  # 8-bit mu-law: 33 to 38 dB for loud speech


@pytest.mark.parametrize("rate", [4000, 7999, 8000, 11_025, 12_000, 16_000])
def test_another_rate_keeps_what_is_below_half_of_it(rate: int) -> None:
    time = np.arange(20_001) / audio.SAMPLE_RATE
    edges = np.minimum(1, np.minimum(time, time[::-1]) / 0.1)  # no click at the ends
    low, high = (3000 * edges * np.sin(2 * np.pi * hertz * time) for hertz in (0.4 * rate, 0.56 * rate))
    heard = effects.resampled((low + high).astype(np.float32), rate)

    assert len(heard) == len(low)
    expected = low if rate < 16_000 else low + high
    assert np.abs(heard - expected).max() < 25
    if rate == 16_000:
        assert np.abs(heard - expected).max() <= 0.51  # 16 bits


def test_a_volume_is_the_peak_in_16_bits_and_above_full_scale_it_is_clipped() -> None:
    for speech in SPEECH:
        quiet, loud = effects.at_volume(speech, -40), effects.at_volume(speech, 6)

        assert 20 * np.log10(np.abs(quiet).max() / 32768) == pytest.approx(-40, abs=0.05)
        assert np.array_equal(quiet, np.round(quiet))
        assert (loud.min(), loud.max()) >= (-32768, 0)
        assert loud.max() <= 32767
        assert max(-loud.min(), loud.max()) >= 32767
