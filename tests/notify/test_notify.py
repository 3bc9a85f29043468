"""Commit statuses and webhook messages, to a real HTTP server."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import archive, files, settings
from deepspeech_wer.errors import Trouble
from deepspeech_wer.notify import channels
from deepspeech_wer.notify import github as github_statuses
from deepspeech_wer.notify import http as posting
from deepspeech_wer.records import Merge, Run
from deepspeech_wer.settings import Settings
from tests.conftest import Repository
from tests.test_automation import TICK
from tests.test_automation import tracked as tracked  # the fixture

TOKEN = "gh-s3cret"
WORST = "<!channel> @all " + "é\N{GRINNING FACE}\n" * 200


@dataclass
class Endpoint:
    """Records what is posted, like GitHub and chat servers."""

    url: str = ""
    code: int = 201
    got: list[tuple[str, str | None, dict[str, Any]]] = field(default_factory=list)  # path, Authorization, message

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [message for _, _, message in self.got]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    it = Endpoint()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            it.got.append((self.path, self.headers["Authorization"], json.loads(body)))
            self.send_response(it.code)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        it.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield it
        server.shutdown()
        thread.join()


@pytest.fixture
def hooked(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with a webhook only."""
    monkeypatch.setenv("ds_webhook_url", f"{endpoint.url}/hook/s3cret")
    current = settings.load()
    current.places.cache.mkdir(parents=True, exist_ok=True)
    return current


@pytest.fixture
def github(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with only a token, for mozilla/DeepSpeech."""
    monkeypatch.setenv("ds_github_token", TOKEN)
    monkeypatch.setenv("ds_website_url", "https://wer.example.com/deep")
    assert endpoint.url
    current = settings.load()
    current.places.cache.mkdir(parents=True, exist_ok=True)
    return current


def tick(current: Settings) -> str:
    """Run a tick with that webhook as a process: it removes secrets from its environment. Returns stderr."""
    environment = {**os.environ, "ds_webhook_url": current.notices.webhook_url or ""}
    return subprocess.run(TICK, env=environment, capture_output=True, text=True, check=False).stderr


def make(number: int, wer: float | None = None, detail: str = "no such layer") -> Run:
    """Return a run. It failed if `wer` is None."""
    sha = f"{number:040x}"
    started = f"2026-01-02T03:{number // 60:02d}:{number % 60:02d}Z"
    hyper = None if wer is None else {"results": {"test_wer": wer}}
    status, failure, text = ("failed", "exit 3", detail) if wer is None else ("done", None, "")
    merge = Merge(sha, number, "bring in <b>", "Ada", started, ())
    name = f"20260102-03{number // 60:02d}{number % 60:02d}-{sha[:12]}"
    return Run(name, Path(name), merge, status, failure, text, 1, started, started, "trainer", hyper)


def tell(current: Settings, runs: list[Run], endpoint: Endpoint) -> None:
    by_name = {run.id: run for run in runs}
    channels.tell(
        current.repository, current.notices, current.places.cache, list(by_name), by_name.__getitem__, api=endpoint.url
    )


def test_a_status_on_the_commit_of_every_run(github: Settings, endpoint: Endpoint) -> None:
    good, bad = make(1, 0.1234), make(2)
    tell(github, [good], endpoint)
    tell(github, [good, bad], endpoint)
    assert endpoint.got == [
        (
            f"/repos/mozilla/DeepSpeech/statuses/{run.merge.sha}",
            f"Bearer {TOKEN}",
            {
                "state": state,
                "context": "deepspeech_wer",
                "description": text,
                "target_url": f"https://wer.example.com/deep/#/run/{run.id}",
            },
        )
        for run, state, text in (
            (good, "success", "test WER 12.34 %"),
            (bad, "failure", "failed: exit 3: no such layer"),
        )
    ]


def test_a_status_respects_the_limits_of_github(github: Settings, endpoint: Endpoint) -> None:
    tell(github, [make(1, detail=WORST)], endpoint)
    description = endpoint.messages[0]["description"]
    assert len(description) == 140
    assert description.startswith("failed: exit 3: <!channel> @all é? é?")


def test_netrc_does_not_replace_the_token(github: Settings, endpoint: Endpoint, sealed: Path) -> None:
    (sealed / ".netrc").write_text("machine 127.0.0.1 login ada password other\n")
    (sealed / ".netrc").chmod(0o600)
    tell(github, [make(1, 0.5)], endpoint)
    assert endpoint.got[0][1] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("page", "address"),
    [
        ("https://github.com/mozilla/DeepSpeech", "https://api.github.com/repos/mozilla/DeepSpeech/statuses"),
        ("https://github.example.com/speech/wer", "https://github.example.com/api/v3/repos/speech/wer/statuses"),
        ("https://gitlab.com/speech/wer", None),
        (None, None),
    ],
)
def test_the_address_follows_from_the_page(page: str | None, address: str | None) -> None:
    assert github_statuses.statuses_address(page) == address


def test_an_alarm_for_each_failure_and_one_recovery(hooked: Settings, endpoint: Endpoint) -> None:
    runs = [make(1, 0.5), make(2), make(3), make(4, 0.25), make(5, 0.2)]
    for number in range(1, len(runs) + 1):
        tell(hooked, runs[:number], endpoint)
    tell(hooked, runs, endpoint)
    assert [message["run"] for message in endpoint.messages] == [runs[1].id, runs[2].id, runs[3].id]
    title = 'bring in ‹b›" by Ada'
    assert endpoint.messages[0] == {
        "text": f'mozilla/DeepSpeech: failed: exit 3: no such layer: {runs[1].merge.sha[:12]} "{title}',
        "run": runs[1].id,
        "sha": runs[1].merge.sha,
        "status": "failed",
        "failure": "exit 3",
        "test_wer": None,
    }
    assert "recovered: test WER 25.00 %: " in endpoint.messages[2]["text"]
    assert endpoint.messages[2]["test_wer"] == 0.25


@pytest.mark.parametrize("wer", [0.4, None])
def test_a_re_training_is_no_news_of_its_merge(
    github: Settings, hooked: Settings, endpoint: Endpoint, wer: float | None
) -> None:
    again = replace(make(2, wer), rerun_of=make(1).id, seed=7)
    for current in (github, hooked):
        tell(current, [make(1, 0.5)], endpoint)
        before = len(endpoint.got)
        tell(current, [make(1, 0.5), again], endpoint)
        assert len(endpoint.got) == before
        tell(current, [make(1, 0.5), again, make(3)], endpoint)
        assert len(endpoint.got) == before + 1


def test_a_job_cannot_mention_anybody(hooked: Settings, endpoint: Endpoint) -> None:
    tell(hooked, [make(1, detail=WORST)], endpoint)
    assert "<" not in endpoint.messages[0]["text"]
    assert "@all" not in endpoint.messages[0]["text"]


def test_a_new_channel_gets_only_the_newest_run(github: Settings, endpoint: Endpoint) -> None:
    tell(github, [make(number) for number in range(100)], endpoint)
    assert len(endpoint.got) == 1


def test_failed_notifications_are_sent_later_up_to_a_limit(
    hooked: Settings, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    runs = [make(number) for number in range(50)]
    endpoint.code = 500
    for number in (1, 2, 50):
        tell(hooked, runs[:number], endpoint)
    assert [record.getMessage() for record in caplog.records] == [
        "webhook: it answered 500: check ds_webhook_url; the next tick tries again"
    ] * 3
    assert len(endpoint.got) == 3  # one attempt each
    endpoint.code = 200
    endpoint.got.clear()
    tell(hooked, runs, endpoint)
    tell(hooked, runs, endpoint)
    assert [message["run"] for message in endpoint.messages] == [run.id for run in runs[-20:]]


def test_a_commit_unknown_to_github_does_not_block_others(
    github: Settings, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.code = 422
    tell(github, [make(1)], endpoint)
    tell(github, [make(1), make(2)], endpoint)
    assert len(endpoint.got) == 2
    assert len(caplog.records) == 2


@pytest.mark.parametrize("code", [301, 401, 404, 503])
def test_refusals_are_reported_in_one_line_without_secrets(
    github: Settings, endpoint: Endpoint, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    endpoint.code = code
    tell(github, [make(1)], endpoint)
    assert len(endpoint.got) == 1  # a redirect is not followed
    assert len(caplog.records) == 1
    assert f"GitHub answered {code}" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_silent_or_absent_server_is_reported_in_one_line(
    hooked: Settings, endpoint: Endpoint, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/s3cret"
        tell(replace(hooked, notices=replace(hooked.notices, webhook_url=address)), [make(1)], endpoint)
    tell(replace(hooked, notices=replace(hooked.notices, webhook_url=address)), [make(1)], endpoint)
    tell(replace(hooked, notices=replace(hooked.notices, webhook_url="http://s3cret.invalid/x")), [make(1)], endpoint)
    assert len(caplog.records) == 3
    assert "webhook: no answer within 0.2 s;" in caplog.text
    assert "webhook: no answer (Connection refused);" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_crash_before_the_ledger_is_written_sends_again(
    hooked: Settings, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(hooked, [make(1)], endpoint)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_atomically", full)
        tell(hooked, [make(1), make(2)], endpoint)
    tell(hooked, [make(1), make(2)], endpoint)
    tell(hooked, [make(1), make(2)], endpoint)
    assert [message["run"] for message in endpoint.messages] == [make(1).id, make(2).id, make(2).id]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 9}', '{"version": 1, "channels": 3}'])
def test_a_damaged_ledger_counts_as_missing(hooked: Settings, endpoint: Endpoint, content: str) -> None:
    (hooked.places.cache / "told.json").write_text(content)
    tell(hooked, [make(1), make(2)], endpoint)
    tell(hooked, [make(1), make(2)], endpoint)
    assert [message["run"] for message in endpoint.messages] == [make(2).id]


def test_runs_of_one_second_are_sent_in_the_order_of_the_history(hooked: Settings, endpoint: Endpoint) -> None:
    tell(hooked, [make(0, 0.5)], endpoint)
    bad, good = replace(make(1), id="20260102-030401-f"), replace(make(2, 0.2), id="20260102-030401-a")
    good = replace(good, started_at=bad.started_at)
    tell(hooked, [make(0, 0.5), good, bad], endpoint)
    assert [message["run"] for message in endpoint.messages] == [bad.id, good.id]


def test_a_run_under_a_future_clock_is_sent_in_its_turn(hooked: Settings, endpoint: Endpoint) -> None:
    """The webhook calls the first good run after a failed one a recovery: the order of sending counts."""
    tell(hooked, [make(0, 0.5)], endpoint)
    ahead = replace(make(1), id="20990101-000000-ffffffffffff", started_at="2099-01-01T00:00:00Z")
    good, bad = replace(make(2, 0.2), id=f"{make(2).id}-2"), replace(make(3), id=f"{make(3).id}-2")
    tell(hooked, [make(0, 0.5), ahead, good, bad], endpoint)
    assert [message["run"] for message in endpoint.messages] == [ahead.id, good.id, bad.id]


def test_an_unreadable_run_does_not_block_others(hooked: Settings, endpoint: Endpoint) -> None:
    def read(name: str) -> Run:
        if name == make(1).id:
            raise Trouble("broken")
        return make(2)

    channels.tell(hooked.repository, hooked.notices, hooked.places.cache, [make(1).id], read)
    channels.tell(hooked.repository, hooked.notices, hooked.places.cache, [make(1).id, make(2).id], read)
    assert [message["run"] for message in endpoint.messages] == [make(2).id]


def test_ticks_notify_of_failure_and_recovery(tracked: Repository, hooked: Settings, endpoint: Endpoint) -> None:
    tick(hooked)
    tracked.merge("broken", {"wer": "exit 3\n"})
    tracked.merge("mended", {"wer": "wer=0.1\n"})
    tick(hooked)
    tick(hooked)
    assert [message["status"] for message in endpoint.messages] == ["failed", "done"]
    assert [message["run"] for message in endpoint.messages] == [
        run.id for run in sorted(archive.load(settings.load().places.runs), key=lambda run: run.merge.ordinal)[1:]
    ]


def test_the_next_tick_sends_what_could_not_be_sent(tracked: Repository, hooked: Settings, endpoint: Endpoint) -> None:
    tracked.commit("broken", {"wer": "exit 3\n"})
    endpoint.code = 500
    said = tick(hooked)
    assert "the next tick tries again" in said
    assert "s3cret" not in said
    endpoint.code = 200
    assert tick(hooked) == ""
    assert tick(hooked) == ""
    assert len(endpoint.got) == 2


@pytest.mark.usefixtures("tracked")
def test_an_idle_tick_stays_light(hooked: Settings) -> None:
    tick(hooked)
    code = (
        "import sys; from deepspeech_wer import cli; code = cli.main([]); "
        "print(code, 'deepspeech_wer.notify' in sys.modules, 'requests' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0 True False\n"
