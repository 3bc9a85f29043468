"""Varied speech stays speech: the same length rules, the same seed, the same result."""

from __future__ import annotations

import numpy as np
import pytest

from deepspeech_wer.training import audio
from deepspeech_wer.training.parameters import from_environment
from deepspeech_wer.training.sound import augment

ALL = from_environment(
    {
        "ds_augment_tempo": "0.2",
        "ds_augment_pitch": "0.1",
        "ds_augment_frequency_masks": "1",
        "ds_augment_time_masks": "2",
        "ds_augment_noise": "0.1",
    }
)
MEL = audio.log_mel(np.random.default_rng(0).normal(0, 3000, 32_000).astype(np.float32))  # [100, 27]


def test_without_any_variable_it_is_off() -> None:
    assert not augment.is_on(from_environment({}))
    assert augment.is_on(ALL)


def test_the_same_generator_varies_in_the_same_way() -> None:
    one, other = (augment.change_mel(MEL, ALL, np.random.default_rng(5), 1.1, 1) for _ in range(2))

    assert np.array_equal(one, other)


def test_the_tempo_changes_the_length_within_its_bounds() -> None:
    tempos = [augment.draw_tempo(ALL, np.random.default_rng(seed)) for seed in range(50)]
    lengths = {len(augment.change_mel(MEL, ALL, np.random.default_rng(0), tempo, 1)) for tempo in tempos}

    assert len(lengths) > 10
    assert 100 / 1.2 - 1 <= min(lengths) < 95
    assert 105 < max(lengths) <= 100 / 0.8 + 1


def test_never_fewer_frames_than_the_transcript_needs() -> None:
    assert len(augment.change_mel(MEL, ALL, np.random.default_rng(0), 1.2, 97)) == 97


def test_a_warp_by_one_changes_nothing() -> None:
    assert np.allclose(augment._warp(1.0), np.eye(26), atol=1e-5)


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_a_warp_moves_a_peak_and_keeps_a_constant(factor: float) -> None:
    peak = np.zeros(26, np.float32)
    peak[13] = 1
    moved = int((peak @ augment._warp(factor)).argmax())

    assert (moved < 13) == (factor > 1)
    assert np.allclose(np.ones(26) @ augment._warp(factor), 1, atol=1e-5)


def test_masks_and_noise_keep_the_shape() -> None:
    features = audio.normalise_each(audio.cepstra(MEL))
    changed = augment.change_features(features.copy(), ALL, np.random.default_rng(3))

    assert changed.shape == features.shape
    assert not np.array_equal(changed, features)
