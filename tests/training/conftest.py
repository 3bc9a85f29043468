"""A tiny corpus made of tones, and the job that trains on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tone_corpus import Job, write_corpus


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """TensorFlow takes one thread, as in the job: a second one gains nothing at these sizes, and costs time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_NUM_INTRAOP_THREADS", "1")
        yield


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """A corpus of tones that a small network learns in seconds."""
    choice = np.random.default_rng(1)
    sets = {
        name: [" ".join(choice.choice(list("abc"), choice.integers(1, 4))) for _ in range(count)]
        for name, count in (("train", 64), ("dev", 6), ("test", 8))
    }
    return write_corpus(tmp_path / "tones", sets)


@pytest.fixture
def job(tones: Path, tmp_path: Path) -> Job:
    return Job(tmp_path / "logs", tones)
