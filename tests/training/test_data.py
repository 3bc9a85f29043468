"""Checks, features and batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech_wer.errors import Trouble
from deepspeech_wer.training import audio, data
from deepspeech_wer.training.corpus import Utterance, set_sha256
from deepspeech_wer.training.parameters import from_environment
from deepspeech_wer.training.text import Alphabet

PARAMETERS = from_environment({})


def utterance(directory: Path, name: str, transcript: str, seconds: float = 1.0) -> Utterance:
    signal = np.random.default_rng(len(name)).normal(0, 1000, int(seconds * 16_000)).astype(np.int16)
    soundfile.write(directory / f"{name}.wav", signal, 16_000)
    return Utterance(name, directory / f"{name}.wav", transcript)


def prepare(directory: Path, *utterances: Utterance) -> tuple[data.Item, ...]:
    return data.prepare(utterances, Alphabet(), directory / "cache")


def test_an_item_knows_its_frames_seconds_and_labels(tmp_path: Path) -> None:
    (item,) = prepare(tmp_path, utterance(tmp_path, "one", "go on"))

    assert item.frames == audio.frame_count(16_000)
    assert item.seconds == pytest.approx(1, abs=0.03)
    assert Alphabet().decode(item.labels.tolist()) == "go on"


def test_features_are_computed_once_for_each_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = utterance(tmp_path, "one", "go")
    prepare(tmp_path, one)
    monkeypatch.setattr(audio, "read_audio", lambda path: pytest.fail(f"{path} is read again"))

    prepare(tmp_path, one)

    one.audio.write_bytes(one.audio.read_bytes() + b"other")
    with pytest.raises(pytest.fail.Exception, match="read again"):
        prepare(tmp_path, one)


@pytest.mark.parametrize(
    ("transcript", "said"),
    [
        ("room 101", r"utterance one: '0' '1' in its transcript 'room 101': expected only"),
        ("a" * 40, r"utterance one: .* needs 79 frames of 20 ms, the audio has 50"),
        ("  ", r"utterance one: its transcript '  ' needs 0 frames"),
    ],
)
def test_what_cannot_be_learnt_is_named_before_training(tmp_path: Path, transcript: str, said: str) -> None:
    with pytest.raises(Trouble, match=said):
        prepare(tmp_path, utterance(tmp_path, "one", transcript))


def test_a_batch_is_padded_with_zeros_and_its_labels_are_sparse(tmp_path: Path) -> None:
    items = prepare(tmp_path, utterance(tmp_path, "long", "ab"), utterance(tmp_path, "short", "cde", 0.5))

    batch = data.assemble(items, PARAMETERS)

    assert batch.features.shape == (2, 56, 26)  # rounded up to eights
    assert batch.lengths.tolist() == [50, 25]
    assert not batch.features[1, 25:].any()
    assert batch.label_places.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2]]
    assert batch.label_values.tolist() == [1, 2, 3, 4, 5]
    assert batch.label_shape.tolist() == [2, 3]


def test_each_epoch_has_every_item_once_and_the_same_again_for_the_same_seed(tmp_path: Path) -> None:
    seconds = [0.3, 1.2, 0.5, 0.9, 0.7, 1.5, 0.4]
    items = prepare(tmp_path, *(utterance(tmp_path, f"u{i}", "go", length) for i, length in enumerate(seconds)))

    def names(seed: int, epoch: int) -> list[list[str]]:
        return [[item.utterance.id for item in group] for group in data.batches_of_epoch(items, 3, seed, epoch)]

    assert names(1, 0) == [["u0", "u6", "u2"], ["u4", "u3", "u1"], ["u5"]]  # the first goes from short to long
    assert sorted(name for group in names(1, 5) for name in group) == sorted(item.utterance.id for item in items)
    assert names(1, 5) == names(1, 5)
    assert len({str(names(1, epoch)) for epoch in range(1, 9)}) > 1


def test_a_set_is_known_by_its_words_and_sounds_not_by_its_place(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    here, there = utterance(tmp_path, "one", "go"), utterance(tmp_path / "other", "one", "go")

    assert set_sha256((here,)) == set_sha256((there,))
    assert set_sha256((here,)) != set_sha256((utterance(tmp_path, "one", "stop"),))
    assert set_sha256((here,)) != set_sha256((utterance(tmp_path, "one", "go", 0.5),))
