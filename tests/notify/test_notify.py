"""What every channel does: nothing twice, retries at growing distances, an idle tick that stays light; whole ticks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import archive, files
from deepspeech_wer.configuration import settings
from deepspeech_wer.configuration.settings import Settings
from deepspeech_wer.notify import http as posting
from deepspeech_wer.notify import ledger
from tests.conftest import Repository
from tests.notify.receiver import DRIPS, HANGS, Receiver, unused_port
from tests.notify.tellings import Book, make
from tests.test_automation import TICK
from tests.test_automation import tracked as tracked  # the fixture
from tests.waiting import until


def tick(current: Settings, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a tick with that webhook as a process: it removes secrets from its environment."""
    environment = {**os.environ, "ds_webhook_url": current.notices.webhook_url or "", **variables}
    return subprocess.run(TICK, env=environment, capture_output=True, text=True, timeout=300, check=False)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_the_next_tick_tries_again_and_later_ones_at_growing_distances_for_days(
    hooked: Book, receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.code = 500
    start, minutes = time.time(), 0
    monkeypatch.setattr(ledger, "now", lambda: start + 60 * minutes)
    hooked.add(make(1))
    attempts = []
    for minutes in range(0, 4 * 24 * 60, 5):
        before = len(receiver.got)
        hooked.tell(is_idle=minutes > 0)
        attempts += [minutes] * (len(receiver.got) - before)
    assert attempts[:6] == [0, 5, 15, 35, 75, 135]
    assert attempts[-1] > 4 * 24 * 60 - 70
    assert len(attempts) < 110
    assert warnings(caplog)[0] == "webhook: it answered 500: check ds_webhook_url; the next tick tries again"
    assert "check ds_webhook_url; it is tried again after 20" in warnings(caplog)[2]
    receiver.code = 200
    minutes += 70
    hooked.tell(is_idle=True)
    hooked.tell(is_idle=True)
    assert len({posted.headers["webhook-id"] for posted in receiver.got}) == 1
    assert len(receiver.got) == len(attempts) + 1


@pytest.mark.parametrize("code", [301, 302, 307, 400, 401, 403, 404, 410, 413, 422, 429, 500, 502])
def test_whatever_a_webhook_answers_is_one_line_without_secrets_and_tried_again(
    hooked: Book, receiver: Receiver, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    receiver.code, receiver.text = code, "s3cret"
    hooked.add(make(1))
    hooked.tell()
    assert len(receiver.got) == 1  # a redirect is not followed
    assert len(warnings(caplog)) == 1
    assert f"webhook: it answered {code}" in caplog.text
    assert "s3cret" not in caplog.text
    receiver.code = 204
    hooked.tell(is_idle=True)
    hooked.tell(is_idle=True)
    assert len(receiver.got) == 2


@pytest.mark.parametrize("text", ["120", "Wed, 21 Oct 2037 07:28:00 GMT", "-5", "soon", "9" * 400, "", "٣"])
def test_what_a_server_says_of_when_to_come_back_is_bounded(
    hooked: Book, receiver: Receiver, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.code, receiver.headers = 429, {"Retry-After": text}
    if not text.isascii():
        receiver.headers = {"Retry-After": "\xb3"}
    hooked.add(make(1))
    hooked.tell()
    start = time.time()
    monkeypatch.setattr(ledger, "now", lambda: start + 86_400 + 60)
    receiver.code = 200
    hooked.tell(is_idle=True)
    assert len(receiver.got) == 2


def test_a_message_that_is_refused_does_not_keep_others_back(hooked: Book, receiver: Receiver) -> None:
    hooked.add(make(1, 0.1), "too few runs")
    hooked.tell()
    bad = hooked.add(make(2, 0.4), "worse", 28.7)
    hooked.event(bad, "open")
    hooked.add(make(3))
    receiver.codes = [413]
    hooked.tell()
    assert [message["state"] for message in receiver.messages] == ["failed", "open"]
    hooked.tell()
    assert [message["state"] for message in receiver.messages[2:]] == ["failed"]


@pytest.mark.parametrize("code", [400, 406, 415, 451])
def test_a_message_that_is_refused_for_days_is_given_up_and_each_is_said_once(
    hooked: Book, receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    start, minutes = time.time(), 0
    monkeypatch.setattr(ledger, "now", lambda: start + 60 * minutes)
    receiver.code = code
    hooked.add(make(1))
    for minutes in range(0, 5 * 24 * 60, 15):
        hooked.tell(is_idle=minutes > 0)
    first, last = warnings(caplog)
    assert f"webhook: it answered {code} to msg_" in first
    assert last.endswith("It has refused it for 3 days: given up")
    assert 60 < len(receiver.got) < 90
    receiver.code, before = 200, len(receiver.got)
    hooked.add(make(2))
    hooked.tell()
    assert len(receiver.got) == before + 1
    assert receiver.messages[-1]["run"] == make(2).id


def test_a_refusal_that_passes_costs_nothing(hooked: Book, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    start, days = time.time(), 0
    monkeypatch.setattr(ledger, "now", lambda: start + 86_400 * days)
    receiver.code = 422
    hooked.add(make(1))
    for days in (0, 2, 1):  # the clock was set back
        hooked.tell(is_idle=days > 0)
    receiver.code, days = 200, 3
    hooked.tell(is_idle=True)
    assert len(receiver.got) >= 3
    before = len(receiver.got)
    hooked.tell(is_idle=True)
    assert len(receiver.got) == before


@pytest.mark.parametrize("how", ["hangs", "drips", "refuses", "no such host"])
def test_a_silent_or_absent_server_costs_seconds_and_one_line(
    hooked: Book, receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(posting, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(posting, "DEADLINE_S", 0.6)
    receiver.code = DRIPS if how == "drips" else HANGS
    if how == "refuses":
        hooked.with_notices(webhook_url=f"http://127.0.0.1:{unused_port()}/s3cret")
    elif how == "no such host":
        monkeypatch.setattr(posting, "DEADLINE_S", 30)
        hooked.with_notices(webhook_url="http://s3cret.invalid/x")
    hooked.add(make(1))
    hooked.tell()
    assert len(warnings(caplog)) == 1
    expected = {"hangs": "within 0.3 s", "drips": "within 0.6 s", "refuses": "(Connection refused)", "no such host": ""}
    assert f"webhook: no answer {expected[how]}" in caplog.text
    assert "s3cret" not in caplog.text


def test_what_cannot_be_recorded_is_not_sent(
    hooked: Book, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hooked.add(make(1))
    hooked.tell()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    hooked.add(make(2))
    with monkeypatch.context() as patched:
        patched.setattr(files, "write_atomically", full)
        for _ in range(3):
            hooked.tell()
            hooked.begin(make(3))
    assert "webhook: cannot record in " in caplog.text
    hooked.tell()
    hooked.tell()
    assert [message["run"] for message in receiver.messages] == [make(1).id, make(2).id]


VERSIONS = ['{"version": 9}', '{"version": 1, "channels": 3}', '{"version": 2, "channels": {"webhook": {}}}']


@pytest.mark.parametrize("content", ["", "{", "[]", *VERSIONS])
def test_a_damaged_ledger_counts_as_missing(hooked: Book, receiver: Receiver, content: str) -> None:
    (hooked.settings.places.cache / "told.json").write_text(content)
    for number in (1, 2):
        hooked.add(make(number))
    hooked.tell()
    hooked.tell()
    assert [message["run"] for message in receiver.messages] == [make(2).id]


def test_the_ledger_of_an_earlier_release_is_taken_over(github: Book, hooked: Book, receiver: Receiver) -> None:
    runs = [make(1, 0.1), make(2), make(3, 0.2), make(4), make(5, 0.1)]
    old = {"names": [run.id for run in runs[:4]], "last": "failed"}
    record = {"version": 1, "channels": {"commit status": old, "webhook": old}}
    (hooked.settings.places.cache / "told.json").write_text(json.dumps(record))
    for book in (github, hooked):
        for run in runs:
            book.add(run, "failed" if run.hyper is None else "no change seen", None)
        book.event(runs[2], "recovered", runs[4])
        book.tell()
        book.tell()
    statuses, message = receiver.got[:-1], receiver.messages[-1]
    assert [posted.path[-40:] for posted in statuses] == [runs[4].merge.sha]  # the others have one
    assert (message["state"], message["run"]) == ("working again", runs[4].id)


def test_an_idle_tick_neither_reads_the_archive_nor_writes(hooked: Book, receiver: Receiver) -> None:
    hooked.add(make(1))
    hooked.tell()
    told = hooked.settings.places.cache / "told.json"
    before = told.stat().st_mtime_ns
    hooked.runs.clear()  # reading it would now fail
    hooked.verdicts = None  # type: ignore[assignment]
    hooked.tell(is_idle=True)
    assert told.stat().st_mtime_ns == before
    assert len(receiver.got) == 1


def test_a_regression_is_logged_once_and_gives_the_exit_code_once(
    hooked: Book, caplog: pytest.LogCaptureFixture
) -> None:
    cache = hooked.settings.places.cache
    hooked.with_notices(webhook_url=None)
    hooked.add(make(1, 0.122), "too few runs")
    bad = hooked.add(make(2, 0.409, dropout_rate=0.3), "suspect", 28.7)
    hooked.event(bad, "suspect")
    hooked.tell()
    assert not ledger.owes_exit_code(cache)
    hooked.worse(bad)
    for _ in range(2):
        hooked.tell()
    (line,) = warnings(caplog)
    title = f'{bad.merge.sha[:12]} "bring in <b>" by Ada'
    assert line == f"regression: {title}: worse: +28.7 pp (95 %: 24 to 33), dropout_rate 0.05 -> 0.3"
    assert [ledger.owes_exit_code(cache) for _ in range(2)] == [True, False]
    hooked.event(bad, "recovered", bad)
    hooked.tell()
    assert not ledger.owes_exit_code(cache)


def test_ticks_notify_of_failure_and_recovery(tracked: Repository, hooked: Book, receiver: Receiver) -> None:
    tick(hooked.settings)
    tracked.merge("broken", {"wer": "exit 3\n"})
    tick(hooked.settings)
    tracked.merge("mended", {"wer": "wer=0.1\n"})
    tick(hooked.settings)
    tick(hooked.settings)
    assert [message["state"] for message in receiver.messages] == ["failed", "working again"]
    assert [message["run"] for message in receiver.messages] == [
        run.id for run in sorted(archive.load(settings.load().places.runs), key=lambda run: run.merge.ordinal)[1:]
    ]


def test_the_next_tick_sends_what_could_not_be_sent(tracked: Repository, hooked: Book, receiver: Receiver) -> None:
    tracked.commit("broken", {"wer": "exit 3\n"})
    receiver.code = 500
    said = tick(hooked.settings).stderr
    assert "the next tick tries again" in said
    assert "s3cret" not in said
    receiver.code = 200
    assert tick(hooked.settings).stderr == ""
    assert tick(hooked.settings).stderr == ""
    assert len(receiver.got) == 2


def test_a_tick_killed_between_sending_and_recording_repeats_the_message_with_its_id(
    tracked: Repository, hooked: Book, receiver: Receiver
) -> None:
    tracked.commit("broken", {"wer": "exit 3\n"})
    receiver.codes = [HANGS]  # the message has arrived, and its sender does not know
    environment = {**os.environ, "ds_webhook_url": hooked.settings.notices.webhook_url or ""}
    with subprocess.Popen(TICK, env=environment, stderr=subprocess.DEVNULL) as killed:
        until(receiver.arrived.is_set)
        killed.send_signal(signal.SIGKILL)
    for _ in range(3):
        tick(hooked.settings)
    first, second = receiver.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


@pytest.mark.usefixtures("tracked")
def test_an_idle_tick_stays_light(hooked: Book) -> None:
    tick(hooked.settings)
    code = (
        "import sys; from deepspeech_wer import cli; code = cli.main([]); "
        "print(code, 'deepspeech_wer.notify' in sys.modules, 'requests' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0 True False\n"


def test_a_tick_has_no_secret_of_notifications_in_a_job_or_log(
    tracked: Repository, hooked: Book, receiver: Receiver, tmp_path: Path
) -> None:
    names: dict[str, Any] = {"ds_gitlab_token": "glpat-marker", "ds_webhook_secret": "hook-marker"}
    tracked.commit("tell", {"wer": f"env >{tmp_path}/env; cat /proc/$PPID/environ >>{tmp_path}/env; exit 3\n"})
    done = tick(hooked.settings, **names)
    assert len(receiver.got) == 1
    seen = (tmp_path / "env").read_text() + done.stdout + done.stderr
    assert "ds_wer_sha" in seen
    assert "marker" not in seen
