"""The features, against python_speech_features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import python_speech_features
import soundfile

from deepspeech_wer.errors import Trouble
from deepspeech_wer.training import audio


@pytest.mark.parametrize("samples", [1, 10, 399, 400, 401, 560, 561, 720, 721, 16_000, 48_123])
def test_the_coefficients_are_those_of_python_speech_features(samples: int) -> None:
    signal = np.random.default_rng(samples).normal(0, 3000, samples).astype(np.int16)

    # The library's every second frame, as the 2016 notebook kept them.
    expected = python_speech_features.mfcc(signal, 16_000, numcep=26)[::2]

    found = audio.mfcc(signal.astype(np.float32))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-4
    assert audio.frame_count(samples) == len(expected)


def test_silence_has_finite_coefficients() -> None:
    assert np.isfinite(audio.normalise_each(audio.mfcc(np.zeros(8000, np.float32)))).all()


def test_each_coefficient_is_normalised_on_its_own_or_all_together() -> None:
    features = audio.mfcc(np.random.default_rng(1).normal(0, 3000, 16_000).astype(np.float32))

    assert np.allclose(audio.normalise_each(features).std(0), 1, atol=1e-3)
    together = audio.normalise_all(features)
    assert together.std() == pytest.approx(1, abs=1e-3)
    assert together.std(0).max() < 0.9  # the means of the coefficients are far apart, and stay so


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_wav_and_flac_give_the_same_samples(tmp_path: Path, suffix: str) -> None:
    signal = np.arange(-500, 500, dtype=np.int16)
    soundfile.write(tmp_path / f"a{suffix}", signal, 16_000, subtype="PCM_16")

    assert np.array_equal(audio.read_audio(tmp_path / f"a{suffix}"), signal)


def test_another_rate_or_stereo_is_refused_with_the_cure(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "fast.wav", np.zeros((800, 2), np.int16), 44_100)

    with pytest.raises(Trouble, match=r"fast\.wav: 44100 Hz, 2 channels: expected 16000 Hz, mono; .*sox"):
        audio.read_audio(tmp_path / "fast.wav")


def test_what_is_no_audio_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(b"fLaC and no more")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, np.int16), 16_000)

    with pytest.raises(Trouble, match=r"a\.flac: cannot be read as audio"):
        audio.read_audio(tmp_path / "a.flac")
    with pytest.raises(Trouble, match=r"empty\.wav: holds no sample"):
        audio.read_audio(tmp_path / "empty.wav")
    with pytest.raises(Trouble, match="absent"):
        audio.read_audio(tmp_path / "absent.wav")
