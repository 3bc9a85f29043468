"""A table is a sequence of runs, whatever its columns come from."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from deepspeech_wer import archive_order, run_table
from deepspeech_wer.dashboard import kept
from deepspeech_wer.records import Run, as_json
from deepspeech_wer.run_table import FIELDS, Table
from tests import invented_runs
from tests.invented_runs import done, failed, years


def history(seed: int) -> list[Run]:
    """Return runs in no order: re-trainings, retries, eras, some or all of them without a number, odd ids."""
    chance = random.Random(seed)
    runs: list[Run] = []
    for run in years(30):
        numbered = run._replace(number=0 if chance.random() < seed % 3 / 4 else run.merge.ordinal)
        runs.append(numbered)
        if chance.random() < 0.3:
            again = numbered._replace(id=f"{run.id}-{chance.randrange(2, 12)}", rerun_of=run.id, seed=7)
            runs.append(again._replace(hyper=chance.choice((run.hyper, None))))
    if seed % 2:
        runs.append(done(40, 0.2)._replace(id="by-hand", number=40))
    chance.shuffle(runs)
    return runs


@pytest.mark.parametrize("seed", range(12))
def test_the_order_is_that_of_numbers_then_ordinals_then_starts(seed: int) -> None:
    runs = history(seed)
    keys = archive_order.keys(run_table.of(runs).placed())
    assert [run.id for run in run_table.of(runs).in_order()] == sorted(keys, key=keys.__getitem__)


def test_runs_that_are_in_order_stay_the_same_table() -> None:
    runs = [run._replace(number=run.merge.ordinal) for run in sorted(years(9), key=lambda run: run.merge.ordinal)]
    table = run_table.of(runs)
    assert table.in_order() is table
    assert table.only(range(len(table))) is table
    assert run_table.of(table) is table


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_is_a_sequence_of_its_runs(seed: int) -> None:
    runs = history(seed)
    table = run_table.of(runs)
    picked = table.only([5, 3, 3, 8])
    assert list(picked) == [runs[5], runs[3], runs[3], runs[8]]
    assert (len(picked), picked[0], picked[-1]) == (4, runs[5], runs[8])
    assert list(picked[1:]) == list(picked.only([1, 2, 3])) == [runs[3], runs[3], runs[8]]
    assert list(reversed(picked)) == [runs[8], runs[3], runs[3], runs[5]]
    with pytest.raises(IndexError):
        picked[4]
    for name, field in FIELDS.items():
        assert list(picked.column(name)) == list(map(field, picked)), name


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_runs_are_found_by_what_they_are(seed: int) -> None:
    runs = history(seed)
    table = run_table.of(runs)
    assert list(table.own) == [run for run in runs if run.rerun_of is None]
    assert list(table.again) == [run for run in runs if run.rerun_of is not None]
    assert [table.find(run.id) for run in runs] == runs
    assert table.find("none") is None
    for before in (None, 0, 1, 7, len(runs)):
        assert table.newest(before) == next((run for run in reversed(runs[:before]) if run.hyper), None)


def test_an_empty_table_has_nothing() -> None:
    table = run_table.of([])
    assert (list(table), list(table.in_order()), list(table.own), table.newest(), table.find("x")) == (
        [],
        [],
        [],
        None,
        None,
    )


def archived(runs: list[Run], root: Path) -> None:
    for run in invented_runs.archive(runs, root):
        fields = {key: value for key, value in as_json(run).items() if key not in ("id", "root", "hyper")}
        (run.directory / "run.json").write_text(json.dumps({"version": 1, "base": None, **fields}))


@pytest.mark.parametrize(
    "times",
    [
        "2024-05-06T07:08:09Z",
        "2024-05-06T09:08:09+02:00",
        "2024-05-06",
        "yesterday",
        "",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_kept_columns_say_what_the_runs_say(tmp_path: Path, times: str) -> None:
    odd = done(33, 0.25, subject="</script>\u2028 é \U0001f600 \ud83d", beam=True, limit=2**60)
    assert odd.hyper
    odd.hyper["results"] |= {"signature": {"set": "<b>"}, "tests": {"noisy": {"wer": 0.5, "errors": 1, "words": 2}}}
    first = done(34, 0.5)
    strange = first._replace(started_at=times, merge=first.merge._replace(committed_at=times))
    rerun = done(35, 0.4)._replace(rerun_of=odd.id, seed=3, calibrates=True, variables={"ds_epochs": "9"}, number=35)
    archived([*years(12), failed(31), done(32, None), odd, strange, rerun], tmp_path / "runs")
    made = kept.load(tmp_path / "runs", tmp_path / "kept").runs
    read = kept.load(tmp_path / "runs", tmp_path / "kept").runs
    assert list(read) == list(made)
    for name, field in FIELDS.items():
        if name != "fingerprint":  # of all that the job's record has
            assert list(read.column(name)) == list(map(field, read)), name
        assert read.column(name) == made.column(name), name
    assert read.places.keys() == {run.id for run in read}
    assert isinstance(read, Table)


@pytest.mark.parametrize("change", ["a WER", "the variables", "the signature", "a seed"])
def test_the_fingerprint_is_of_what_a_verdict_is_made_from(change: str) -> None:
    run = done(1, 0.25)
    assert run.hyper
    results = run.hyper["results"]
    other = {
        "a WER": run._replace(hyper={**run.hyper, "results": {**results, "test_wer": 0.26}}),
        "the variables": run._replace(variables={"ds_epochs": "3"}),
        "the signature": run._replace(hyper={**run.hyper, "results": {**results, "signature": "x"}}),
        "a seed": run._replace(rerun_of="other", seed=1),
    }[change]
    of = FIELDS["fingerprint"]
    assert of(run) != of(other)
    assert of(run) == of(run._replace(detail="another", merge=run.merge._replace(subject="another")))
