"""Judging that goes on from what is remembered gives the same, to the byte, as judging from nothing."""

from __future__ import annotations

import base64
import json
import os
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import decision_files, files
from deepspeech_wer.configuration.settings import Retraining
from deepspeech_wer.decision_files import Decision
from deepspeech_wer.judging import remembered, verdict_file
from deepspeech_wer.places import Places
from deepspeech_wer.records import Run
from deepspeech_wer.verdicts import judge
from tests.test_judging import run

SD = 0.003


@dataclass
class Archive:
    """An archive that grows in every way that one can, with its own cache."""

    home: Path
    seed: int
    runs: list[Run] = field(default_factory=list)
    results: dict[str, str] = field(default_factory=dict)
    has_sets: bool = False
    wanted: Retraining = field(default_factory=lambda: Retraining("on", 12, 0.3, anchor=True))

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.level, self.number, self.started = 0.16, 10, 0
        self.under: dict[str, Any] = {"variables": {"ds_epochs": "3"}, "machine": "m"}
        self.signature = "test-clean"
        self.places = Places(self.home / "cache", self.home / "data")
        for place in (self.places.cache, self.places.data):
            place.mkdir(parents=True)

    def merge(self) -> None:
        """A new merge, after up to two that are skipped."""
        self.number += self.dice.choice((1, 1, 1, 2, 3))
        self.level += SD * self.dice.choice((0, 0, 0, 0, 0, 0, 3, -3, 12, -12))
        self._add(self.number)

    def failure(self) -> None:
        self.number += 1
        self._add(self.number, rate=None)

    def same(self) -> None:
        """A merge that changes nothing."""
        good = [one for one in self.runs if one.hyper]
        if good:
            self.number += 1
            last = max(good, key=lambda one: (one.number, one.id))
            assert last.hyper
            self._add(self.number, rate=last.hyper["results"]["test_wer"], result=self.results[last.id])

    def revert(self) -> None:
        self.number += 1
        self.level -= 12 * SD
        self._add(self.number, reverts=tuple(one.merge.sha for one in self.runs[-4:]))

    def retraining(self) -> None:
        """The one that is wanted, or any."""
        due = verdict_file.make(self.places, self.runs, self.results, self.wanted)["retraining"]
        of = due["rerun_of"] if due and self.dice.random() < 0.7 else self.dice.choice(self.runs).id
        again = next(one for one in self.runs if one.id == of)
        self._add(again.number, again=again)

    def calibration(self) -> None:
        """Two seeds of a merge, to measure the noise."""
        of = self.dice.choice(self.runs)
        for _ in range(2):
            self._add(of.number, again=of)
            self.runs[-1] = self.runs[-1]._replace(calibrates=True)

    def late(self) -> None:
        """A commit that was skipped, or a retry of one that failed."""
        self._add(self.dice.randrange(1, self.number + 1))

    def operator(self) -> None:
        self.under = {**self.under, "variables": {"ds_epochs": str(self.dice.randrange(3))}}
        self.merge()

    def other_machine(self) -> None:
        self.under = {**self.under, "machine": self.dice.choice("mn")}
        self.merge()

    def other_set(self) -> None:
        self.signature = self.dice.choice(("test-clean", "test-other"))
        self.merge()

    def decision(self) -> None:
        sha = self.dice.choice(self.runs).merge.sha
        decision_files.accept(self.places.requests, Decision(sha, "ada", "why", "2026-01-01T00:00:00Z"))

    def settings(self) -> None:
        self.wanted = self.wanted._replace(budget=self.dice.choice((3, 12)))

    def removed(self) -> None:
        """Somebody removes a run by hand."""
        self.runs.remove(self.dice.choice(self.runs))

    def _add(
        self, number: int, rate: float | None = 0.0, result: str = "", again: Run | None = None, **of: Any
    ) -> None:
        self.started += 1
        sha = again.merge.sha if again else f"{number:012x}" + 28 * "0"
        if rate == 0.0:
            rate = self.dice.gauss(self.level, SD)
        made = run(number, rate, sha=sha)
        name = f"20260101-{self.started:06}-{sha[:12]}"
        made = made._replace(id=name, merge=made.merge._replace(**of), **self.under)
        if again:
            made = made._replace(rerun_of=again.id, seed=1)
        if made.hyper:
            made.hyper["results"]["signature"] = self.signature
            if self.has_sets and number > 20:
                figures = {"wer": self.dice.gauss(self.level * self.dice.choice((1, 1, 1.1)), SD), "words": 50_000}
                made.hyper["results"]["tests"] = {self.dice.choice(("one", "two")): figures, "three": figures}
        self.runs.append(made)
        self.results[name] = result or f"result of {name}"

    def update(self) -> bytes:
        verdict_file.update(self.places, self.runs, self.results, self.wanted)
        return self.places.verdicts.read_bytes()

    def from_nothing(self) -> bytes:
        """The same, with another cache, in another order."""
        self.dice.shuffle(self.runs)
        elsewhere = Archive(self.home / f"elsewhere {self.started} {self.dice.random()}", 0, self.runs, self.results)
        if self.places.requests.exists():
            elsewhere.places.requests.symlink_to(self.places.requests)
        elsewhere.wanted = self.wanted
        return elsewhere.update()


MOVES = (
    *[Archive.merge] * 30,
    *[Archive.same] * 6,
    *[Archive.retraining] * 20,
    *[Archive.failure] * 3,
    *[Archive.revert] * 3,
    *[Archive.late] * 4,
    *[Archive.other_machine] * 2,
    Archive.calibration,
    Archive.operator,
    Archive.other_set,
    Archive.decision,
    Archive.settings,
    Archive.removed,
)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "REMEMBER_EVERY", 4)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The number of runs that each judging looked at."""
    counts: list[int] = []

    def go_on(progress: judge.Progress, draws: Any, terms: judge.Terms) -> judge.Judgement:
        counts.append(len(draws))
        return real(progress, draws, terms)

    real = judge.go_on
    monkeypatch.setattr(judge, "go_on", go_on)
    return iter([counts])


@pytest.mark.parametrize("seed", range(12))
def test_any_history_is_judged_as_from_nothing(tmp_path: Path, seed: int) -> None:
    archive = Archive(tmp_path, seed, has_sets=seed > 8)
    for _ in range(60):
        archive.dice.choice(MOVES if archive.runs else MOVES[:1])(archive)
        if archive.dice.random() < 0.6:
            assert archive.update() == archive.from_nothing()
    assert archive.update() == archive.from_nothing()


def grown(home: Path, runs: int = 80) -> Archive:
    archive = Archive(home, 5)
    for _ in range(runs):
        archive.merge()
    archive.update()
    return archive


def test_one_run_more_is_judged_alone(tmp_path: Path, judged: Iterator[list[int]]) -> None:
    counts = next(judged)
    archive = grown(tmp_path)
    archive.merge()
    archive.update()
    archive._add(archive.runs[-1].number, again=archive.runs[-1])
    archive.update()
    assert counts[0] == 80
    assert counts[1] == 1
    assert counts[2] <= 8


def test_what_was_forgotten_is_remembered_again_though_nothing_is_new(
    tmp_path: Path, judged: Iterator[list[int]]
) -> None:
    counts = next(judged)
    archive = grown(tmp_path)
    archive.places.remembered.unlink()
    for _ in range(3):
        archive.update()
    assert counts == [80, 80, 0, 0]


def damaged(text: bytes) -> Iterator[bytes]:
    yield b""
    yield text[: len(text) // 2]
    yield text[:-3]
    yield text.replace(b'"version": 1', b'"version": 0', 1)
    yield text[:-9] + b"?" + text[-8:]
    head, _, body = text.partition(b"\n")
    for foreign in (b"[]", b"{}", b"null", b'{"version": 1}', head.replace(b'"cuts": [', b'"cuts": [7, ', 1)):
        yield foreign + b"\n" + body
    yield b"\x80\x04\x95" + text  # of pickle
    yield b"[" * 100_000


def test_what_is_damaged_is_judged_from_nothing(tmp_path: Path, judged: Iterator[list[int]]) -> None:
    counts = next(judged)
    archive = grown(tmp_path)
    good = archive.places.remembered.read_bytes()
    for text in damaged(good):
        archive.places.remembered.write_bytes(text)
        archive.merge()
        assert archive.update() == archive.from_nothing()
        assert counts[-2:] == [len(archive.runs)] * 2


def _resealed(text: bytes, old: bytes, new: bytes) -> bytes:
    """States that another program packed, with the right digest."""
    head, _, body = text.partition(b"\n")
    rows = body.split(b"\n")
    for place in range(1, len(rows), 2):
        state = zlib.decompress(base64.b64decode(rows[place]))
        assert old in state
        rows[place] = base64.b64encode(zlib.compress(state.replace(old, new)))
    body = b"\n".join(rows)
    header = {**json.loads(head), "check": remembered._digest([body])}
    return json.dumps(header).encode() + b"\n" + body


@pytest.mark.parametrize("new", [b'["Path",', b'["Entry",1,', b"{", b'[["Window"],'])
def test_a_state_makes_nothing_but_the_records_of_a_judgement(tmp_path: Path, new: bytes) -> None:
    archive = grown(tmp_path)
    path = archive.places.remembered
    path.write_bytes(_resealed(path.read_bytes(), b'["Window",', new))
    archive.merge()
    assert archive.update() == archive.from_nothing()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut in a line": lambda text: text[: len(text) // 2],
    "cut between lines": lambda text: b"\n".join(text.split(b"\n")[:20]) + b"\n",
    "no UTF-8": lambda text: text.replace(b'"verdict"', b'"verd\xff', 1),
    "a line less": lambda text: b"\n".join(text.split(b"\n")[:10] + text.split(b"\n")[11:]),
    "lines without a commit": lambda text: text.replace(b'"sha"', b'"ska"'),
    "a commit that is a list": lambda text: text.replace(b'"sha":', b'"sha":[],"x":'),
    "zeros": lambda text: text[:1000] + bytes(len(text) - 1000),
    "other line ends": lambda text: text.replace(b"\n", b"\r\n"),
    "no end": lambda text: text[: text.rfind(b"\n],") + 1],
    "no JSON": lambda _: b"{\n" * 50,
    "more after the end": lambda text: text + b"{}\n",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_verdicts_are_judged_again_and_not_told_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    archive = grown(tmp_path)
    archive.places.verdicts.write_bytes(damage(archive.places.verdicts.read_bytes()))
    archive.merge()
    with caplog.at_level("INFO"):
        caplog.clear()
        found = archive.update()
    assert len(caplog.messages) <= 2  # the new one, and at most another that the damaged file lacks
    assert found == archive.from_nothing()


def _by_others(path: Path) -> None:
    path.chmod(0o620)


def _a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("change", [_by_others, _a_link, _a_pipe, _a_directory])
def test_what_others_may_have_written_is_not_used(
    tmp_path: Path, judged: Iterator[list[int]], change: Callable[[Path], None]
) -> None:
    counts = next(judged)
    archive = grown(tmp_path)
    change(archive.places.remembered)
    archive.merge()
    assert archive.update() == archive.from_nothing()
    assert counts[-2:] == [81, 81]


@pytest.mark.parametrize("killed_at", range(3))
def test_a_judging_that_was_cut_off_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    archive = grown(tmp_path)
    archive.merge()
    writes: list[Path] = []

    def write(path: Path, data: Any, *, mode: int = 0o644) -> None:
        writes.append(path)
        if len(writes) > killed_at:
            raise KeyboardInterrupt
        real(path, data, mode=mode)

    real = files.write_atomically
    with monkeypatch.context() as patch:
        for module in (files, remembered):
            patch.setattr(module, "write_atomically", write)
        with pytest.raises(KeyboardInterrupt):
            archive.update()
    assert archive.update() == archive.from_nothing()
    archive.merge()
    assert archive.update() == archive.from_nothing()


def test_verdicts_changed_by_hand_are_made_again(tmp_path: Path) -> None:
    archive = grown(tmp_path)
    good = archive.places.verdicts.read_bytes()
    for text in (
        good.replace(b"no change seen", b"worse", 1),
        good[:-40],
        b"{}",
        json.dumps(json.loads(good)).encode(),
    ):
        archive.places.verdicts.write_bytes(text)
        assert archive.update() == good
