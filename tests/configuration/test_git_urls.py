"""Tests for the URLs of repositories."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepspeech_wer.configuration import git_urls


@pytest.mark.parametrize(
    "urls",
    [
        (
            "https://host.org/a/B",
            "https://HOST.org/a/B.git",
            "HTTPS://host.org:443/a/B/",
            "https://ada:pw@host.org/a/B",
        ),
        ("http://host.org:8080/a", "http://Host.org:8080/a.git/"),
        ("ssh://git@host.org/a/b", "ssh://git@host.org:22/a/b.git", "ssh://git@HOST.ORG/a/b/"),
        ("git@host.org:a/b", "git@Host.org:a/b.git"),
        ("git://host.org/a", "git://host.org:9418/a.git"),
        ("https://[::1]/a", "https://[::1]:443/a.git"),
        ("/srv/a", "/srv/a/", "/srv/a/.git", "file:///srv/a", "file://localhost/srv/a/", "file:///srv/%61", "/srv/./a"),
        ("https://github.com/a/b", "git@github.com:a/b.git", "ssh://git@GitHub.com/a/b", "http://github.com/a/b/"),
    ],
)
def test_spellings_of_one_repository_are_known_as_one(urls: tuple[str, ...]) -> None:
    assert len({git_urls.spelled_alike(url) for url in urls}) == 1


def test_two_repositories_are_never_taken_for_one() -> None:
    urls = [
        *("https://host.org/a/b", "https://host.org/a/B", "https://host.org:8443/a/b", "https://host.org/a/b.git2"),
        *("http://host.org/a/b", "https://host.com/a/b", "https://host.org/b", "https://host.org:22/a/b"),
        *("ssh://git@host.org/a/b", "git@host.org:a/b", "ada@host.org:a/b", "host.org:a/b", "ssh://host.org/a/b"),
        *("/a/b", "/a/b.git", "/a/B", "https://github.com/a/b", "https://github.com/a/B", "https://gitlab.com/a/b"),
        *("https://github.com:8443/a/b", "https://github.com.evil.org/a/b", "ssh://git@host.org:2222/a/b", "file:///b"),
        *("https://host.org/a/b?x", "https://host.org/a%2Fb", "git@[::1]:a", "git@[::2]:a"),
    ]
    assert len({git_urls.spelled_alike(url) for url in urls}) == len(urls)


def test_a_path_is_looked_for_as_git_does(tmp_path: Path) -> None:
    (tmp_path / "a.git").mkdir()
    assert git_urls.spelled_alike(f"{tmp_path}/a") == git_urls.spelled_alike(f"{tmp_path}/a.git")
    (tmp_path / "a").mkdir()
    assert git_urls.spelled_alike(f"{tmp_path}/a") != git_urls.spelled_alike(f"{tmp_path}/a.git")
