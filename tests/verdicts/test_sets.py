"""Several test sets, judged beside each other."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import hyper
from deepspeech_wer.configuration.settings import Retraining
from deepspeech_wer.judging import verdict_file
from deepspeech_wer.records import Run
from deepspeech_wer.verdicts import sets
from deepspeech_wer.verdicts.judge import Judgement, judge
from deepspeech_wer.verdicts.plan import Rules
from tests.test_judging import judged, run
from tests.verdicts.histories import SD, draw, sha_of

PLACES = {sha_of(place): place for place in range(60)}


def history(steps: dict[int, float], merges: int = 24, seed: int = 1, rules: Rules | None = None) -> Judgement:
    """Judge a set without re-training. `steps` are in standard deviations, by merge."""
    dice, level, draws = random.Random(seed), 0.16, []
    for place in range(merges):
        level += SD * steps.get(place, 0.0)
        draws.append(draw(place, dice.gauss(level, SD)))
    return judge(draws, rules=rules or Rules(retrain=False))


def of(judgement: Judgement) -> list[tuple[str, str, str | None, list[str]]]:
    return [(one.start, one.state, one.test_set, sorted(one.sets)) for one in judgement.events]


def test_the_steps_of_one_merge_in_two_sets_are_one_event() -> None:
    main, other = history({15: 12}), history({15: 25}, seed=2)
    found = sets.combined(main, {"noisy": other}, PLACES)
    assert of(found) == [(sha_of(15), "open", None, ["noisy", "test_wer"])]
    (event,) = found.events
    assert event.step_pp == main.events[0].step_pp == event.sets["test_wer"].step_pp
    assert event.sets["noisy"].step_pp == other.events[0].step_pp


def test_a_step_that_only_another_set_shows_is_an_event_of_that_set() -> None:
    main, other = history({}), history({15: 25}, seed=2)
    (event,) = sets.combined(main, {"noisy": other}, PLACES).events
    assert (event.start, event.test_set, event.step_pp) == (sha_of(15), "noisy", other.events[0].step_pp)


def test_steps_of_two_merges_are_two_events_in_the_order_of_history() -> None:
    found = sets.combined(history({18: 14}), {"noisy": history({8: 14}, seed=2)}, PLACES)
    assert of(found) == [(sha_of(8), "open", "noisy", ["noisy"]), (sha_of(18), "open", None, ["test_wer"])]
    assert len({event.id for event in found.events}) == 2


def test_an_event_keeps_its_id_when_the_main_set_shows_it_later() -> None:
    other = {"noisy": history({15: 25}, merges=18, seed=2)}
    early = sets.combined(history({15: 3.5}, merges=18, seed=6), other, PLACES)
    late = sets.combined(history({15: 3.5}, merges=40, seed=6), {"noisy": history({15: 25}, 40, seed=2)}, PLACES)
    assert [event.start for event in early.events] == [sha_of(15)]
    assert len(late.events) == 1
    assert late.events[0].sets.keys() == {"noisy", "test_wer"}
    assert early.events[0].id == late.events[0].id


def test_what_is_to_be_trained_again_is_first_what_the_main_set_wants() -> None:
    one, two = history({23: 20}, rules=Rules()), history({10: 20}, rules=Rules(), seed=2)
    assert one.next_retraining
    assert two.next_retraining
    assert sets.combined(one, {"noisy": two}, PLACES).next_retraining == one.next_retraining
    wish = sets.combined(history({}), {"noisy": two}, PLACES).next_retraining
    assert wish
    assert wish.sha == two.next_retraining.sha
    assert wish.why.endswith(", on noisy")


def runs_of(main: dict[int, float], noisy: dict[int, float], since: int = 0, merges: int = 24) -> list[Run]:
    dice, levels, made = random.Random(3), [0.16, 0.3], []
    for number in range(1, merges + 1):
        levels[0] += SD * main.get(number, 0.0)
        levels[1] += SD * noisy.get(number, 0.0)
        one = run(number, dice.gauss(levels[0], SD), sha=f"{number:040x}")
        assert one.hyper
        rate = dice.gauss(levels[1], SD)
        if number >= since:
            one.hyper["results"]["tests"] = {"noisy": {"wer": rate, "errors": round(rate * 50_000), "words": 50_000}}
        made.append(one)
    return made


def told(record: dict[str, Any], number: int) -> dict[str, Any]:
    return next(dict(verdict) for verdict in record["verdicts"] if verdict["sha"] == f"{number:040x}")


@pytest.mark.parametrize("since", [0, 6])
def test_a_merge_that_is_worse_on_another_set_is_told_with_both(tmp_path: Path, since: int) -> None:
    record = judged(tmp_path, runs_of({}, {15: 12}, since))
    verdict = told(record, 15)
    assert verdict["verdict"] == "suspect"  # it waits for its re-training
    assert verdict["test_set"] == "noisy"
    assert verdict["sets"]["test_wer"]["verdict"] == "no change seen"
    assert verdict["sets"]["noisy"]["effect_pp"] == verdict["effect_pp"]
    assert told(record, 14)["test_set"] is None
    assert [event["test_set"] for event in record["events"]] == ["noisy"]
    assert record["retraining"]["reason"].endswith(", on noisy")
    if since:
        assert "sets" not in told(record, since - 1)


def test_without_other_sets_nothing_is_said_of_them(tmp_path: Path) -> None:
    record = judged(tmp_path, runs_of({}, {}, since=99))
    assert "sets" not in told(record, 5)


@pytest.mark.parametrize(
    "odd",
    [
        None,
        [],
        7,
        {"noisy": None},
        {"noisy": {"wer": "0.1"}},
        {"noisy": {"wer": -1}},
        {"noisy": {"wer": True}},
        {"noisy": {"errors": 3}},
        {"": {"wer": 0.1}},
        {"n" * 101: {"wer": 0.1}},
    ],
)
def test_what_a_job_says_of_sets_may_be_anything(tmp_path: Path, odd: Any) -> None:
    runs = runs_of({}, {})
    for one in runs[3::2]:
        assert one.hyper
        one.hyper["results"]["tests"] = odd
        assert hyper.test_sets(one.hyper) == {}
    assert len(judged(tmp_path, runs)["verdicts"]) == len(runs)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"wer": 0.5}, hyper.Figures(0.5)),
        ({"test_wer": 0.5, "errors": 5, "words": 10}, hyper.Figures(0.5, 5, 10)),
        (
            {"wer": 1, "errors": {"substitutions": 1, "deletions": 2, "insertions": 3, "words": 6}, "signature": "s"},
            hyper.Figures(1.0, 6, 6, "s"),
        ),
        ({"wer": 0.5, "errors": -1, "words": 10}, hyper.Figures(0.5)),
    ],
)
def test_the_figures_of_a_set(entry: dict[str, Any], expected: hyper.Figures) -> None:
    assert hyper.test_sets({"results": {"tests": {"noisy": entry}}}) == {"noisy": expected}


def lines(*verdicts: str) -> Sequence[bytes]:
    """Lines of merges 0, 1, ...; "" for none."""
    records = [{"sha": str(place), "run": f"r{place}", "verdict": one} for place, one in enumerate(verdicts)]
    return [json.dumps(one, separators=(",", ":")).encode() if one["verdict"] else b"" for one in records]


@pytest.mark.parametrize(
    ("main", "one", "two", "expected"),
    [
        ("no change seen", "no change seen", "unchanged", ("no change seen", None)),
        ("no change seen", "better", "worse", ("worse", "two")),
        ("too few runs", "suspect", "better", ("suspect", "one")),
        ("better", "worse", "worse", ("better", None)),
        ("unchanged", "cannot tell", "cannot tell", ("unchanged", None)),
        ("failed", "failed", "failed", ("failed", None)),
    ],
)
def test_the_gravest_verdict_is_shown_where_the_main_set_shows_nothing(
    main: str, one: str, two: str, expected: tuple[str, str | None]
) -> None:
    (made,) = sets.lines(lines(main), {"two": lines(two), "one": lines(one)}, sets.Lines())
    verdict = json.loads(made)
    assert (verdict["verdict"], verdict["test_set"]) == expected
    assert verdict["sets"] == {"test_wer": {"verdict": main}, "one": {"verdict": one}, "two": {"verdict": two}}


def test_merges_that_a_set_did_not_measure_are_told_as_before() -> None:
    main = lines("better", "", "worse")
    assert sets.lines(main, {"noisy": lines("", "", "")}, sets.Lines()) == main


def test_what_is_remembered_of_sets_that_are_gone_does_no_harm(tmp_path: Path) -> None:
    places = verdict_file.Places(tmp_path / "cache", tmp_path / "data")
    for place in (places.cache, places.data):
        place.mkdir()
    wanted = Retraining("on", 12, 0.3, anchor=True)
    for runs in (runs_of({}, {15: 12}), runs_of({}, {}, since=99), runs_of({}, {15: 12})):
        record = verdict_file.update(places, runs, {}, wanted)
        assert list(record["verdicts"]) == judged(tmp_path / "elsewhere", runs)["verdicts"]


def test_what_was_told_of_sets_before_is_not_made_again() -> None:
    rng = random.Random(5)
    states = ("no change seen", "worse", "unchanged", "suspect", "")
    main, noisy = (list(lines(*(rng.choice(states) for _ in range(30)))) for _ in range(2))
    del noisy[:7]  # measured from the eighth merge on
    together = sets.lines(main, {"noisy": noisy}, sets.Lines())
    for change in range(40):
        before = sets.Lines(main, {"noisy": noisy}, together)
        main, noisy, number = main[:], noisy[:], 30 + change
        if change % 3 == 1:
            place = rng.randrange(len(noisy))
            noisy[place] = lines(*[rng.choice(states)] * (place + 8))[-1]
        if change % 3 == 2:
            place = rng.randrange(len(main))
            main[place] = lines(*[rng.choice(states)] * (place + 1))[-1]
        main += lines(*["better"] * (number + 1))[-1:]
        noisy += lines(*[rng.choice(states)] * (number + 1))[-1:]
        together = sets.lines(main, {"noisy": noisy}, before)
        assert together == sets.lines(main, {"noisy": noisy}, sets.Lines())
        if change % 3 == 0:
            assert all(now is then for now, then in zip(together, before.together, strict=False))


@pytest.mark.parametrize("damage", ["", "gone", "another"])
def test_a_damaged_note_of_what_was_told_of_sets_does_no_harm(tmp_path: Path, damage: str) -> None:
    places = verdict_file.Places(tmp_path / "cache", tmp_path / "data")
    for place in (places.cache, places.data):
        place.mkdir()
    wanted = Retraining("on", 12, 0.3, anchor=True)
    runs = runs_of({}, {15: 12})
    verdict_file.update(places, runs[:-3], {}, wanted)
    (note,) = places.cache.glob("*.together")
    if damage == "gone":
        note.unlink()
    if damage == "another":  # killed after verdicts.json was written, before what was remembered
        told = places.verdicts.read_bytes()
        places.verdicts.write_bytes(told.replace(b"no change seen", b"unchanged", 5))
    record = verdict_file.update(places, runs, {}, wanted)
    assert list(record["verdicts"]) == judged(tmp_path / "elsewhere", runs)["verdicts"]
