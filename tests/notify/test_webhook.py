"""Messages to a webhook: one for each change of state, signed, harmless."""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer.configuration.settings import PublishedLogs
from tests.notify.receiver import Posted, Receiver
from tests.notify.tellings import Book, make

BAD = make(2, 0.409, dropout_rate=0.3)


def texts(receiver: Receiver) -> list[str]:
    """Return the texts so far without the name of the repository, and forget the messages."""
    return [message["text"].partition(": ")[2] for message in receiver.taken()]


def test_a_regression_is_told_once_and_so_is_its_end(hooked: Book, receiver: Receiver) -> None:
    hooked.with_notices(website_url="https://wer.example.com/deep")
    hooked.add(make(1, 0.122), "too few runs")
    hooked.tell()
    hooked.add(BAD, "suspect", 28.7)
    hooked.event(BAD, "suspect")
    hooked.tell()
    assert receiver.got == []  # a suspect is silent
    hooked.worse(BAD)
    for _ in range(3):
        hooked.tell()
    (message,) = receiver.taken()
    sha, link = BAD.merge.sha, f"https://wer.example.com/deep/#/run/{BAD.id}"
    text = (
        "mozilla/DeepSpeech: worse: +28.7 pp (95 %: 24 to 33), dropout_rate 0.05 -> 0.3: "
        f'{sha[:12]} "bring in ‹b›" by Ada {link}'
    )
    assert message == {
        "text": text,
        "content": text,
        "id": message["id"],
        "state": "open",
        "verdict": "worse",
        "event": sha[:12],
        "effect_pp": 28.7,
        "interval_pp": [24.2, 33.2],
        "culprits": [sha],
        "parameters": ["dropout_rate 0.05 -> 0.3"],
        "retrained": 2,
        "run": BAD.id,
        "sha": sha,
        "author": "Ada",
        "status": "done",
        "failure": None,
        "test_wer": 0.409,
        "url": link,
    }
    fix = hooked.add(make(3, 0.121), "recovered", -28.8)
    hooked.event(BAD, "recovered", fix)
    for _ in range(3):
        hooked.tell()
    (message,) = receiver.taken()
    assert f"recovered: -28.8 pp (95 %: -33 to -24), the level before {sha[:12]} is back: " in message["text"]
    assert (message["state"], message["verdict"], message["sha"]) == ("recovered", "recovered", fix.merge.sha)
    assert (message["event"], message["culprits"], message["effect_pp"]) == (sha[:12], [sha], -28.8)


def test_a_fix_that_ends_two_events_is_one_message_that_names_both(hooked: Book, receiver: Receiver) -> None:
    hooked.add(make(1, 0.122), "too few runs")
    hooked.tell()
    earlier, middle = make(2, 0.3), make(4, 0.409)
    for bad in (earlier, middle):
        hooked.add(bad, "worse", 10.0)
        hooked.event(bad, "open")
    hooked.tell()
    receiver.got.clear()
    fix = hooked.add(make(5, 0.121), "recovered", -28.8)
    for bad in (earlier, middle):
        hooked.event(bad, "recovered", fix)
    receiver.code = 500
    hooked.tell()
    receiver.code = 200
    receiver.got.clear()
    for _ in range(3):
        hooked.tell()
    (message,) = receiver.taken()
    names = [bad.merge.sha[:12] for bad in (earlier, middle)]
    assert f", the levels before {names[0]} and {names[1]} are back: " in message["text"]
    assert message["culprits"] == [earlier.merge.sha, middle.merge.sha]
    assert message["event"] == names[0]


def test_an_event_that_came_and_went_while_the_receiver_was_away_is_told_as_it_is_now(
    hooked: Book, receiver: Receiver
) -> None:
    hooked.add(make(1, 0.122), "too few runs")
    hooked.tell()
    receiver.code = 500
    hooked.add(BAD, "worse", 28.7)
    hooked.event(BAD, "open")
    hooked.tell()
    receiver.code = 200
    receiver.got.clear()
    fix = hooked.add(make(3, 0.121), "recovered", -28.8)
    hooked.event(BAD, "recovered", fix)
    hooked.tell()
    hooked.tell()
    (text,) = texts(receiver)
    assert text.startswith("recovered: ")


def test_an_accepted_event_is_told_to_those_who_heard_of_it(hooked: Book, receiver: Receiver) -> None:
    hooked.add(make(1, 0.122), "too few runs")
    hooked.tell()
    hooked.add(BAD, "worse", 28.7)
    accepted = {"who": "ada", "why": "new @corpus\x9b", "at": "2026-01-01T00:00:00Z"}
    hooked.event(BAD, "accepted", accepted=accepted)  # before anybody was alarmed
    hooked.tell()
    assert texts(receiver) == []
    hooked.event(BAD, "open")
    hooked.tell()
    hooked.event(BAD, "accepted", accepted=accepted)
    hooked.tell()
    worse, text = texts(receiver)
    assert worse.startswith("worse: ")
    assert text.startswith("accepted: +28.7 pp is the new level, says ada: new \N{FULLWIDTH COMMERCIAL AT}corpus")


@pytest.mark.parametrize("wanted", [False, True])
def test_what_is_told_only_if_it_is_wanted(hooked: Book, receiver: Receiver, wanted: bool) -> None:
    hooked.with_notices(tell_better=wanted, tell_suspect=wanted)
    hooked.add(make(1, 0.122), "too few runs")
    hooked.tell()
    hooked.add(BAD, "suspect", 2.0)
    hooked.event(BAD, "suspect")
    hooked.tell()
    hooked.judge(BAD, "no change seen", 0.4)
    hooked.event(BAD, "dismissed")
    hooked.tell()
    hooked.add(make(3, 0.1), "better", -2.0)
    hooked.tell()
    hooked.with_notices(tell_better=True, tell_suspect=True)  # what was kept silent is not told later
    hooked.tell()
    states = [message["state"] for message in receiver.messages]
    assert states == (["suspect", "dismissed", "better"] if wanted else [])


def test_each_failure_and_one_recovery(hooked: Book, receiver: Receiver) -> None:
    runs = [make(1, 0.5), make(2), make(3), make(4, 0.25), make(5, 0.2)]
    for run in runs:
        hooked.add(run)
        hooked.tell()
        hooked.tell()
    messages = receiver.taken()
    assert [message["run"] for message in messages] == [runs[1].id, runs[2].id, runs[3].id]
    assert [message["state"] for message in messages] == ["failed", "failed", "working again"]
    title = f'{runs[1].merge.sha[:12]} "bring in ‹b›" by Ada'
    assert messages[0]["text"] == f"mozilla/DeepSpeech: failed: exit 3: no such layer: {title}"
    kept = {name: messages[0][name] for name in ("run", "sha", "status", "failure", "test_wer")}
    sha = runs[1].merge.sha
    assert kept == {"run": runs[1].id, "sha": sha, "status": "failed", "failure": "exit 3", "test_wer": None}
    assert "working again: test WER 25.00 %: " in messages[2]["text"]
    assert messages[2]["test_wer"] == 0.25


@pytest.mark.parametrize("wer", [0.4, None])
def test_a_re_training_is_no_news_of_its_merge(hooked: Book, receiver: Receiver, wer: float | None) -> None:
    hooked.add(make(1, 0.5))
    hooked.tell()
    hooked.add(make(2, wer)._replace(rerun_of=make(1).id, seed=7))
    hooked.tell()
    assert receiver.got == []
    hooked.add(make(3))
    hooked.tell()
    assert len(receiver.got) == 1


def test_failures_during_an_outage_become_one_message(hooked: Book, receiver: Receiver) -> None:
    hooked.add(make(0, 0.5))
    hooked.tell()
    receiver.code = 500
    for number in range(1, 8):
        hooked.add(make(number))
    hooked.tell()
    receiver.code = 200
    receiver.got.clear()
    hooked.tell()
    hooked.tell()
    (text,) = texts(receiver)
    assert text.startswith("failed: exit 3: no such layer (6 more failed before it): ")
    for number in (8, 9):
        hooked.add(make(number))
    hooked.add(make(10, 0.4))
    hooked.tell()
    (text,) = texts(receiver)
    failed = f"{make(8).merge.sha[:12]}, {make(9).merge.sha[:12]}"
    assert text.startswith(f"working again after {failed} failed: test WER 40.00 %: ")


def test_a_new_receiver_hears_how_things_are_and_no_history(hooked: Book, receiver: Receiver) -> None:
    for number in range(1, 60):
        hooked.add(make(number), "failed")
    old = [hooked.add(make(number, 0.4), "worse", 3.0) for number in range(60, 70)]
    for run in old[:-1]:
        hooked.event(run, "recovered", old[-1])
    hooked.event(old[-2], "open")
    hooked.event(old[-1], "open")
    hooked.add(make(99), "failed")
    hooked.tell()
    hooked.tell()
    assert [message["run"] for message in receiver.messages] == [make(99).id, old[-1].id]


def test_runs_of_one_second_are_told_in_the_order_of_the_history(hooked: Book, receiver: Receiver) -> None:
    hooked.add(make(0, 0.5))
    hooked.tell()
    good = make(2, 0.2)._replace(id="20260102-030001-a", started_at=make(1).started_at)
    bad = make(1)._replace(id="20260102-030001-f")
    for run in (good, bad):
        hooked.add(run)
    hooked.tell()
    assert texts(receiver)[0].startswith(f"working again after {bad.merge.sha[:12]} failed: ")


def test_an_unreadable_run_does_not_block_others(hooked: Book, receiver: Receiver) -> None:
    hooked.add(make(1))
    hooked.unreadable = {make(1).id}
    hooked.tell()
    hooked.add(make(2))
    hooked.tell()
    assert [message["run"] for message in receiver.messages] == [make(2).id]


def verified(secret: str, posted: Posted) -> bool:
    """Check a signature with the lines that docs/notifications.md gives to receivers."""
    text = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text("utf-8")
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(snippet, names)  # noqa: S102 - our own documentation
    return bool(names["is_genuine"](posted.headers, posted.body, secret))


@pytest.mark.parametrize("secret", ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "four words, one é"])
def test_messages_are_signed_as_standard_webhooks_says(
    hooked: Book, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("ds_webhook_secret", secret)
    from deepspeech_wer.configuration import settings

    hooked.settings = settings.load()
    hooked.add(make(1))
    hooked.tell()
    (posted,) = receiver.got
    assert posted.headers["webhook-id"] == posted.message["id"]
    assert verified(secret, posted)
    assert not verified(secret, replace(posted, body=posted.body.replace(b"exit 3", b"exit 4")))
    assert not verified(secret.replace("o", "p"), posted)


def test_the_signature_is_that_of_the_standards_example() -> None:
    """The example of https://github.com/standard-webhooks/standard-webhooks, as its libraries test it."""
    from deepspeech_wer.notify.webhook import signed_headers

    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', key)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_without_a_secret_a_message_has_an_id_and_no_signature(hooked: Book, receiver: Receiver) -> None:
    hooked.add(make(1))
    hooked.tell()
    assert "webhook-signature" not in receiver.got[0].headers
    assert receiver.got[0].headers["webhook-id"] == receiver.messages[0]["id"]


HOSTILE = "<!channel> @all ](http://x) \x07\x1b[31m\x9b2J\u202e\u2066\u200b\u2028\ud800\ufffe\n" * 40


@pytest.mark.parametrize("field", ["detail", "failure", "subject", "author", "parameter", "why"])
def test_no_text_of_others_does_harm_in_a_message(hooked: Book, receiver: Receiver, field: str) -> None:
    hooked.add(make(1, 0.122), "too few runs")
    hooked.tell()
    lost, bad = make(3), make(2, 0.4)
    if field in ("detail", "failure"):
        lost = lost._replace(**{field: HOSTILE})
    elif field in ("subject", "author"):
        lost = lost._replace(merge=lost.merge._replace(**{field: HOSTILE}))
        bad = bad._replace(merge=bad.merge._replace(**{field: HOSTILE}))
    elif field == "parameter":
        bad = make(2, 0.4, **{HOSTILE: HOSTILE})
    hooked.add(bad, "worse", 28.7)
    hooked.event(bad, "open")
    hooked.tell()
    hooked.event(bad, "accepted", accepted={"who": HOSTILE, "why": HOSTILE, "at": ""})
    hooked.add(lost)
    hooked.tell()
    assert [message["state"] for message in receiver.messages] == ["open", "failed", "accepted"]
    for posted in receiver.got:
        strings = re.findall(r'"((?:[^"\\]|\\.)*)"', json.dumps(posted.message, ensure_ascii=False))
        found = {unicodedata.category(one) for string in strings for one in string}
        assert not found & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
        text = posted.message["text"]
        assert "<" not in text
        assert "@all" not in text
        assert "](" not in text
        assert len(text) <= 1600


@pytest.mark.parametrize("mode", ["full", "trimmed", "none"])
def test_no_message_has_secrets_or_more_of_a_log_than_visitors_see(hooked: Book, receiver: Receiver, mode: str) -> None:
    logs = PublishedLogs(mode, ("tr0ub4dor and 3",))
    hooked.settings = hooked.settings._replace(logs=logs)
    text = "login as tr0ub4dor and 3 failed in /home/ada/x, ds_hub_token=abcdefgh"
    run = make(1, detail=text)._replace(failure="exit 1")
    hooked.add(run._replace(merge=run.merge._replace(subject="use tr0ub4dor and 3", author="tr0ub4dor and 3")))
    hooked.tell()
    body = receiver.got[0].body.decode()
    assert "tr0ub4dor" not in body
    assert "abcdefgh" not in body
    assert "/home/ada" not in body
    assert ("login as" in body) == (mode != "none")


def test_what_is_imported_is_history_and_no_news(
    hooked: Book, github: Book, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    for book in (hooked, github):
        book.with_notices(tell_better=True)
        book.add(make(100, 0.1), "too few runs")
        book.tell()
    receiver.got.clear()
    for book in (hooked, github):
        for number, wer in ((1, 0.1), (2, 0.4), (3, None), (4, 0.1)):
            old = book.add(make(number, wer)._replace(imported="/old/hyper.json"), "better")
            if number == 2:
                book.event(old, "open")
        book.tell()
    assert receiver.got == []
    assert "regression" not in caplog.text
    hooked.add(make(101))
    hooked.tell()
    assert [message["state"] for message in receiver.messages] == ["failed"]


def test_a_run_under_a_future_clock_is_told_in_its_turn(hooked: Book, receiver: Receiver) -> None:
    """The first good run after a failed one is told as such: the order of the runs counts, not their times."""
    hooked.add(make(0, 0.5))
    hooked.tell()
    hooked.add(make(1)._replace(id="20990101-000000-ffffffffffff", started_at="2099-01-01T00:00:00Z"))
    hooked.add(make(2, 0.2)._replace(id=f"{make(2).id}-2"))
    hooked.tell()
    assert texts(receiver)[0].startswith("working again after ")
