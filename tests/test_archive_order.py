"""The order of runs never falls, whatever becomes of the history."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspeech_wer import archive
from deepspeech_wer.archive_order import Placed, keys, number_for
from deepspeech_wer.configuration import settings
from tests.conftest import Repository
from tests.test_automation import tick
from tests.test_automation import tracked as tracked  # the fixture


def run(sha: str, number: int, ordinal: int, minute: int = 0, committed: int | None = None) -> Placed:
    committed = minute if committed is None else committed
    times = f"2026-01-01T00:{minute:02}:00Z", f"2026-01-01T00:{committed:02}:00Z"
    return Placed(f"{minute:02}-{sha}", sha * 12, number, ordinal, *times)


def in_order(runs: Sequence[Placed]) -> str:
    found = keys(runs)
    return "".join(one.sha[0] for one in sorted(runs, key=lambda one: found[one.id]))


@pytest.mark.parametrize(
    ("what", "runs", "expected"),
    [
        ("numbers decide", [run("a", 1, 5), run("b", 2, 3), run("c", 3, 4)], "abc"),
        ("a re-run stays with its merge", [run("a", 1, 1, 1), run("b", 2, 2, 2), run("a", 1, 1, 9)], "aab"),
        ("old archives go by the ordinal", [run("b", 0, 2, 1), run("a", 0, 1, 2, committed=0)], "ab"),
        ("newest first, then the gaps", [run("d", 0, 4, 4), run("b", 0, 2, 5, committed=2)], "bd"),
        ("an old archive whose ordinals fell", [run("a", 0, 1, 1), run("b", 0, 4, 2), run("c", 0, 3, 3)], "abc"),
        ("old and new", [run("a", 0, 1, 1), run("b", 0, 2, 2), run("c", 3, 1, 3)], "abc"),
    ],
)
def test_the_order_of_runs(what: str, runs: list[Placed], expected: str) -> None:
    assert what
    assert in_order(runs) == expected
    assert in_order(runs[::-1]) == expected


NEW = [letter * 12 for letter in "cdef"]


@pytest.mark.parametrize(
    ("sha", "ordinal", "archived", "expected"),
    [
        ("c", 3, [], 1),
        ("c", 3, [run("a", 1, 1), run("b", 2, 2)], 3),
        ("f", 6, [run("a", 1, 1), run("b", 2, 2)], 6),
        ("c", 3, [run("a", 1, 1), run("b", 2, 2), run("f", 6, 6)], 3),  # the newest was run first
        ("f", 6, [run("a", 1, 1), run("b", 2, 2), run("f", 6, 6)], 6),  # a re-run
        ("x", 2, [run("a", 1, 1), run("b", 2, 3)], 1),  # an old commit by hand: behind the one before it
        ("x", 1, [run("a", 1, 2), run("b", 2, 3)], 0),
        ("c", 1, [run("a", 7, 50), run("b", 8, 60)], 9),  # a foxtrot merge, or a moved repository
    ],
)
def test_the_number_of_a_run(sha: str, ordinal: int, archived: list[Placed], expected: int) -> None:
    assert number_for(sha * 12, ordinal, archived, NEW) == expected


@given(ordinals=st.lists(st.integers(1, 20), min_size=1, max_size=20))
def test_whatever_the_ordinals_each_new_merge_stands_behind_all_others(ordinals: list[int]) -> None:
    archived: list[Placed] = []
    for minute, ordinal in enumerate(ordinals):
        sha = f"{minute:012}"
        number = number_for(sha, ordinal, archived, [sha])
        archived.append(Placed(f"{minute:02}", sha, number, ordinal, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"))
    found = keys(archived)
    assert sorted(archived, key=lambda one: found[one.id]) == archived


def subjects() -> list[str]:
    return [one.merge.subject for one in archive.in_order(archive.load(settings.load().places.runs))]


PULLED = "Merge branch 'main' of example.org:team/speech"


def foxtrot(tracked: Repository, root: str) -> None:
    """Merge the branch into a line of one's own, and make that the branch."""
    tracked.git("checkout", "--quiet", "-b", "own", root)
    tracked.commit("own work", {"mine": ""})
    tracked.git("merge", "--quiet", "--no-ff", "--message", PULLED, "main")
    tracked.git("branch", "--quiet", "--force", "main", "own")
    tracked.git("checkout", "--quiet", "main")
    tracked.git("branch", "--quiet", "--delete", "own")


@pytest.mark.parametrize("between", [0, 1])
def test_merges_that_a_foxtrot_merge_passed_over_are_named_once(
    tracked: Repository, capsys: pytest.CaptureFixture[str], between: int
) -> None:
    root = tracked.git("rev-parse", "HEAD")
    for number in range(between):
        tracked.merge(f"trained {number}")
    tick()
    passed = [tracked.merge(f"passed {number}") for number in range(2)]
    foxtrot(tracked, root)
    capsys.readouterr()
    assert tick() == 0
    said = capsys.readouterr().err
    assert f"2 merges lie behind the second parent of a foxtrot merge and are not trained ({passed[0][:12]}" in said
    assert "set ds_track=all-merges" in said
    tracked.merge("later")
    assert tick() == 0
    assert "foxtrot merge and" not in capsys.readouterr().err
    assert subjects()[-2:] == [PULLED, "later"]


def test_merges_that_a_foxtrot_merge_passed_over_are_trained_where_that_is_set(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ds_track", "all-merges")
    root = tracked.git("rev-parse", "HEAD")
    tick()
    for number in range(2):
        tracked.merge(f"passed {number}")
    foxtrot(tracked, root)
    assert tick() == 0
    assert subjects() == ["root", "passed 0", "passed 1", PULLED]
    assert "not trained" not in capsys.readouterr().err
    assert tick() == 0
    assert len(subjects()) == 4


def test_merges_within_side_branches_are_not_passed_over(
    tracked: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    tick()
    tracked.git("checkout", "--quiet", "-b", "feature")
    tracked.git("checkout", "--quiet", "-b", "helper")
    tracked.commit("help", {"help": ""})
    tracked.git("checkout", "--quiet", "feature")
    tracked.git("merge", "--quiet", "--no-ff", "--message", "inside", "helper")
    tracked.git("checkout", "--quiet", "main")
    tracked.git("merge", "--quiet", "--no-ff", "--message", "bring in feature", "feature")
    capsys.readouterr()
    assert tick() == 0
    assert "second parent" not in capsys.readouterr().err
    assert subjects() == ["root", "bring in feature"]


def test_the_run_of_a_foxtrot_merge_is_the_latest(tracked: Repository) -> None:
    root = tracked.git("rev-parse", "HEAD")
    tick()
    for number in range(3):
        tracked.merge(str(number), {"wer": f"wer=0.{number}\n"})
    tick()
    foxtrot(tracked, root)
    assert tick() == 0
    assert subjects() == ["root", "0", "1", "2", PULLED]


def test_a_branch_rewritten_from_its_root_goes_on_behind_what_was(tracked: Repository) -> None:
    tick()
    for number in range(3):
        tracked.merge(str(number), {"wer": f"wer=0.{number}\n"})
    tick()
    tracked.git("checkout", "--quiet", "--orphan", "anew")
    tracked.commit("another root", {"wer": "wer=0.7\n"})
    tracked.git("branch", "--quiet", "--force", "main", "anew")
    tracked.git("checkout", "--quiet", "main")
    tracked.merge("first of it", {"wer": "wer=0.8\n"})
    assert tick() == 0
    tracked.merge("second of it", {"wer": "wer=0.9\n"})
    tick()
    assert subjects() == ["root", "0", "1", "2", "first of it", "second of it"]


def test_a_branch_rewritten_to_be_shorter_goes_on_behind_what_was(tracked: Repository) -> None:
    root = tracked.git("rev-parse", "HEAD")
    tick()
    for number in range(3):
        tracked.merge(str(number), {"wer": f"wer=0.{number}\n"})
    tick()
    tracked.git("reset", "--quiet", "--hard", root)
    tracked.merge("anew", {"wer": "wer=0.9\n"})
    assert tick() == 0
    assert subjects() == ["root", "0", "1", "2", "anew"]
    again = tracked.git("rev-parse", "HEAD")
    assert tick("run", "--sha", again) == 0
    assert subjects() == ["root", "0", "1", "2", "anew", "anew"]
