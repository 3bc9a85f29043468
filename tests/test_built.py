"""A build that would find nothing to do is left out, and no other."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import archive, build_site, derived, update_site
from deepspeech_wer.configuration import settings
from deepspeech_wer.configuration.settings import Settings
from deepspeech_wer.decision_files import Decision, accept
from tests.dashboard.test_kept import archive as store
from tests.invented_runs import done, failed, years


@pytest.fixture
def current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in [name for name in os.environ if name.startswith(("ds_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ds_repo_url", f"file://{tmp_path}/tracked")
    found = settings.load()
    store([*years(120), failed(121)], found.places.runs)
    return found


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows with each build that is made."""
    made: list[None] = []
    real = build_site.build

    def build(settings: Settings, **options: Any) -> int:
        made.append(None)
        return real(settings, **options)

    monkeypatch.setattr(build_site, "build", build)
    return made


def content(site: Path) -> dict[str, bytes]:
    """All but the times in it."""
    return {str(path.relative_to(site)): path.read_bytes() for path in site.rglob("*") if path.is_file()}


def test_nothing_is_built_twice(current: Settings, builds: list[None]) -> None:
    first = update_site.build(current)
    before = content(current.places.site)
    assert first == len(update_site.names(current))
    assert [update_site.build(current) for _ in range(3)] == [first] * 3
    assert len(builds) == 1
    assert content(current.places.site) == before


def _one_more(current: Settings) -> None:
    store([done(122, 0.3)], current.places.runs)


def _one_less(current: Settings) -> None:
    shutil.rmtree(current.places.runs / archive.names(current.places.runs)[3])


def _a_file_less(current: Settings) -> None:
    (current.places.runs / archive.names(current.places.runs)[3] / "run.json").unlink()


def _the_newest_in_place(current: Settings) -> None:
    record = current.places.runs / archive.names(current.places.runs)[-1] / "run.json"
    record.write_text(record.read_text() + " ")


def _accepted(current: Settings) -> None:
    accept(current.places.requests, Decision("0" * 40, "ada", "why", "2026-01-01T00:00:00Z"))


def _site_less(name: str) -> Callable[[Settings], None]:
    def change(current: Settings) -> None:
        (found,) = list(current.places.site.glob(name))[:1]
        shutil.rmtree(found) if found.is_dir() else found.unlink()

    return change


def _cut(name: str) -> Callable[[Settings], None]:
    def change(current: Settings) -> None:
        (found,) = list(current.places.site.glob(name))[:1]
        found.write_bytes(found.read_bytes()[:-5])

    return change


def _verdicts_gone(current: Settings) -> None:
    current.places.verdicts.unlink()


def _note(text: bytes) -> Callable[[Settings], None]:
    return lambda current: current.places.built.write_bytes(text) and None


CHANGES: dict[str, Callable[[Settings], None]] = {
    "one run more": _one_more,
    "one run less": _one_less,
    "a file of a run less": _a_file_less,
    "the newest run is edited in place": _the_newest_in_place,
    "a decision": _accepted,
    "no page": _site_less("index.htm"),
    "no data": _site_less("js/hyper.js"),
    "no index": _site_less("js/index.*.js"),
    "no script of a run": _site_less("runs/*.js"),
    "no files of a run": _site_less("runs/*-*[!s]"),
    "a file of a run": _site_less("runs/*/hyper.json"),
    "cut data": _cut("js/hyper.js"),
    "cut page": _cut("index.htm"),
    "cut manifest": _cut(".manifest.json"),
    "no verdicts": _verdicts_gone,
    "an empty note": _note(b""),
    "a damaged note": _note(b"1 00000000\n{}\n"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_is_built(current: Settings, builds: list[None], change: str) -> None:
    update_site.build(current)
    CHANGES[change](current)
    update_site.build(current)
    assert len(builds) == 2
    mended = content(current.places.site)
    for path in (current.places.site, current.places.cache):
        shutil.rmtree(path)
    update_site.build(current)
    anew = content(current.places.site)
    assert {name: data for name, data in mended.items() if _is_the_same_each_time(name)} == {
        name: data for name, data in anew.items() if _is_the_same_each_time(name)
    }


def _is_the_same_each_time(name: str) -> bool:
    """Not what says when the tracker looked, nor the manifest, which has times."""
    return not name.startswith(("js/index.", "js/now.js", ".manifest", "index.htm"))


def test_what_an_older_run_lost_is_found_by_builds_of_new_ones(
    current: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    update_site.build(current)
    run = current.places.site / "runs" / archive.names(current.places.runs)[3]
    (run / "hyper.json").unlink()
    for turn in range(derived.PARTS):
        monkeypatch.setattr(random, "randrange", lambda _, turn=turn: turn)
        store([done(122 + turn, 0.3)], current.places.runs)
        update_site.build(current)
    assert (run / "hyper.json").exists()


@pytest.mark.parametrize("change", ["a file of somebody else", "a clock that was set back"])
def test_what_needs_no_build_makes_one_at_most(current: Settings, builds: list[None], change: str) -> None:
    update_site.build(current)
    run = current.places.site / "runs" / archive.names(current.places.runs)[-1]
    if change == "a file of somebody else":
        (run / "notes.txt").write_text("kept")
    later = run.stat().st_mtime_ns + 10**13
    os.utime(run, ns=(later, later))
    for _ in range(3):
        update_site.build(current)
    assert len(builds) == 2


@pytest.mark.parametrize("lost", [0, 3, 20, 119])
def test_what_an_older_run_lost_is_seen_within_a_few_looks(
    current: Settings, builds: list[None], lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    update_site.build(current)
    turns = iter(range(derived.PARTS))
    monkeypatch.setattr(random, "randrange", lambda _: next(turns))
    run = current.places.site / "runs" / archive.names(current.places.runs)[lost]
    (run / "hyper.json").unlink()
    while len(builds) == 1:  # StopIteration: no look has seen it
        update_site.build(current)
    assert (run / "hyper.json").exists()


def test_other_settings_are_built(current: Settings, builds: list[None]) -> None:
    update_site.build(current)
    logs = replace(current.logs, mode="none")
    for other in (
        current._replace(logs=logs),
        current._replace(logs=replace(logs, secrets=("a secret",))),
        current._replace(audio="https://example.org/"),
    ):
        update_site.build(other)
    assert len(builds) == 4


def test_runs_that_wait_to_be_scored_are_not_forgotten(current: Settings, builds: list[None]) -> None:
    update_site.build(current)
    current.places.unmeasured.write_bytes(b"3\n")
    update_site.build(current)
    assert len(builds) == 2
