"""Checks, features and batches."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest
import soundfile

from deepspeech_wer.errors import Trouble
from deepspeech_wer.training import audio, data
from deepspeech_wer.training.corpus import Segment, Utterance
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
        ("room 101", r"utterance one \(.*one\.wav\): '0' '1' in its transcript 'room 101': expected only"),
        ("a" * 40, r"utterance one \(.*one\.wav\): .* needs 79 frames of 20 ms, the audio has 50"),
        ("  ", r"utterance one \(.*one\.wav\): its transcript '  ' needs 0 frames"),
    ],
)
def test_what_cannot_be_learnt_is_named_before_training(tmp_path: Path, transcript: str, said: str) -> None:
    with pytest.raises(Trouble, match=said):
        prepare(tmp_path, utterance(tmp_path, "one", transcript))


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"RIFF"), lambda path: path.unlink()])
def test_audio_that_cannot_be_read_is_named_with_its_utterance(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    said = replace(utterance(tmp_path, "one", "go"), id="talk-7")
    spoil(said.audio)

    with pytest.raises(Trouble, match=r"utterance talk-7 \(.*one\.wav\): .*one\.wav"):
        prepare(tmp_path, said)


def test_a_tolerant_set_leaves_out_what_cannot_be_learnt_and_counts_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = [utterance(tmp_path, f"u{number}", "go", 0.3) for number in range(39)]
    bad = utterance(tmp_path, "bad", "naïve")

    items = data.prepare([*good, bad], Alphabet(), tmp_path / "cache", tolerant=True)

    assert [item.utterance for item in items] == good
    assert capsys.readouterr().err.splitlines()[0].startswith("left out: utterance bad (")
    prepared = data.prepare([*good, bad, replace(bad, id="bad2")], Alphabet(), tmp_path / "cache", tolerant=True)
    assert len(prepared) == 39
    assert capsys.readouterr().err.splitlines()[-1] == "left out: 2 of 41 utterances"
    with pytest.raises(Trouble, match=r"3 utterances cannot be learnt, more than 1 in 20; the last: utterance bad \("):
        data.prepare([*good, bad, bad, bad], Alphabet(), tmp_path / "cache", tolerant=True)
    with pytest.raises(Trouble, match="no utterance of the set"):
        data.prepare([bad], Alphabet(), tmp_path / "cache", tolerant=True)


def test_a_segment_has_the_features_of_its_part_of_the_recording(tmp_path: Path) -> None:
    whole = utterance(tmp_path, "talk", "go", 3)
    samples, _ = soundfile.read(whole.audio, dtype="int16")
    soundfile.write(tmp_path / "part.wav", samples[8000:24_000], 16_000)

    first, second, part = prepare(
        tmp_path,
        replace(whole, segment=Segment(0.5, 1.5)),
        replace(whole, segment=Segment(1.5, 2.75)),
        Utterance("part", tmp_path / "part.wav", "go"),
    )

    assert np.array_equal(np.load(first.mel), np.load(part.mel))
    assert (first.seconds, second.seconds) == (pytest.approx(1, abs=0.03), pytest.approx(1.25, abs=0.03))
    with pytest.raises(Trouble, match=r"talk\.wav: holds no sample between 3 and 4 s"):
        prepare(tmp_path, replace(whole, segment=Segment(3, 4)))


@pytest.mark.parametrize("left", [0, 7, 90, 1000])
def test_features_that_a_power_cut_left_in_part_are_computed_again(tmp_path: Path, left: int) -> None:
    one = utterance(tmp_path, "one", "go")
    (item,) = prepare(tmp_path, one)
    whole = item.mel.read_bytes()
    item.mel.write_bytes(whole[:left])

    (again,) = prepare(tmp_path, one)

    assert again == replace(item, labels=again.labels)
    assert item.mel.read_bytes() == whole
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [item.mel]


def test_several_trainings_fill_one_cache_and_go_on_with_a_killed_one(tmp_path: Path) -> None:
    for number in range(30):
        utterance(tmp_path, "x" * (number + 1), "go", 0.3)  # each with a sound of its own
    code = """
import sys
from pathlib import Path
from deepspeech_wer.training import data
from deepspeech_wer.training.corpus import Utterance
from deepspeech_wer.training.text import Alphabet
said = [Utterance(path.stem, path, "go") for path in sorted(Path(sys.argv[1]).glob("*.wav"))]
print("ready", flush=True)
sys.stdin.readline()
print(data.set_sha256(data.prepare(said, Alphabet(), Path(sys.argv[1], "cache"))))
"""
    started = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path], stdin=PIPE, stdout=PIPE, text=True) for _ in range(3)
    ]
    for one in started:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    killed, *others = started
    assert killed.stdin is not None
    killed.stdin.write("go\n")
    killed.stdin.flush()
    while killed.poll() is None and not list(tmp_path.rglob("*.npy")):
        time.sleep(0.001)
    killed.kill()
    hashes = [one.communicate("go\n", timeout=120)[0] for one in others]
    killed.communicate()

    assert len(set(hashes)) == 1
    assert [one.returncode for one in others] == [0, 0]
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 30


def test_a_cache_that_cannot_be_filled_is_no_fault_of_the_utterance(tmp_path: Path) -> None:
    one = utterance(tmp_path, "one", "go")
    mel = prepare(tmp_path, one)[0].mel
    beside = mel.with_name(f"{mel.name}.{os.getpid()}").relative_to(tmp_path / "cache")
    (tmp_path / "other" / beside).mkdir(parents=True)  # in the way of what is written there first

    with pytest.raises(Trouble, match=r"\.npy: cannot be written: .*: free space, or set ds_cache_dir"):
        data.prepare([one], Alphabet(), tmp_path / "other", tolerant=True)


@pytest.mark.parametrize("columns", [2, 4])
def test_labels_must_be_as_wide_as_the_longest(columns: int) -> None:
    counts = np.array([1, 3])
    with pytest.raises(ValueError, match=r"expected \(2, 3\), the longest label second"):
        data.sparse_labels(np.zeros((2, columns), np.int32), counts)


def test_sparse_labels_are_those_that_are_not_padding() -> None:
    places, values, shape = data.sparse_labels(np.array([[5, -1, -1], [0, 0, 7]], np.int32), np.array([1, 3]))

    assert places.tolist() == [[0, 0], [1, 0], [1, 1], [1, 2]]
    assert (values.tolist(), shape.tolist()) == ([5, 0, 0, 7], [2, 3])


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


def test_of_a_real_sets_lengths_little_is_padding(tmp_path: Path) -> None:
    items = prepare(tmp_path, *(utterance(tmp_path, f"u{number}", "ab", 0.6 + number / 50) for number in range(120)))
    varied = replace(PARAMETERS, augment_tempo=0.15)

    real = padded = 0
    for epoch in range(1, 6):
        for number, group in enumerate(data.batches_of_epoch(items, 8, 1, epoch)):
            batch = data.assemble(group, varied, np.random.default_rng([epoch, number]))
            real, padded = real + int(batch.lengths.sum()), padded + batch.features.shape[0] * batch.features.shape[1]

    assert real < padded < 1.12 * real
    assert batch.features.shape[1] != max(item.frames for item in group)  # spoken faster or slower


def test_a_set_is_known_by_its_words_and_sounds_not_by_its_place(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    here, there = utterance(tmp_path, "one", "go"), utterance(tmp_path / "other", "one", "go")

    def known(said: Utterance) -> str:
        return data.set_sha256(prepare(tmp_path, said))

    assert known(here) == known(there)
    assert known(replace(here, segment=Segment(0, 0.5))) != known(here)
    assert known(replace(here, transcript="stop")) != known(here)
    assert known(here) != known(utterance(tmp_path, "one", "go", 0.5))
