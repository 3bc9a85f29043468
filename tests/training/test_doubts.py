"""What is odd in a corpus is told, and the training goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tone_corpus import noise_utterance, prepare, random_texts, tone_speech, write_corpus

from deepspeech_wer.errors import Trouble
from deepspeech_wer.training import audio, dataset, importers
from deepspeech_wer.training.corpus import Segment, Utterance
from deepspeech_wer.training.doubts import Recording, Teller, repeated
from deepspeech_wer.training.parameters import from_environment


def recording(name: str, transcript: str = "go", digest: str = "", segment: Segment | None = None) -> Recording:
    return Recording(digest or name, Utterance(name, Path(f"{name}.wav"), transcript, segment=segment))


def test_an_ordinary_corpus_is_not_doubted() -> None:
    sets = {"train": [recording("a"), recording("b")], "dev": [recording("c")], "test": [recording("d")]}
    assert repeated(sets) == []


def test_audio_in_two_sets_is_counted_and_named() -> None:
    sets = {
        "train": [recording("a", digest="1"), recording("b", digest="2"), recording("c", digest="3")],
        "dev": [recording("d", digest="3")],
        "test": [recording("x", digest="1"), recording("y", digest="2"), recording("z", digest="4")],
    }

    dev, test = sorted(repeated(sets))

    assert dev.startswith("train and dev have audio in common; utterances of dev: 1, the first d (d.wav), in train c: ")
    assert test.startswith(
        "train and test have audio in common; utterances of test: 2, the first x (x.wav), in train a"
    )


@pytest.mark.parametrize(
    ("one", "other", "is_told"),
    [
        (None, Segment(1, 2), True),
        (Segment(0, 1.5), Segment(1, 2), True),
        (Segment(1, 2), Segment(1, 2), True),
        (Segment(0, 1), Segment(1, 2), False),
        (Segment(2, 3), Segment(1, 2), False),
    ],
)
def test_segments_have_audio_in_common_where_they_overlap(
    one: Segment | None, other: Segment | None, is_told: bool
) -> None:
    for first, second in ((one, other), (other, one)):
        sets = {
            "train": [recording("a", digest="1", segment=first)],
            "test": [recording("b", digest="1", segment=second)],
        }
        assert bool(repeated(sets)) == is_told


def test_two_transcripts_of_one_recording_are_told() -> None:
    [line] = repeated({"train": [recording("a", "yes", "1"), recording("b", "no", "1"), recording("c", "no", "2")]})
    assert line == (
        "recordings with two transcripts: 1, the first b.wav: 'yes' in train and 'no' in train: expected one"
    )
    same = {"train": [recording("a", "yes", "1"), recording("b", "yes", "1")]}
    assert repeated(same) == []
    parts = [recording(text, text, "1", Segment(n, n + 1)) for n, text in enumerate(("yes", "no"))]
    assert repeated({"train": parts}) == []


def test_a_corpus_with_the_same_recordings_is_told_and_prepared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = write_corpus(tmp_path / "corpus", random_texts("abc", train=4, dev=2, test=3))
    settings = {"ds_importer": "csv", "ds_dataset_path": str(corpus), "ds_cache_dir": str(tmp_path / "cache")}
    parameters = from_environment(settings)
    dataset.prepare_corpus(importers.load(parameters), parameters)
    assert "in doubt" not in capsys.readouterr().err
    shutil.copy(corpus / "train" / "1.wav", corpus / "test" / "2.wav")

    sets = dataset.prepare_corpus(importers.load(parameters), parameters)

    assert len(sets["test"]) == 3
    assert "in doubt: train and test have audio in common; utterances of test: 1" in capsys.readouterr().err


def test_more_than_ten_doubts_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    teller = Teller()
    for number in range(12):
        teller.tell(str(number), "odd")
    teller.close()

    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["in doubt: 0: odd", "in doubt: 1: odd"]
    assert lines[10:] == ["in doubt: 12 utterances in all"]


def fractions(path: Path, peak: float) -> Utterance:
    """Tones as floating-point samples."""
    speech = tone_speech("a b c").astype(np.float32)
    soundfile.write(path, speech / np.abs(speech).max() * peak, 16_000, subtype="FLOAT")
    return Utterance(path.stem, path, "a b c")


def test_samples_beyond_full_scale_are_told_in_each_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loud, fine = fractions(tmp_path / "loud.wav", 1.5), fractions(tmp_path / "fine.wav", 1.0)
    for _ in range(2):  # the second time the features come from the cache
        assert len(prepare(tmp_path, loud, fine)) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines == [
            f"in doubt: utterance loud ({loud.audio}): samples reach 1.5: expected -1 to 1: what is beyond was clipped"
        ]
    told: list[str] = []
    assert max(np.abs(block).max() for block in audio.read_blocks(loud.audio, told.append)) == 32768
    assert told == ["samples reach 1.5: expected -1 to 1: what is beyond was clipped"]


def test_samples_of_another_scale_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        Trouble, match=r"utterance whole .*holds samples up to 6000: expected sound from -1 to 1: scale it"
    ):
        prepare(tmp_path, fractions(tmp_path / "whole.wav", 6000))


def test_silence_with_a_transcript_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    speech = tmp_path / "speech.wav"
    soundfile.write(speech, tone_speech("a b"), 16_000)
    for _ in range(2):
        prepare(tmp_path, noise_utterance(tmp_path, "noise", "go"), Utterance("speech", speech, "a b"))
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("in doubt: utterance noise (")
        assert line.endswith("nothing rises by 4 dB above its background: expected speech")
