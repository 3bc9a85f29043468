"""What runs next: a table of situations, without git."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspeech_wer.backlog import (
    ASKED,
    BISECTED,
    CALIBRATED,
    FIRST,
    NEW,
    RERUN,
    RESUMED,
    RETRIED,
    Branch,
    Doubted,
    Due,
    Interrupted,
    Plan,
    State,
    may_resume,
    plan,
    queue,
)


def sha(number: int) -> str:
    return f"{number:040x}"[::-1]  # reversed, so that the first 12 digits differ


A, B, C, D, E = map(sha, range(1, 6))


def archived(*shas: str) -> set[str]:
    return {one[:12] for one in shas}


@pytest.mark.parametrize(
    ("what", "branch", "state", "expected"),
    [
        ("nothing new", Branch(A, A), State(archived(A)), Plan(None, 0, A)),
        ("the first run of all takes the tip", Branch(C, None), State(()), Plan(Due(C, FIRST, C), 1, None)),
        (
            "the first run was interrupted, and the branch has moved on",
            Branch(C, None),
            State((), [Interrupted(A, A)]),
            Plan(Due(A, FIRST, A), 1, None),
        ),
        (
            "the first run was interrupted, and the branch was rewritten",
            Branch(C, None),
            State((), [Interrupted(A, A, is_on_branch=False)]),
            Plan(Due(C, FIRST, C), 1, None),
        ),
        ("the tip was run by hand before the first run", Branch(C, None), State(archived(C)), Plan(None, 0, C)),
        ("the oldest first", Branch(C, A, [B, C]), State(archived(A)), Plan(Due(B, NEW, A), 2, A)),
        ("one is done", Branch(C, A, [B, C]), State(archived(A, B)), Plan(Due(C, NEW, B), 1, B)),
        ("done out of order: the base stays", Branch(C, A, [B, C]), State(archived(A, C)), Plan(Due(B, NEW, A), 1, A)),
        (
            "the newest first",
            Branch(E, A, [B, C, D, E]),
            State(archived(A), order="newest"),
            Plan(Due(E, NEW, A), 4, A),
        ),
        (
            "then the middle of the longest gap",
            Branch(E, A, [B, C, D, E]),
            State(archived(A, E), order="newest"),
            Plan(Due(C, NEW, A), 3, A),
        ),
        (
            "what is asked for comes before what is new, done or not",
            Branch(C, A, [B, C]),
            State(archived(A), asked=[A, C]),
            Plan(Due(A, ASKED, None), 2, A),
        ),
        (
            "an interrupted run that was requested by hand comes first",
            Branch(C, A, [B, C]),
            State(archived(A), [Interrupted(D, None)], asked=[B]),
            Plan(Due(D, RESUMED, None), 2, A),
        ),
        (
            "but not once it has left the branch",
            Branch(C, A, [B, C]),
            State(archived(A), [Interrupted(D, None, is_on_branch=False)]),
            Plan(Due(B, NEW, A), 2, A),
        ),
        (
            "nor before what the machine may be able to run",
            Branch(C, A, [B, C]),
            State(archived(A, D), [Interrupted(D, None, is_stuck=True)], retried=[D]),
            Plan(Due(B, NEW, A), 2, A),
        ),
        (
            "but after that",
            Branch(C, A, [B, C]),
            State(archived(A, B, C, D), [Interrupted(D, None, is_stuck=True)], retried=[D]),
            Plan(Due(D, RESUMED, None), 0, C),
        ),
        (
            "an interrupted new merge has no precedence",
            Branch(C, A, [B, C]),
            State(archived(A), [Interrupted(C, A)]),
            Plan(Due(B, NEW, A), 2, A),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_runs_next(what: str, branch: Branch, state: State, expected: Plan) -> None:
    assert what
    assert plan(branch, state) == expected


AGAIN = Due(A, RERUN, None, rerun_of="20260101-000000-aaaaaaaaaaaa", seed=7)


@pytest.mark.parametrize(
    ("what", "branch", "state", "expected"),
    [
        ("the next one", Branch(D, A, [B, C, D]), State(archived(A), running=archived(B)), Plan(Due(C, NEW, A), 2, A)),
        ("all run", Branch(C, A, [B, C]), State(archived(A), running=archived(B, C)), Plan(None, 0, A)),
        (
            "a later one has run: an earlier one that runs holds last_sha1",
            Branch(D, A, [B, C, D]),
            State(archived(A, C), running=archived(B)),
            Plan(Due(D, NEW, A), 1, A),
        ),
        ("the first one runs alone", Branch(C, None), State((), running=archived(C)), Plan(None, 0, None)),
        (
            "the first one runs, and the branch has moved on",
            Branch(C, None),
            State((), [Interrupted(A, A)], running=archived(A)),
            Plan(None, 0, None),
        ),
        (
            "the newest runs, then comes the middle of the gap",
            Branch(E, A, [B, C, D, E]),
            State(archived(A), running=archived(E), order="newest"),
            Plan(Due(C, NEW, A), 3, A),
        ),
        (
            "asked for by hand, and it runs",
            Branch(B, A, [B]),
            State(archived(A), [Interrupted(B, None)], asked=[B], retried=[B], running=archived(B)),
            Plan(None, 0, A),
        ),
        (
            "what is trained again does not run twice",
            Branch(A, A),
            State(archived(A), reruns=[Due(A, RERUN, None, seed=1)], running=archived(A)),
            Plan(None, 0, A),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_runs_beside_others(what: str, branch: Branch, state: State, expected: Plan) -> None:  # noqa: ARG001
    assert plan(branch, state) == expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State(archived(A, B), reruns=(AGAIN,)), AGAIN),
        (State(archived(A), reruns=(AGAIN,)), Due(B, NEW, A)),
        (State(archived(A), reruns=(AGAIN,), are_reruns_first=True), AGAIN),
        (State(archived(A), reruns=(AGAIN,), are_reruns_first=True, asked=(A,)), Due(A, ASKED, None)),
        (State(archived(A), reruns=(AGAIN,), are_reruns_first=True, is_stopped=True), None),
        (
            State(archived(A, B), interrupted=(Interrupted(A, None, rerun_of=AGAIN.rerun_of, seed=7),)),
            Due(A, RESUMED, None, rerun_of=AGAIN.rerun_of, seed=7),
        ),
    ],
)
def test_new_commits_come_before_re_trainings_unless_these_are_to_be_first(state: State, expected: Due | None) -> None:
    assert plan(Branch(B, A, (B,)), state).next == expected


DOUBT = (Doubted(A, E, 0.2),)
F, G, H = map(sha, range(6, 9))


@pytest.mark.parametrize(
    ("what", "branch", "state", "expected"),
    [
        ("the one that halves the chances", Branch(E, A, [B, C, D, E]), State(archived(A, E), doubted=DOUBT), C),
        ("not one that ran", Branch(E, A, [B, C, D, E]), State(archived(A, C, E), doubted=DOUBT), B),
        ("none is left", Branch(E, A, [B, C, D, E]), State(archived(A, B, C, D, E), doubted=DOUBT), None),
        (
            "not before what a person asks for",
            Branch(E, A, [B, C, D, E]),
            State(archived(A, E), asked=[B], doubted=DOUBT),
            B,
        ),
        (
            "not if the queue is stopped",
            Branch(E, A, [C, E]),
            State(archived(A, E), is_stopped=True, doubted=DOUBT),
            None,
        ),
        (
            "where the chance is, not in the longest gap",
            Branch(H, A, [B, C, D, E, F, G, H]),
            State(archived(A, F, H), order="newest", doubted=(Doubted(F, H, 0.5),)),
            G,
        ),
        (
            "of two stretches the likelier one",
            Branch(H, A, [B, C, D, E, F, G, H]),
            State(archived(A, D, H), doubted=(Doubted(A, D, 0.05), Doubted(D, H, 0.2))),
            F,
        ),
        (
            "the newest commit comes first",
            Branch(F, A, [B, C, D, E, F]),
            State(archived(A, E), order="newest", doubted=DOUBT),
            F,
        ),
        (
            "unless re-trainings come before it",
            Branch(F, A, [B, C, D, E, F]),
            State(archived(A, E), order="newest", doubted=DOUBT, are_reruns_first=True),
            C,
        ),
        (
            "before a re-training",
            Branch(E, A, [B, C, D, E]),
            State(archived(A, E), doubted=DOUBT, reruns=(AGAIN,)),
            C,
        ),
        (
            "a branch that was rewritten has no such stretch",
            Branch(E, A, [B, C, D, E]),
            State(archived(A, E), order="newest", doubted=(Doubted(A, H, 0.5),)),
            C,
        ),
        (
            "a stretch that begins before the base",
            Branch(E, B, [C, D, E]),
            State(archived(A, B, E), doubted=DOUBT),
            C,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_a_commit_that_never_ran_is_trained_where_the_culprit_may_be(
    what: str, branch: Branch, state: State, expected: str | None
) -> None:
    assert what
    due = plan(branch, state).next
    assert (due.sha if due else None) == expected


@given(st.integers(2, 200), st.data())
def test_a_stretch_is_bisected_in_as_many_runs_as_it_can_be_halved(merges: int, data: st.DataObject) -> None:
    new = [sha(number) for number in range(1, merges + 1)]
    guilty = data.draw(st.integers(0, merges - 1))
    done, after, before, runs = {new[-1]}, sha(0), new[-1], 0
    while due := plan(
        Branch(new[-1], sha(0), new), State(archived(*done), doubted=(Doubted(after, before, 1 / merges),))
    ).next:
        if due.why != BISECTED:
            break
        runs += 1
        done.add(due.sha)
        after, before = (after, due.sha) if new.index(due.sha) >= guilty else (due.sha, before)
    assert before == new[guilty]
    assert runs <= merges.bit_length()


SEED = Due(A, CALIBRATED, None, rerun_of="20260101-000000-aaaaaaaaaaaa", seed=8, calibrates=True)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State(archived(A, B), calibrations=(SEED,)), SEED),
        (State(archived(A), calibrations=(SEED,)), Due(B, NEW, A)),
        (State(archived(A, B), calibrations=(SEED,), reruns=(AGAIN,)), AGAIN),
        (State(archived(A, B), calibrations=(SEED,), retried=(B,)), Due(B, RETRIED, None)),
        (State(archived(A, B), calibrations=(SEED,), is_stopped=True), None),
    ],
)
def test_seeds_to_measure_the_noise_come_last(state: State, expected: Due | None) -> None:
    assert plan(Branch(B, A, (B,)), state).next == expected


def run_all(branch: Branch, done: set[str], order: str) -> Iterator[Due]:
    """Run everything that is due, one after another, and return the order."""
    while due := plan(branch, State(frozenset(one[:12] for one in done), order=order)).next:
        yield due
        done.add(due.sha)


@given(
    count=st.integers(1, 40),
    before=st.sets(st.integers(1, 40)),
    order=st.sampled_from(["all", "newest"]),
)
def test_each_merge_runs_once_and_last_sha1_reaches_the_tip(count: int, before: set[int], order: str) -> None:
    new = [sha(number) for number in range(1, count + 1)]
    done = {sha(0), *(sha(number) for number in before)}
    due = [one for one in new if one not in done]
    branch = Branch(new[-1], sha(0), new)
    ran = list(run_all(branch, done, order))
    assert sorted(one.sha for one in ran) == sorted(due)
    assert plan(branch, State(archived(*done), order=order)) == Plan(None, 0, new[-1])
    if order == "all":
        assert [one.sha for one in ran] == due


@pytest.mark.parametrize(("done", "is_on_branch", "may"), [((), True, True), ((A,), True, False), ((), False, False)])
def test_a_checkpoint_is_kept_while_its_commit_may_still_run(
    done: tuple[str, ...], is_on_branch: bool, may: bool
) -> None:
    assert may_resume(State(archived(*done)), A, is_on_branch=is_on_branch) == may


@pytest.mark.parametrize(
    ("what", "branch", "state", "expected"),
    [
        ("nothing", Branch(A, A), State(archived(A)), []),
        ("the first run", Branch(C, None), State(()), [(C, FIRST)]),
        ("new merges, oldest first", Branch(C, A, [B, C]), State(archived(A)), [(B, NEW), (C, NEW)]),
        ("newest first", Branch(D, A, [B, C, D]), State(archived(A), order="newest"), [(D, NEW), (C, NEW), (B, NEW)]),
        ("stopped", Branch(C, A, [B, C]), State(archived(A), retried=[A], is_stopped=True), [(A, RETRIED)]),
        (
            "each reason in its turn",
            Branch(C, A, [B, C]),
            State(archived(A), [Interrupted(E, None)], [A], [D], reruns=[Due(A, RERUN, None, seed=1)]),
            [(E, RESUMED), (A, ASKED), (D, RETRIED), (B, NEW), (C, NEW), (A, RERUN)],
        ),
        (
            "re-trainings first",
            Branch(B, A, [B]),
            State(archived(A), reruns=[Due(A, RERUN, None, seed=1)], are_reruns_first=True),
            [(A, RERUN), (B, NEW)],
        ),
    ],
)
def test_the_queue_is_what_plan_would_choose_one_after_the_other(
    what: str, branch: Branch, state: State, expected: list[tuple[str, str]]
) -> None:
    assert [(one.sha, one.why) for one in queue(branch, state, 10)] == expected, what
    assert [(one.sha, one.why) for one in queue(branch, state, 1)] == expected[:1], what
