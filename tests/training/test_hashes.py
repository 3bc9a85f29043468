"""Hashes of audio files that are kept from one training to the next."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tone_corpus import noise_utterance, prepare

from deepspeech_wer.training import dataset, hashes
from deepspeech_wer.training.corpus import Utterance, file_sha256
from deepspeech_wer.training.hashes import Hashes
from deepspeech_wer.training.text import Alphabet


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that has just been written counts as one that was written long ago."""
    monkeypatch.setattr(hashes, "SETTLED", -1.0)


def hash_of(directory: Path, path: Path) -> str:
    kept = Hashes(directory)
    found = kept.of(path)
    kept.close()
    return found


@pytest.mark.usefixtures("settled")
def test_an_unchanged_file_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    path.write_bytes(b"sound")
    first = hash_of(tmp_path / "cache", path)
    monkeypatch.setattr(hashes, "file_sha256", lambda path: pytest.fail(f"{path} is read again"))

    assert hash_of(tmp_path / "cache", path) == first


@pytest.mark.usefixtures("settled")
def test_a_changed_file_is_read_again_even_with_the_same_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"sound")
    before = path.stat()
    hash_of(tmp_path, path)
    time.sleep(0.02)
    path.write_bytes(b"other")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as rsync --times does

    assert hash_of(tmp_path, path) == file_sha256(path)


def test_a_file_that_may_still_change_unseen_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for content in (b"sound", b"other"):
        path.write_bytes(content)
        assert hash_of(tmp_path, path) == file_sha256(path)
    kept = Hashes(tmp_path)
    assert kept._kept(os.fsencode(path)) is None


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"?" * 5000), lambda path: path.mkdir()])
@pytest.mark.usefixtures("settled")
def test_an_unusable_file_of_hashes_only_costs_time(tmp_path: Path, spoil: object) -> None:
    assert callable(spoil)
    spoil(tmp_path / hashes.NAME)

    (item,) = dataset.prepare([noise_utterance(tmp_path, "one", "go")], Alphabet(), tmp_path)

    assert item.audio_sha256 == file_sha256(tmp_path / "one.wav")


@pytest.mark.usefixtures("settled")
def test_a_further_row_of_a_known_table_takes_little_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = noise_utterance(tmp_path, "one", "go on", 0.3)
    said = []
    for number in range(600):
        path = tmp_path / f"{number}.wav"
        path.write_bytes(one.audio.read_bytes() + b"LIST\4\0\0\0%04d" % number)
        said.append(Utterance(str(number), path, "go on"))
    first = prepare(tmp_path, *said)
    monkeypatch.setattr(hashes, "file_sha256", lambda path: pytest.fail(f"{path} is read again"))
    assert dataset.set_sha256(prepare(tmp_path, *said)) == dataset.set_sha256(first)

    few, many = (calls(lambda rows=rows: prepare(tmp_path, *said[:rows])) for rows in (100, 600))

    assert (many - few) / 500 < 200  # a new one takes a thousand


def calls(action: Callable[[], object]) -> int:
    """Return how many functions are called, those in C included: unlike a time, the same on any machine."""
    counted = Counter[str]()
    sys.setprofile(lambda _frame, event, _argument: counted.update([event]))
    try:
        action()
    finally:
        sys.setprofile(None)
    return counted["call"] + counted["c_call"]
