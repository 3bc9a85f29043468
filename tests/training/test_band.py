"""Narrow-band speech is told: 8 kHz recordings that were converted to 16 kHz."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import signal

from deepspeech_wer.training import audio, dataset, hashes
from deepspeech_wer.training.corpus import Utterance
from deepspeech_wer.training.parameters import from_environment
from deepspeech_wer.training.sound import augment, band
from deepspeech_wer.training.text import Alphabet

RATE = audio.SAMPLE_RATE


def wide_speech(seed: int = 0, hiss: float = 0.05) -> audio.Floats:
    """[samples] of vowels, harmonics that fall by 6 dB an octave, and of hisses above 4 kHz, with pauses."""
    rng = np.random.default_rng(seed)
    time = np.arange(2 * RATE) / RATE
    vowels = sum(np.sin(2 * np.pi * 130 * n * time) / n for n in range(1, 60))
    noise = signal.sosfilt(signal.butter(6, 4500, "high", fs=RATE, output="sos"), rng.normal(0, 1, len(time)))
    gates = time * 10 % 10 < 1
    speech = 4000 * (vowels * (np.sin(2 * np.pi * 2 * time) > -0.5) + hiss * 10 * noise * gates)
    return np.asarray(np.round(speech + rng.normal(0, 2, len(time))), np.float32)


def telephone(samples: audio.Floats, law: bool = False) -> audio.Floats:
    """The same, recorded at 8 kHz, with mu-law perhaps, and converted back."""
    eight = signal.resample_poly(samples, 1, 2)
    if law:
        level = np.round(np.sign(eight) * np.log1p(255 * np.abs(eight) / 32768) / np.log(256) * 127) / 127
        eight = np.sign(level) * (256 ** np.abs(level) - 1) / 255 * 32768
    return np.asarray(np.round(signal.resample_poly(eight, 2, 1)), np.float32)


@pytest.mark.parametrize("gain", [1.0, 0.1])
def test_speech_that_was_recorded_at_8_khz_is_narrow(gain: float) -> None:
    assert not band.is_narrow(np.round(wide_speech() * gain))
    assert band.is_narrow(telephone(wide_speech() * gain))
    assert band.is_narrow(telephone(wide_speech(), law=True))


def test_little_above_4_khz_is_enough_to_be_wide() -> None:
    assert not band.is_narrow(wide_speech(hiss=0.01))


def test_silence_noise_and_a_moment_are_not_narrow() -> None:
    rng = np.random.default_rng(0)
    assert not band.is_narrow(np.zeros(RATE, np.float32))
    assert not band.is_narrow(np.round(rng.normal(0, 1, RATE)).astype(np.float32))
    assert not band.is_narrow(telephone(wide_speech())[: RATE // 5])


def test_a_set_with_narrow_recordings_is_told_in_one_line_in_each_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for number in range(14):
        samples = wide_speech(number)
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, (telephone(samples) if number >= 2 else samples).astype(np.int16), RATE)
        said.append(Utterance(str(number), path, "a b"))

    for _ in range(2):  # the second time from the cache
        dataset.prepare(said, Alphabet(), tmp_path / "cache")
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith(
            "in doubt: narrow-band recordings, with nothing above 4 kHz, as of a telephone: 12, the "
        )
        assert f"first utterance 2 ({tmp_path / '2.wav'})" in line


def test_hashes_are_looked_up_at_once_and_one_by_one(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]))
        stamp = path.stat().st_mtime - 100
        os.utime(path, (stamp, stamp))
    store = hashes.Hashes(tmp_path / "cache")
    wanted = [store.of(path) for path in paths]
    store.close()

    ahead = hashes.Hashes(tmp_path / "cache")
    ahead.look_ahead(paths[:2])
    paths[1].write_bytes(b"changed")

    assert ahead.of(paths[0]) == wanted[0]
    assert ahead.of(paths[1]) != wanted[1]
    assert ahead.of(paths[2]) == wanted[2]
    ahead.close()


LIMITED = from_environment({"ds_augment_band_limit": "1"})


def test_the_variation_makes_features_as_a_telephone_does() -> None:
    wide, narrow = wide_speech(), telephone(wide_speech())
    given, wanted = audio.log_mel(wide), audio.log_mel(narrow)
    found = augment.change_mel(given, LIMITED, np.random.default_rng(1), 1.0, 1)

    upper, lower = slice(21, 26), slice(0, 17)
    assert given[:, upper].mean() - wanted[:, upper].mean() > 2
    assert abs(found[:, upper].mean() - wanted[:, upper].mean()) < 2
    assert np.allclose(found[:, lower], given[:, lower], atol=1e-4)
    assert np.abs(found[:, -1] - wanted[:, -1]).max() < 1


def test_a_share_of_the_utterances_is_varied_and_digital_silence_stays() -> None:
    half = from_environment({"ds_augment_band_limit": "0.5"})
    given = audio.log_mel(np.concatenate([np.zeros(RATE, np.float32), wide_speech()]))
    assert augment.is_on(half)

    changed = [augment.change_mel(given, half, np.random.default_rng(seed), 1.0, 1) for seed in range(60)]

    varied = [one for one in changed if not np.allclose(one, given, atol=1e-4)]
    assert 15 < len(varied) < 45
    assert all((one[:40, -1] < audio.SILENT).all() for one in changed)
