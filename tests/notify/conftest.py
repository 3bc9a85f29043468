"""Receivers, and archives that notify them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deepspeech_wer.configuration import settings
from tests.notify.receiver import Receiver, serving
from tests.notify.tellings import Book

TOKEN = "gh-s3cret"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serving(Receiver()) as it:
        yield it


@pytest.fixture
def hooked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Book:
    """An archive with a webhook only."""
    monkeypatch.setenv("ds_webhook_url", f"{receiver.url}/hook/s3cret")
    return _book(receiver)


@pytest.fixture
def github(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Book:
    """An archive of mozilla/DeepSpeech with a token only."""
    monkeypatch.setenv("ds_github_token", TOKEN)
    monkeypatch.setenv("ds_website_url", "https://wer.example.com/deep")
    return _book(receiver)


@pytest.fixture
def gitlab(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Book:
    """An archive of a project on a GitLab at the receiver."""
    monkeypatch.setenv("ds_gitlab_token", TOKEN)
    monkeypatch.setenv("ds_repo_url", f"{receiver.url}/speech/sub/wer.git")
    return _book(receiver)


def _book(receiver: Receiver) -> Book:
    current = settings.load()
    current.places.cache.mkdir(parents=True, exist_ok=True)
    return Book(current, receiver.url)
