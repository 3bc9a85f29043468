"""A tiny corpus made of tones, and the job that trains on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tone_corpus import Job, random_texts, write_corpus
from web_server import Site, serving


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """TensorFlow takes one thread, as in the job: a second one gains nothing at these sizes, and costs time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_NUM_INTRAOP_THREADS", "1")
        yield


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """A corpus of tones that a small network learns in seconds."""
    return write_corpus(tmp_path / "tones", random_texts("abc", train=64, dev=6, test=8))


@pytest.fixture
def job(tones: Path, tmp_path: Path) -> Job:
    return Job(tmp_path / "logs", tones)


@pytest.fixture
def site() -> Iterator[Site]:
    """A web server without files."""
    with serving() as one:
        yield one
