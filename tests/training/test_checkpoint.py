"""The checkpoint file: whole or not there."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

import numpy as np
import pytest

from deepspeech_wer.errors import Trouble
from deepspeech_wer.training import checkpoint

ARRAYS = {"weights.h1": np.arange(6, dtype=np.float32).reshape(2, 3)}


def test_a_saved_checkpoint_is_loaded_to_the_last_bit(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "new", ARRAYS, {"history": [1.5]})

    found = checkpoint.load(tmp_path / "new")

    assert found is not None
    arrays, meta = found
    assert arrays["weights.h1"].tobytes() == ARRAYS["weights.h1"].tobytes()
    assert meta["history"] == [1.5]


def test_without_a_checkpoint_there_is_none(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path) is None


@pytest.mark.parametrize("keep", [0, 10, -5])
def test_a_truncated_checkpoint_is_never_taken_for_a_missing_one(tmp_path: Path, keep: int) -> None:
    checkpoint.save(tmp_path, ARRAYS, {})
    path = tmp_path / checkpoint.NAME
    path.write_bytes(path.read_bytes()[:keep])

    with pytest.raises(Trouble, match=r"checkpoint\.npz: is not a readable checkpoint: .*: move it away"):
        checkpoint.load(tmp_path)


def test_a_damaged_checkpoint_is_refused_or_harmless(tmp_path: Path) -> None:
    """A bit may make it encrypted, packed in an unknown way, or a header that python cannot parse."""
    checkpoint.save(tmp_path, ARRAYS, {"history": [1.5]})
    path = tmp_path / checkpoint.NAME
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with contextlib.suppress(Trouble):
            checkpoint.load(tmp_path)


def test_a_bug_while_loading_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, ARRAYS, {})

    def broken(*_: object, **__: object) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr(np, "load", broken)
    with pytest.raises(TypeError, match="a bug"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("meta", ["[]", "7", "null", '"text"'])
def test_meta_data_of_another_type_are_refused(tmp_path: Path, meta: str) -> None:
    np.savez(tmp_path / checkpoint.NAME, meta=np.array(meta))
    with pytest.raises(Trouble, match=r"is not a readable checkpoint|has version None"):
        checkpoint.load(tmp_path)


def test_a_full_disk_loses_no_earlier_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, ARRAYS, {"history": [1]})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Trouble, match=r"checkpoint\.npz: cannot be written: .*No space left"):
        checkpoint.save(tmp_path, ARRAYS, {"history": [1, 2]})

    found = checkpoint.load(tmp_path)
    assert found is not None
    assert found[1]["history"] == [1]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_disk_that_fills_up_loses_no_earlier_checkpoint(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, ARRAYS, {"history": [1]})
    larger = {"weights.h1": np.zeros(100_000, np.float32)}

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, hard))  # bytes: the write ends half-way
    try:
        with pytest.raises(Trouble, match=r"checkpoint\.npz: cannot be written: "):
            checkpoint.save(tmp_path, larger, {"history": [1, 2]})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    found = checkpoint.load(tmp_path)
    assert found is not None
    assert found[1]["history"] == [1]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_checkpoint_of_a_later_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "VERSION", 2)
    checkpoint.save(tmp_path, ARRAYS, {})
    monkeypatch.undo()

    with pytest.raises(Trouble, match="has version 2, expected 1"):
        checkpoint.load(tmp_path)
