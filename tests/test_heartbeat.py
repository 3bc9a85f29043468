"""What visitors are told between publishes: when the tracker looked, what waits, what runs."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import heartbeat
from deepspeech_wer.configuration import settings
from deepspeech_wer.configuration.settings import Beat, Cluster, Settings
from deepspeech_wer.heartbeat import Heartbeat
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.work import Order
from deepspeech_wer.records import Merge
from tests.conftest import Repository
from tests.test_automation import tick
from tests.test_automation import tracked as tracked  # the fixture


def told() -> dict[str, Any]:
    text = (settings.load().places.site / "js/now.js").read_text("ascii")
    record: dict[str, Any] = json.loads(text.removeprefix("window.WER_NOW=").removesuffix(";\n"))
    return record


def age(by_s: float) -> None:
    """Make the last heartbeat older."""
    place = settings.load().places.heartbeat
    record = json.loads(place.read_text())
    place.write_text(json.dumps({**record, "at": record["at"] - by_s}))


def test_a_tick_tells_that_it_looked_and_what_the_page_opens_from(tracked: Repository) -> None:
    tracked.commit("first", {"wer": "wer=0.5\n"})
    tick()
    record = told()
    assert record["job"] is None
    assert record["every"] == 3600
    assert record["waiting"] == 0
    assert (settings.load().places.site / record["index"]).is_file()
    assert record["index"] in (settings.load().places.site / "index.htm").read_text()


def test_an_idle_tick_tells_it_once_an_hour(tracked: Repository) -> None:
    tracked.commit("first", {"wer": "wer=0.5\n"})
    tick()
    place = settings.load().places.site / "js/now.js"
    os.utime(place, (1, 1))
    tick()
    assert place.stat().st_mtime == 1
    age(3601)
    tick()
    assert place.stat().st_mtime > 1
    assert told()["waiting"] == 0


def test_0_means_never(tracked: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    tracked.commit("first", {"wer": "wer=0.5\n"})
    tick()
    age(10**9)
    before = told()
    monkeypatch.setenv("ds_heartbeat_every", "0")
    tick()
    assert told() == before


def test_a_clock_that_was_set_back_does_not_silence_it(tracked: Repository) -> None:
    tracked.commit("first", {"wer": "wer=0.5\n"})
    tick()
    before = settings.load().places.site / "js/now.js"
    os.utime(before, (1, 1))
    age(-(10**6))
    tick()
    assert before.stat().st_mtime > 1


@pytest.mark.parametrize("content", [b"", b"[]", b'{"at": "x"}', b"\xff"])
def test_a_damaged_state_is_made_anew(tracked: Repository, content: bytes) -> None:
    tracked.commit("first", {"wer": "wer=0.5\n"})
    tick()
    settings.load().places.heartbeat.write_bytes(content)
    assert tick() == 0
    assert told()["job"] is None


def running(tmp_path: Path, output: str) -> tuple[Settings, works.Work, Any]:
    """A site, and a job that has written some output."""
    loaded = settings.load()._replace(beat=Beat(3600, 60))
    (loaded.places.site / "js").mkdir(parents=True)
    (loaded.places.site / "index.htm").write_text("")
    loaded.places.cache.mkdir(parents=True, exist_ok=True)
    started = time.strftime("%Y%m%d-%H%M%S", time.gmtime(time.time() - 600))
    work = works.Work(tmp_path / f"{started}-0123456789ab")
    work.path.mkdir()
    work.out_log.write_text(output)
    merge = type("Merge", (), {"sha": "a" * 40, "subject": "<b>", "author": "Ben"})
    return loaded, work, type("Order", (), {"merge": merge, "attempt": 2, "rerun_of": None})


@pytest.mark.usefixtures("tracked")
def test_a_job_tells_epoch_losses_and_its_end(tmp_path: Path) -> None:
    lines = "epoch 1/4, train loss 90.5000, validation loss 80.25, 3.1 CPU-s\nepoch 2/4, train loss 50.1, 3.0 CPU-s\n"
    loaded, work, order = running(tmp_path, f"reading\n{lines}epoch 3")
    Heartbeat(loaded).job(work, order)
    job = told()["job"]
    assert job["curve"] == [[1, 90.5, 80.25], [2, 50.1, None]]
    assert (job["epoch"], job["epochs"], job["attempt"]) == (2, 4, 2)
    left = heartbeat.datetime.fromisoformat(job["ends_at"]).timestamp() - time.time()
    assert left == pytest.approx(600, abs=60)
    assert told()["every"] == heartbeat.LEAST_S


@pytest.mark.usefixtures("tracked")
def test_what_trains_beside_a_job_on_a_cluster_is_told(tmp_path: Path) -> None:
    loaded, work, order = running(tmp_path, "")
    loaded = loaded._replace(cluster=Cluster("slurm", 4))
    merge = Merge("b" * 40, 7, "another", "Ada", "2026-01-02T03:04:05Z", ())
    for name in ("20260102-030405-bbbbbbbbbbbb", "20260102-030406-bbbbbbbbbbbb"):
        other = works.Work(loaded.places.work / name)
        other.path.mkdir(parents=True)
        works.write_order(other, Order(merge, None, 1, 1, 0, 0, "x", "x", "x", None, None, 1.0, "t"))
        (other.path / "ticket.json").touch()
    (other.path / "outcome.json").touch()  # this one has ended
    Heartbeat(loaded).job(work, order)
    assert told()["job"]["beside"] == [{"sha": merge.sha, "subject": "another", "author": "Ada"}]


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize(
    "output", ["", "nothing of the kind", "epoch 0/0, train loss 1", "epoch 1/2, train loss ......"]
)
def test_a_job_that_tells_nothing_is_told_all_the_same(tmp_path: Path, output: str) -> None:
    loaded, work, order = running(tmp_path, output)
    Heartbeat(loaded).job(work, order)
    assert told()["job"]["subject"] == "<b>"
    assert told()["job"]["ends_at"] is None or output.startswith("epoch 1/2")
    assert "<b>" not in (loaded.places.site / "js/now.js").read_text()


@pytest.mark.usefixtures("tracked")
def test_what_cannot_be_written_is_tried_as_rarely(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    loaded, work, order = running(tmp_path, "")
    (loaded.places.site / "js").rmdir()
    (loaded.places.site / "js").write_text("")
    beat = Heartbeat(loaded)
    for _ in range(3):
        beat.job(work, order)
    assert caplog.text.count("the page was not told what goes on") == 1


def test_what_waits_does_not_count_what_runs(tracked: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    tracked.commit("first", {"wer": "wer=0.5\n"})
    tick()
    for number in range(3):
        tracked.merge(f"merge {number}", {"more": str(number)})
    seen: list[int] = []
    real = Heartbeat.plans

    def plans(self: Heartbeat, waiting: int) -> None:
        real(self, waiting)
        seen.append(json.loads(settings.load().places.heartbeat.read_text())["waiting"])

    monkeypatch.setattr(Heartbeat, "plans", plans)
    tick()
    assert seen == [2, 1, 0, 0]


@pytest.mark.usefixtures("tracked")
def test_a_job_is_told_of_at_most_so_often(tmp_path: Path) -> None:
    loaded, work, order = running(tmp_path, "")
    Heartbeat(loaded).job(work, order)
    place = loaded.places.site / "js/now.js"
    os.utime(place, (1, 1))
    Heartbeat(loaded).job(work, order)
    assert place.stat().st_mtime == 1
    age(61)
    Heartbeat(loaded).job(work, order)
    assert place.stat().st_mtime > 1
    os.utime(place, (1, 1))
    Heartbeat(loaded).idle()  # at once: what ran does not run any more
    assert told()["job"] is None
