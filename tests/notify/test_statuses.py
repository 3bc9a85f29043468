"""Commit statuses on GitHub and GitLab, to a real HTTP server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer.notify import github as github_statuses
from deepspeech_wer.notify import gitlab as gitlab_statuses
from deepspeech_wer.notify import ledger
from tests.notify.conftest import TOKEN
from tests.notify.receiver import Receiver
from tests.notify.tellings import Book, make

WORST = "<!channel> @all " + "é\N{GRINNING FACE}\n\x1b[31m\x9b\u202e" * 200


def said(receiver: Receiver) -> list[tuple[str, str]]:
    """Return (state, description) of each status so far, and forget them."""
    return [(message["state"], message["description"]) for message in receiver.taken()]


def test_a_status_on_the_commit_of_every_run(github: Book, receiver: Receiver) -> None:
    good = github.add(make(1, 0.1234), "too few runs")
    github.tell()
    bad = github.add(make(2), "failed")
    github.tell()
    expected = [
        (good, "success", "too few runs: test WER 12.34 %"),
        (bad, "failure", "failed: exit 3: no such layer"),
    ]
    for posted, (run, state, text) in zip(receiver.got, expected, strict=True):
        assert posted.path == f"/repos/mozilla/DeepSpeech/statuses/{run.merge.sha}"
        assert posted.headers["authorization"] == f"Bearer {TOKEN}"
        assert posted.message == {
            "state": state,
            "context": "deepspeech_wer",
            "description": text,
            "target_url": f"https://wer.example.com/deep/#/run/{run.id}",
        }


def test_the_status_is_pending_once_and_then_the_verdict(github: Book, receiver: Receiver) -> None:
    run = make(1, 0.122)
    for _ in range(3):  # as after a tick that was killed
        github.begin(run)
    assert said(receiver) == [("pending", "training")]
    github.add(run, "too few runs")
    github.tell()
    github.tell()
    assert said(receiver) == [("success", "too few runs: test WER 12.20 %")]


def test_a_status_follows_the_verdict(github: Book, receiver: Receiver) -> None:
    github.add(make(1, 0.122), "too few runs")
    bad = make(2, 0.409, dropout_rate=0.3)
    github.begin(bad)
    github.tell()
    receiver.got.clear()
    github.add(bad, "suspect", 28.7)
    github.event(bad, "suspect")
    github.retraining = {"sha": bad.merge.sha}
    github.tell()
    github.add(make(3, 0.4)._replace(rerun_of=bad.id, seed=7))  # the result of a re-training is not that of its merge
    github.tell()
    assert said(receiver) == [("pending", "suspect: +28.7 pp (95 %: 24 to 33); training it again to be sure")]
    github.retraining = None
    github.worse(bad)
    github.tell()
    assert said(receiver) == [("failure", "worse: +28.7 pp (95 %: 24 to 33), dropout_rate 0.05 -> 0.3")]
    fix = github.add(make(4, 0.12), "recovered", -28.9)
    github.event(bad, "recovered", fix)
    github.tell()
    assert said(receiver) == [("success", "recovered: -28.9 pp (95 %: -33 to -24), test WER 12.00 %")]
    decision = {"who": "ada", "why": "new corpus", "at": "2026-01-01T00:00:00Z"}
    github.event(bad, "accepted", accepted=decision)
    github.tell()
    github.tell()
    assert said(receiver) == [("success", "accepted: +28.7 pp is the new level, says ada: new corpus")]


@pytest.mark.parametrize(
    ("verdict", "effect", "state", "text"),
    [
        ("unchanged", 0.0, "success", "unchanged: test WER 12.00 %, as before to the digit"),
        ("no change seen", 0.12, "success", "no change seen: +0.12 pp (95 %: -4.4 to 4.6), test WER 12.00 %"),
        ("better", -1.26, "success", "better: -1.3 pp (95 %: -5.8 to 3.2), dropout_rate 0.05 -> 0.3"),
        ("cannot tell", 1.0, "success", "cannot tell: +1.0 pp (95 %: -3.5 to 5.5), test WER 12.00 %"),
        ("not comparable", None, "success", "not comparable: test WER 12.00 %"),
        ("suspect", 2.0, "success", "suspect: +2.0 pp (95 %: -2.5 to 6.5), test WER 12.00 %"),
    ],
)
def test_what_a_status_says_of_a_verdict(
    github: Book, receiver: Receiver, verdict: str, effect: float | None, state: str, text: str
) -> None:
    github.add(make(1, 0.2), "too few runs")
    github.add(make(2, 0.12, dropout_rate=0.3), verdict, effect)
    github.tell()
    assert said(receiver) == [(state, text)]


def test_a_run_that_is_not_judged_is_told_all_the_same(github: Book, receiver: Receiver) -> None:
    run = github.add(make(1, 0.1234))
    github.tell()
    github.add(make(2))
    github.tell()
    assert said(receiver) == [("success", "test WER 12.34 %"), ("failure", "failed: exit 3: no such layer")]
    github.verdicts.append({"sha": run.merge.sha, "run": run.id, "verdict": "unchanged", "effect_pp": None})
    github.tell()
    assert said(receiver) == [("success", "unchanged: test WER 12.34 %, as before to the digit")]


def test_a_run_under_other_variables_is_no_news_of_its_merge(github: Book, receiver: Receiver) -> None:
    run = github.add(make(1, 0.12), "no change seen", 0.1)
    github.tell()
    anchor = make(2, 0.4)._replace(merge=run.merge, rerun_of=run.id)
    github.add(anchor, "not comparable")
    github.tell()
    assert len(said(receiver)) == 1


@pytest.mark.parametrize("channel", ["github", "gitlab"])
def test_a_status_is_one_plain_line_within_the_limit(
    channel: str, receiver: Receiver, request: pytest.FixtureRequest
) -> None:
    book: Book = request.getfixturevalue(channel)
    book.add(make(1, detail=WORST), "failed")
    book.tell()
    description = receiver.messages[0]["description"]
    assert len(description) == {"github": 140, "gitlab": 255}[channel]
    assert description.startswith("failed: exit 3: <!channel> @all é")
    assert description.isprintable()
    assert max(description) < "\U00010000" or channel == "gitlab"


def test_netrc_does_not_replace_the_token(github: Book, receiver: Receiver, sealed: Path) -> None:
    (sealed / ".netrc").write_text("machine 127.0.0.1 login ada password other\n")
    (sealed / ".netrc").chmod(0o600)
    github.add(make(1, 0.5))
    github.tell()
    assert receiver.got[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("page", "address"),
    [
        ("https://github.com/mozilla/DeepSpeech", "https://api.github.com/repos/mozilla/DeepSpeech/statuses"),
        ("https://github.example.com/speech/wer", "https://github.example.com/api/v3/repos/speech/wer/statuses"),
        ("https://gitlab.com/speech/wer", None),
        (None, None),
    ],
)
def test_githubs_address_follows_from_the_page(page: str | None, address: str | None) -> None:
    assert github_statuses.statuses_address(page) == address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://gitlab.com/speech/wer.git", "https://gitlab.com/api/v4/projects/speech%2Fwer/statuses"),
        ("git@git.example.com:a/b/wer.git", "https://git.example.com/api/v4/projects/a%2Fb%2Fwer/statuses"),
        ("ssh://git@git.example.com:2222/a/wer.git", "https://git.example.com/api/v4/projects/a%2Fwer/statuses"),
        (
            "https://u:p%40ss@git.example.com:8443/a/wer",
            "https://git.example.com:8443/api/v4/projects/a%2Fwer/statuses",
        ),
        ("http://127.0.0.1:8080/a/wer/", "http://127.0.0.1:8080/api/v4/projects/a%2Fwer/statuses"),
        ("https://github.com/mozilla/DeepSpeech.git", None),
        ("/srv/git/wer.git", None),
        ("./wer", None),
        ("file:///srv/git/wer.git", None),
    ],
)
def test_gitlabs_address_follows_from_the_repository(url: str, address: str | None) -> None:
    assert gitlab_statuses.statuses_address(url) == address


def test_gitlab_gets_its_own_words_for_the_states(gitlab: Book, receiver: Receiver) -> None:
    bad = make(2, 0.4)
    gitlab.add(make(1, 0.122), "too few runs")
    gitlab.tell()
    gitlab.begin(bad)
    gitlab.add(bad, "suspect", 28.7)
    gitlab.retraining = {"sha": bad.merge.sha}
    gitlab.tell()
    gitlab.worse(bad)
    gitlab.tell()
    assert [message["state"] for message in receiver.messages] == ["success", "pending", "running", "failed"]
    posted = receiver.got[-1]
    assert posted.path == f"/api/v4/projects/speech%2Fsub%2Fwer/statuses/{bad.merge.sha}"
    assert posted.headers["private-token"] == TOKEN
    assert posted.message["name"] == "deepspeech_wer"
    assert posted.message["description"] == "worse: +28.7 pp (95 %: 24 to 33)"


def test_gitlab_has_a_status_already_where_it_was_set_before_a_crash(
    gitlab: Book, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.code = 400
    receiver.text = '{"message":"Cannot transition status via :enqueue from :pending"}'
    gitlab.begin(make(1, 0.1))
    gitlab.begin(make(1, 0.1))
    assert len(receiver.got) == 1
    assert [record.levelname for record in caplog.records if record.levelname != "INFO"] == []


@pytest.mark.parametrize(
    ("channel", "code", "text"), [("github", 422, ""), ("gitlab", 400, "?"), ("gitlab", 404, "404 Commit Not Found")]
)
def test_a_commit_that_is_unknown_there_does_not_block_others(
    channel: str, code: int, text: str, receiver: Receiver, request: pytest.FixtureRequest, caplog: Any
) -> None:
    book: Book = request.getfixturevalue(channel)
    receiver.code, receiver.text = code, text
    for number in (1, 2):
        book.add(make(number), "failed")
        book.tell()
    assert len(receiver.got) == 2
    assert len(caplog.records) == 2


@pytest.mark.parametrize("channel", ["github", "gitlab"])
@pytest.mark.parametrize("code", [301, 401, 404, 500, 503])
def test_refusals_are_reported_in_one_line_without_secrets(
    channel: str, code: int, receiver: Receiver, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    book: Book = request.getfixturevalue(channel)
    receiver.code, receiver.text = code, "s3cret"
    book.add(make(1), "failed")
    book.tell()
    assert len(receiver.got) == 1  # a redirect is not followed
    assert len(caplog.records) == 1
    assert f"answered {code}" in caplog.text
    assert "s3cret" not in caplog.text
    receiver.code = 201
    book.tell()
    assert said(receiver)[-1] == ("failure" if channel == "github" else "failed", "failed: exit 3: no such layer")


@pytest.mark.parametrize("code", [403, 429])
def test_a_receiver_that_asks_to_wait_is_left_alone_so_long(
    github: Book, receiver: Receiver, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.code, receiver.headers = code, {"Retry-After": "7200"}
    github.add(make(1), "failed")
    github.tell()
    start = ledger.now()
    receiver.code, receiver.headers = 201, {}
    for later, count in ((0, 1), (3600, 1), (7100, 1), (7300, 2)):
        monkeypatch.setattr(ledger, "now", lambda later=later: start + later)
        github.tell(is_idle=True)
        assert len(receiver.got) == count


def test_a_new_channel_gets_only_the_newest_run(github: Book, receiver: Receiver) -> None:
    for number in range(100):
        github.add(make(number), "failed")
    github.tell()
    assert [posted.path[-40:] for posted in receiver.got] == [make(99).merge.sha]


def test_after_an_outage_each_commit_gets_its_verdict_of_now(github: Book, receiver: Receiver) -> None:
    github.add(make(0, 0.1), "too few runs")
    github.tell()
    receiver.got.clear()
    receiver.codes = [500]
    runs = [github.add(make(number, 0.1), "suspect", 1.0) for number in range(1, 31)]
    github.tell()
    for run in runs:
        github.judge(run, "no change seen", 0.1)
    receiver.got.clear()
    github.tell()
    assert len(receiver.got) == 20  # at most, in one tick
    github.tell(is_idle=True)
    github.tell(is_idle=True)
    assert [posted.path[-40:] for posted in receiver.got] == [run.merge.sha for run in runs]
    assert {message["description"][:14] for message in receiver.messages} == {"no change seen"}


def test_a_long_history_is_not_remembered_for_ever(github: Book, receiver: Receiver) -> None:
    for number in range(3000):
        github.add(make(number, 0.1), "no change seen", 0.1)
    github.tell()
    assert len(receiver.got) == 1
    assert (github.settings.places.cache / "told.json").stat().st_size < 100_000
    github.add(make(3001, 0.1), "no change seen", 0.1)
    github.tell()
    assert len(receiver.got) == 2
