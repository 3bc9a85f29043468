"""The site built run by run is the one built from nothing, to the byte, whatever happens to archive, cache and site."""

from __future__ import annotations

import importlib
import json
import os
import random
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import archive as archived
from deepspeech_wer import archive_record, files
from deepspeech_wer.configuration.settings import PublishedLogs
from deepspeech_wer.dashboard import build, kept, site_names, spliced
from deepspeech_wer.dashboard.logs import WHOLE
from deepspeech_wer.records import Run
from tests.dashboard.test_dashboard import index_js
from tests.dashboard.test_kept import archive, edit
from tests.invented_runs import EPOCH, PROJECT, done, failed

MODES = (WHOLE, PublishedLogs("trimmed", ("Reuben",)), PublishedLogs("none"))


class Killed(BaseException):
    """As by SIGKILL: nothing of ours catches it."""


class Place:
    """An archive, its cache and its site, and a random history of them."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home, self.runs, self.kept, self.site = home, home / "runs", home / "kept", home / "site"
        self.chance = random.Random(seed)
        self.logs = WHOLE
        self.ordinal = 0
        self.runs.mkdir()

    def names(self) -> list[str]:
        return archived.names(self.runs)

    def any(self) -> Path:
        return self.runs / self.chance.choice(self.names())

    def put(self, run: Run) -> None:
        archive([run], self.runs)

    def append(self) -> None:
        for _ in range(self.chance.choice((1, 1, 3))):
            self.ordinal += 1
            make = self.chance.choice((done, done, done, failed))
            run = failed(self.ordinal) if make is failed else done(self.ordinal, self.chance.random())
            self.put(run._replace(number=self.ordinal))

    def insert(self) -> None:
        """A merge that was requested by hand, which stands before others; its start may be any."""
        started = EPOCH + timedelta(minutes=self.chance.randrange(1, 60 * 24 * 400))
        number = self.chance.randrange(1, self.ordinal + 1)
        kind = done(10_000 + self.chance.randrange(10**6), 0.3, started=started)
        lost = failed(10_000 + number)._replace(id=kind.id, merge=kind.merge, started_at=kind.started_at)
        self.put(self.chance.choice((kind, lost))._replace(number=number))

    def again(self) -> None:
        """A re-run of a merge, or its re-training."""
        before = archive_record.read(self.any())
        started = EPOCH + timedelta(hours=9 * self.ordinal + self.chance.randrange(1, 9))
        run = done(before.merge.ordinal, self.chance.random(), started=started)
        seed = self.chance.choice((None, 7))
        self.put(
            run._replace(merge=before.merge, number=before.number, rerun_of=before.id if seed else None, seed=seed)
        )

    def remove(self) -> None:
        if len(self.names()) > 1:
            shutil.rmtree(self.any())

    def edit(self) -> None:
        directory = self.any()
        if (directory / "hyper.json").exists() and self.chance.random() < 0.5:
            edit(directory / "hyper.json", test_wer=self.chance.random())
        else:
            record = json.loads((directory / "run.json").read_text())
            record["merge"]["subject"] = f"edited {self.chance.random()} é"
            (directory / "run.json").write_text(json.dumps(record))

    def edit_log(self) -> None:
        (self.any() / "out.log").write_text(f"redacted {self.chance.random()}\n")

    def add_file(self) -> None:
        (self.any() / "utterances.json").write_text(json.dumps({"rows": [self.chance.random()]}))

    def rename(self) -> None:
        directory = self.any()
        if not (self.runs / f"{directory.name}-2").exists():
            directory.rename(self.runs / f"{directory.name}-2")

    def damage_record(self) -> None:
        (self.any() / "run.json").write_text("{")

    def repair(self) -> None:
        for name in self.names():
            if (self.runs / name / "run.json").read_text() == "{":
                shutil.rmtree(self.runs / name)

    def setting(self) -> None:
        self.logs = self.chance.choice(MODES)

    def damage_kept(self) -> None:
        for path in list(self.kept.iterdir()) if self.kept.exists() else []:
            self.damage(path)

    def damage_hyper(self) -> None:
        if (self.site / "js/hyper.js").exists():
            self.damage(self.site / "js/hyper.js")

    def damage(self, path: Path) -> None:
        good, times = path.read_bytes(), path.stat()
        at = self.chance.randrange(len(good))
        flipped = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        lines = good.splitlines(keepends=True)
        self.chance.shuffle(lines)
        path.write_bytes(self.chance.choice((b"", good[:at], good[at:], good + good, flipped, b"".join(lines))))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def lose(self) -> None:
        lost = self.chance.choice([self.kept, self.site, self.site / "runs", self.site / ".manifest.json"])
        if lost.is_dir():
            shutil.rmtree(lost)
        else:
            lost.unlink(missing_ok=True)

    def lose_published(self) -> None:
        files = [path for path in self.site.rglob("*") if path.is_file()]
        if files:
            self.chance.choice(files).unlink()

    def build(self, cache: Path | None = None, to: Path | None = None) -> None:
        loaded = kept.load(self.runs, cache or self.kept, self.logs)
        build(
            loaded.runs,
            to or self.site,
            project=PROJECT,
            line=loaded.line,
            whole=loaded.whole,
            files=loaded.files,
            mark=loaded.mark,
            logs=self.logs,
        )

    def from_nothing(self) -> dict[str, bytes]:
        other, cache = self.home / "other", self.home / "other_kept"
        for directory in (other, cache):
            shutil.rmtree(directory, ignore_errors=True)
        self.build(cache, other)
        return published(other)


def published(site: Path) -> dict[str, bytes]:
    return {name: (site / name).read_bytes() for name in site_names(site)}


MOVES: tuple[Callable[[Place], None], ...] = (
    *[Place.append] * 4,
    Place.insert,
    Place.again,
    Place.remove,
    Place.edit,
    Place.edit_log,
    Place.add_file,
    Place.rename,
    Place.damage_record,
    Place.repair,
    Place.setting,
    Place.damage_kept,
    Place.damage_hyper,
    Place.lose,
    Place.lose_published,
)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sync", "fsync"):
        monkeypatch.setattr(os, name, lambda *_: None)


@pytest.mark.parametrize("seed", range(12))
def test_any_history_ends_in_the_same_site(seed: int, tmp_path: Path) -> None:
    place = Place(tmp_path, seed)
    place.append()
    told = []
    for _ in range(14):
        for move in place.chance.choices(MOVES, k=place.chance.choice((1, 1, 2))):
            told.append(move.__name__)
            move(place)
        place.build()
        made = published(place.site)
        assert made == place.from_nothing(), told


@pytest.mark.parametrize("seed", range(6))
def test_a_build_killed_between_any_two_writes_is_completed_by_the_next(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path, seed)
    for _ in range(4):
        place.append()
    place.build()
    left = [0]

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return function(*arguments, **named)

        return call

    with monkeypatch.context() as patched:
        for module in (spliced, kept, importlib.import_module("deepspeech_wer.dashboard.site")):
            for name in ("write_atomically", "_put", "_link"):
                if hasattr(module, name):
                    patched.setattr(module, name, dying(getattr(module, name)))
        for _ in range(12):
            for move in place.chance.sample((Place.append, Place.insert, Place.again, Place.edit, Place.remove), 2):
                move(place)
            left[0] = place.chance.randrange(1, 12)
            try:
                place.build()
            except Killed:
                left[0] = place.chance.randrange(0, 12)
                try:  # the next one may be killed as well
                    place.build()
                except Killed:
                    left[0] = 0
                    place.build()
            left[0] = 0
            place.build()
            assert published(place.site) == place.from_nothing()


def test_one_more_run_reads_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an archive, a build reads the files of new runs alone, and of js/hyper.js it makes their lines alone."""
    place = Place(tmp_path, 1)
    for _ in range(5):
        place.append()
    place.build()
    before = index_js(place.site)
    place.put(done(500, 0.2))
    opened: list[str] = []
    real = os.open

    def noted(path: Any, *arguments: Any, **named: Any) -> int:
        opened.append(str(path))
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, "open", noted)
    place.build()
    in_archive = {Path(name).parent.name for name in opened if name.startswith(f"{place.runs}/")}
    assert in_archive == {done(500, 0.2).id}
    assert not before.exists()


def test_lines_that_are_equal_by_chance_are_told_apart(tmp_path: Path) -> None:
    """Marks are short: another run's line may have the same."""
    path = tmp_path / "lines"
    path.write_bytes(b"zz\nab\n")
    marks = {"a": spliced.mark_of(b"ab"), "b": spliced.mark_of(b"ab")}
    lines = spliced.Lines(marks.get, lambda name: name.encode() * 2, lambda name, line: line.startswith(name.encode()))
    spliced.splice(path, spliced.Pieces([b"", b"\n", b"\n"], ["b", "a", None]), lines)
    assert path.read_bytes() == b"bb\nab\n"


def test_the_times_of_a_file_that_needs_no_change_stay(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    lines = spliced.Lines({"a": spliced.mark_of(b"one")}.get, lambda _: b"one", lambda *_: True)
    pieces = spliced.Pieces([b"[", b"]"], ["a", None])
    spliced.splice(path, pieces, lines)
    before = path.stat()
    spliced.splice(path, pieces, lines)
    assert path.stat() == before
    path.write_bytes(b"[one]more")
    spliced.splice(path, pieces, lines)
    assert path.read_bytes() == b"[one]"


def test_what_a_killed_build_left_is_removed(tmp_path: Path) -> None:
    place = Place(tmp_path, 3)
    place.append()
    place.build()
    [name, *_] = place.names()
    of_run = place.site / "runs" / name / ".out.log.7.partial"
    left = [
        place.site / ".index.htm.1.partial",
        place.site / "js" / ".x.12.partial",
        place.site / "runs" / ".x.js.7.partial",
    ]
    for path in (*left, of_run):
        path.touch()
    files.remove_leftovers(place.site)
    assert [path for path in (*left, of_run) if path.exists()] == [of_run]
    place.build()
    assert not of_run.exists()
