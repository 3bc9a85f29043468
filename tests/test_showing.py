"""Runs are shown once for a burst of short jobs, and soon where a job takes long."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from deepspeech_wer import archive, exit_codes, journal, showing, update_site
from deepspeech_wer.configuration import settings
from deepspeech_wer.errors import Trouble
from deepspeech_wer.jobs.work import Order, Work
from deepspeech_wer.machine import signals
from deepspeech_wer.merge_run import one_by_one
from deepspeech_wer.showing import LATEST_S, SETTLED_S, Showing
from tests.conftest import Repository
from tests.invented_runs import done
from tests.test_automation import tick, wers
from tests.test_automation import tracked as tracked  # the fixture

ORDER = cast(Order, type("Order", (), {"merge": done(2, 0.3).merge, "attempt": 1}))
SLEEPING = "sleep 1.5\nwer=0.5\n"


class Clock:
    """A clock, and a Showing that notes when it shows."""

    def __init__(self, cache: Path, monkeypatch: pytest.MonkeyPatch, *, is_behind: bool = False) -> None:
        self.now, self.shown, self.looks = 0.0, list[float](), 0
        self.is_behind = is_behind
        monkeypatch.setattr(showing.time, "monotonic", lambda: self.now)
        places = settings.load().places._replace(cache=cache)
        self.showing = Showing(places, self.show, self.look)

    def show(self) -> bool:
        self.shown.append(self.now)
        return len(self.shown) != 2

    def look(self) -> bool:
        self.looks += 1
        return self.is_behind

    def poll(self, name: str, until: float) -> None:
        """A job runs until then."""
        while self.now < until:
            self.showing.meanwhile(Work(Path(name)), ORDER)
            self.now += 0.5


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setenv("ds_repo_url", "file:///nowhere")
    return Clock(tmp_path, monkeypatch)


def test_short_jobs_are_shown_together(clock: Clock) -> None:
    for number in range(4):
        clock.poll(f"job {number}", until=(number + 1) * (SETTLED_S - 1))
        clock.showing.owe(done(number + 1, 0.3))
    assert (clock.shown, clock.showing.is_owed) == ([], True)
    clock.showing.pay()
    clock.showing.pay()
    assert (clock.shown, clock.showing.is_owed) == ([4 * (SETTLED_S - 1)], False)
    entry = journal.read(clock.showing._places.cache)
    assert entry
    assert (entry.phase, entry.sha) == ("show", done(4, 0.3).merge.sha)


def test_while_a_job_takes_long_the_runs_before_it_are_shown(clock: Clock) -> None:
    clock.showing.owe(done(1, 0.3))
    clock.now = 3.0
    clock.poll("long", until=1000.0)
    assert clock.shown == [3.0 + SETTLED_S]


def test_a_long_burst_is_shown_now_and_then(clock: Clock) -> None:
    for number in range(60):
        clock.poll(f"job {number}", until=clock.now + 4.0)
        clock.showing.owe(done(number + 1, 0.3))
    assert clock.shown == [64.0, 128.0, 192.0]
    assert all(later - before >= LATEST_S for before, later in zip(clock.shown, clock.shown[1:], strict=False))


def test_what_the_last_tick_could_not_show_is_shown_while_the_first_job_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ds_repo_url", "file:///nowhere")
    clock = Clock(tmp_path, monkeypatch, is_behind=True)
    clock.poll("long", until=100.0)
    clock.poll("another", until=200.0)
    assert (clock.shown, clock.looks) == ([SETTLED_S], 1)


def test_a_signal_is_passed_on_before_anything_is_shown(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    clock.showing.owe(done(1, 0.3))
    monkeypatch.setattr(signals, "count", lambda: 1)
    clock.poll("long", until=100.0)
    assert clock.shown == []


@pytest.mark.parametrize("error", [Trouble("no room"), OSError("no room")])
def test_trouble_ends_no_wait_for_a_job(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def show() -> bool:
        raise error

    monkeypatch.setattr(clock.showing, "_show", show)
    clock.showing.owe(done(1, 0.3))
    clock.poll("long", until=100.0)
    assert [record.getMessage() for record in caplog.records] == ["not shown, until this job has ended: no room"]
    assert (clock.showing.is_owed, clock.showing.is_well) == (True, False)
    monkeypatch.setattr(clock.showing, "_show", clock.show)
    clock.poll("next", until=200.0)
    assert clock.shown == [100.0 + SETTLED_S]


def test_one_failure_is_remembered(clock: Clock) -> None:
    for number, is_well in enumerate((True, False, False)):
        clock.showing.owe(done(number + 1, 0.3))
        clock.showing.pay()
        assert clock.showing.is_well == is_well


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of runs that each update of the site has shown."""
    shown: list[int] = []
    real = update_site.update

    def update(*arguments: object, **named: object) -> bool:
        shown.append(len(archive.names(settings.load().places.runs)))
        return real(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(update_site, "update", update)
    return shown


def test_a_queue_of_short_jobs_is_one_build(tracked: Repository, builds: list[int]) -> None:
    tracked.commit("first", {"wer": "wer=0.5\n"})
    tick()
    for number in range(4):
        tracked.merge(f"merge {number}", {"more": str(number)})
    tick()
    assert builds == [1, 5]


@pytest.mark.parametrize(("name", "value"), [("ds_backlog", "newest"), ("ds_retrain", "first")])
def test_where_the_verdicts_decide_what_runs_next_each_run_is_judged_at_once(
    tracked: Repository, builds: list[int], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    tracked.commit("first", {"wer": "wer=0.5\n"})
    tick()
    for number in range(3):
        tracked.merge(f"merge {number}", {"more": str(number)})
    tick()
    assert builds == [1, 2, 3, 4]


def test_the_page_does_not_wait_for_a_long_job(
    tracked: Repository, builds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(showing, "SETTLED_S", 0.2)
    tracked.commit("first", {"wer": "wer=0.5\n"})
    tick()
    tracked.merge("short", {"more": "1"})
    tracked.merge("long", {"wer": SLEEPING})
    tick()
    assert builds == [1, 2, 3]


def test_a_job_survives_that_the_runs_before_it_cannot_be_shown(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trouble raised while a job runs would wipe the checkout below it."""
    monkeypatch.setattr(showing, "SETTLED_S", 0.2)
    tracked.commit("first", {"wer": "wer=0.5\n"})
    tick()
    tracked.merge("short", {"more": "1"})
    tracked.merge("long", {"wer": SLEEPING})
    real, failed = update_site.update, list[None]()

    def update(*arguments: object, **named: object) -> bool:
        if not failed:
            failed.append(None)
            raise Trouble("no room")
        return real(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(update_site, "update", update)
    assert tick() == exit_codes.FAILED
    assert "not shown, until this job has ended: no room" in capsys.readouterr().err
    assert wers() == [0.5, 0.5, 0.5]
    assert not update_site.is_behind(settings.load())


def test_trouble_with_the_next_merge_hides_no_run(
    tracked: Repository, builds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked.commit("first", {"wer": "wer=0.5\n"})
    tick()
    for number in range(2):
        tracked.merge(f"merge {number}", {"more": str(number)})
    real, ran = one_by_one.run, list[None]()

    def run(*arguments: object) -> object:
        ran.append(None)
        if len(ran) == 2:
            raise Trouble("no room")
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(one_by_one, "run", run)
    assert tick() == exit_codes.TROUBLE
    assert builds == [1, 2]
    assert not update_site.is_behind(settings.load())
