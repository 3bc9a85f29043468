"""Claims of work directories, and what is made of Slurm's answers. The real Slurm is in test_slurm.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from deepspeech_wer.errors import Trouble
from deepspeech_wer.jobs import claim, slurm, slurm_client
from deepspeech_wer.jobs import outcome as outcomes
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.claim import Claim
from deepspeech_wer.jobs.slurm import Slurm, Ticket
from deepspeech_wer.jobs.slurm_client import CannotAskSlurm, Seen
from deepspeech_wer.jobs.work import Job, Work
from deepspeech_wer.records import Outcome

SEEN = Seen("7", "deepspeech_wer-20260102-030405-c0ffeec0ffee", "RUNNING", "2026-01-02T03:04:06", node="n1")


@pytest.fixture
def work(tmp_path: Path) -> Work:
    made = Work(tmp_path / "work" / "20260102-030405-c0ffeec0ffee")
    made.logs.mkdir(parents=True)
    ticket = Ticket(SEEN.name, "2026-01-02T03:04:05Z", "7", SEEN.submitted)
    works.write(made.path / "ticket.json", ticket._asdict())
    return made


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Slurm:
    monkeypatch.setattr(slurm_client, "recorded", lambda _: [])
    monkeypatch.setattr(slurm, "_FRESH_S", -1.0)
    return Slurm()


def answers(monkeypatch: pytest.MonkeyPatch, *jobs: Seen) -> None:
    monkeypatch.setattr(slurm_client, "jobs", lambda: list(jobs))


def ended(work: Work, failure: str | None) -> Outcome:
    status = "failed" if failure else "done"
    outcome = Outcome(status, failure, "", 1, "2026-01-02T03:04:05Z", "2026-01-02T03:04:09Z", None, work.path)
    outcomes.write(work, outcome)
    return outcome


def test_a_work_directory_has_one_job_alone(work: Work) -> None:
    assert claim.take(work, Claim("7"))
    assert claim.take(work, Claim("7"))
    assert not claim.take(work, Claim("8"))
    assert claim.take(work, Claim("7", 1))
    assert not claim.take(work, Claim("7", 0))  # the node that was believed to be down
    claim.give_up(work)
    assert not claim.take(work, Claim("7", 2))


def test_a_claim_that_cannot_be_read_is_nobodys(work: Work) -> None:
    (work.path / "claim.json").write_text("{")
    assert not claim.take(work, Claim("7"))


@pytest.mark.parametrize(
    ("state", "failure", "was_started", "expected"),
    [
        ("TIMEOUT", None, True, "timeout"),
        ("TIMEOUT", "interrupted", True, "timeout"),
        ("TIMEOUT", None, False, "machine"),
        ("DEADLINE", "interrupted", True, "timeout"),
        ("DEADLINE", None, False, "machine"),
        ("OUT_OF_MEMORY", None, False, "machine"),
        ("OUT_OF_MEMORY", None, True, "out-of-memory"),
        ("OUT_OF_MEMORY", "signal 9", True, "out-of-memory"),
        ("OUT_OF_MEMORY", "exit 137", True, "out-of-memory"),
        ("OUT_OF_MEMORY", "exit 1", True, None),
        ("NODE_FAIL", None, True, None),
        ("BOOT_FAIL", None, False, None),
        ("PREEMPTED", None, True, "interrupted"),
        ("PREEMPTED", "interrupted", True, "interrupted"),
        ("CANCELLED", None, False, "cancelled"),
        ("CANCELLED", "interrupted", True, "cancelled"),
        ("FAILED", None, True, None),
        ("FAILED", None, False, "machine"),
        ("FAILED", "exit 1", True, None),
        ("COMPLETED", "no-hyper", True, None),
    ],
)
def test_states_of_slurm_become_classes(
    monkeypatch: pytest.MonkeyPatch,
    work: Work,
    runner: Slurm,
    state: str,
    failure: str | None,
    was_started: bool,
    expected: str | None,
) -> None:
    answers(monkeypatch, SEEN._replace(state=state))
    if was_started:
        works.write_job(work, Job())
    outcome = ended(work, failure) if failure else None
    assert not runner.is_alive(work)
    verdict = runner.verdict(work, outcome)
    assert (verdict.failure if verdict else None) == expected


@pytest.mark.parametrize(
    "state", ["PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "COMPLETING", "REQUEUED", "STAGE_OUT"]
)
def test_a_job_is_alive_until_slurm_says_that_it_has_ended(
    monkeypatch: pytest.MonkeyPatch, work: Work, runner: Slurm, state: str
) -> None:
    answers(monkeypatch, SEEN._replace(state=state))
    ended(work, "interrupted")  # requeued
    assert runner.is_alive(work)
    ended(work, None)  # it wrote its outcome, and is not to run again
    assert not runner.is_alive(work)


def test_a_job_that_slurm_could_not_launch_is_the_machines_trouble(
    monkeypatch: pytest.MonkeyPatch, work: Work, runner: Slurm
) -> None:
    answers(monkeypatch, SEEN._replace(state="PENDING", node="", reason="launch failed requeued held"))
    assert not runner.is_alive(work)
    verdict = runner.verdict(work, None)
    assert verdict
    assert verdict.failure == "machine"
    assert "launch failed requeued held" in verdict.detail
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(slurm_client, "cancel", lambda *words: asked.append(words))
    runner.clear(work, None)
    assert asked == [("7", "--state=PENDING")]


def test_an_outcome_that_nfs_does_not_show_yet_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, work: Work, runner: Slurm
) -> None:
    answers(monkeypatch, SEEN._replace(state="COMPLETED"))
    assert runner.is_alive(work)
    monkeypatch.setattr(slurm, "_SHOWS_S", 0.0)
    assert not runner.is_alive(work)


@pytest.mark.parametrize(
    "other",
    [
        SEEN._replace(name="another job, with the id used again"),
        SEEN._replace(id="8"),
        SEEN._replace(submitted="2026-01-02T03:04:05"),
    ],
)
def test_a_job_of_another_name_id_or_earlier_time_is_not_ours(
    monkeypatch: pytest.MonkeyPatch, work: Work, runner: Slurm, other: Seen
) -> None:
    answers(monkeypatch, other)
    assert not runner.is_alive(work)
    runner.ask_to_end(work)  # and is left alone


def test_a_requeued_job_is_ours_though_its_time_of_submission_is_later(
    monkeypatch: pytest.MonkeyPatch, work: Work, runner: Slurm
) -> None:
    answers(monkeypatch, SEEN._replace(submitted="2026-01-02T09:00:00", restarts=1))
    assert runner.is_alive(work)


def test_a_forgotten_job_is_judged_by_its_outcome_or_was_interrupted(
    monkeypatch: pytest.MonkeyPatch, work: Work, runner: Slurm
) -> None:
    works.write_job(work, Job())
    answers(monkeypatch)
    assert not runner.is_alive(work)
    assert runner.verdict(work, None) is None
    assert runner.verdict(work, ended(work, None)) is None
    monkeypatch.setattr(slurm_client, "recorded", lambda _: [SEEN._replace(state="TIMEOUT")])  # by the accounting
    verdict = runner.verdict(work, None)
    assert verdict
    assert verdict.failure == "timeout"


def test_no_answer_of_slurm_says_nothing_of_a_job(monkeypatch: pytest.MonkeyPatch, work: Work, runner: Slurm) -> None:
    def silent() -> Sequence[Seen]:
        raise CannotAskSlurm("cannot ask Slurm: connect failure")

    monkeypatch.setattr(slurm_client, "jobs", silent)
    with pytest.raises(CannotAskSlurm):
        runner.is_alive(work)
    where = runner.whereabouts(work)
    assert where
    assert (where.job, where.state) == ("7", "unknown")


def test_a_job_whose_id_the_tick_never_learned_is_found_by_its_claim(
    monkeypatch: pytest.MonkeyPatch, work: Work, runner: Slurm
) -> None:
    works.write(work.path / "ticket.json", Ticket(SEEN.name, "2026-01-02T03:04:05Z")._asdict())
    claim.take(work, Claim("7"))
    works.write_job(work, Job())
    monkeypatch.setattr(slurm_client, "recorded", lambda job: [SEEN._replace(state="TIMEOUT")] if job == "7" else [])
    answers(monkeypatch)
    verdict = runner.verdict(work, None)
    assert verdict
    assert verdict.failure == "timeout"


def test_slurms_clients_that_are_missing_are_told_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Trouble, match=r"squeue: not found: install Slurm's clients here, or set ds_runner=local"):
        slurm_client.jobs()
