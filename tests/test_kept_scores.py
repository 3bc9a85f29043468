"""Each run is scored once, compared with the last comparable one, and nothing in its utterances stops anything."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import archive as archived
from deepspeech_wer.archive import in_order
from deepspeech_wer.configuration import settings
from deepspeech_wer.dashboard import heard as published
from deepspeech_wer.judging import comparing, kept_scores
from deepspeech_wer.judging.kept_scores import Measures
from deepspeech_wer.places import Places
from deepspeech_wer.records import Run
from deepspeech_wer.verdicts import utterance_scores
from tests import heard_runs
from tests.conftest import Repository
from tests.heard_runs import archive, invented, texts
from tests.test_automation import JOB, tick
from tests.test_automation import tracked as tracked  # the fixture

SIGMA = {"sigma_pp": 1.0, "sigma_df": 20.0}


@pytest.fixture
def where(tmp_path: Path) -> Places:
    places = heard_runs.places(tmp_path)
    places.cache.mkdir()
    return places


def measured(where: Places, runs: list[Run], **more: Any) -> Measures:
    """Do as a build does."""
    ordered = in_order(runs)
    measures = kept_scores.update(where, ordered, **more)
    comparing.update(measures, ordered, [{"run": run.id, **SIGMA} for run in runs])
    kept_scores.save(where, measures)
    return measures


def record(where: Places, run: Run, runs: list[Run]) -> dict[str, Any]:
    found = measured(where, runs).record(run.id)
    assert found is not None
    return found


def against(where: Places, run: Run, runs: list[Run]) -> dict[str, Any]:
    found: dict[str, Any] = record(where, run, runs)["against"]
    return found


def kept(where: Places) -> dict[str, tuple[int, bytes]]:
    files = (path for path in where.measured.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def count_scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    scored: list[int] = []
    real = utterance_scores.summarise

    def summarise(found: Any) -> Any:
        scored.append(1)
        return real(found)

    monkeypatch.setattr(utterance_scores, "summarise", summarise)
    return scored


# -- the figures


def test_a_run_has_its_figures(where: Places) -> None:
    rows = texts(("the cat sat", "the hat sat down"), ("one two", None), ("yes", "yes"), names="xyx")
    runs = archive(where, heard_runs.run(1, rows))

    found = record(where, runs[0], runs)

    [test] = found["sets"]
    assert (test["set"], test["wer"], test["utterances"], test["missing"]) == ("test", 4 / 6, 3, 1)
    assert test["words"] == {"substitutions": 1, "deletions": 2, "insertions": 1, "reference": 6}
    assert test["sentence_error_rate"] == 2 / 3
    assert test["cer"] > 0
    assert test["interval"]["by"] == "speaker"
    assert (found["trouble"], found["remark"], found["differs"], found["against"]) == (None, None, [], None)
    assert found["noise"] == {"sigma_pp": 1.0, "sigma_df": 20.0, "between_pp": pytest.approx(2.95, abs=0.01)}


def test_a_job_that_says_otherwise_is_told_once_and_on_the_page(
    where: Places, caplog: pytest.LogCaptureFixture
) -> None:
    run, data = heard_runs.run(1, texts(("a b c d", "a b c")))
    assert run.hyper
    run.hyper["results"]["test_wer"] = 0.125
    runs = archive(where, (run, data))

    for _ in range(2):
        assert record(where, runs[0], runs)["differs"] == [
            "test: the job says WER 12.50 %, its utterances give 25.00 %: see what it leaves out or normalises"
        ]
    assert caplog.text.count("the job says WER 12.50 %") == 1


def test_without_utterances_nothing_is_written(where: Places) -> None:
    runs = archive(where, (heard_runs.run(1, texts(("a", "a")))[0], None))

    assert measured(where, runs).record(runs[0].id) is None
    assert not where.measured.exists()


ABSURD: dict[str, bytes] = {
    "empty": b"",
    "cut": b'{"version": 1, "columns": ["id", "refer',
    "no JSON": b"\x00\xff" * 1000,
    "a list": b"[1, 2]",
    "no rows": b'{"columns": ["id", "reference", "hypothesis"], "rows": []}',
    "nested": b"[" * 100_000,
    "newer": b'{"version": 9}',
    "a long number": b'{"version": ' + b"9" * 10_000 + b"}",
    "many lists": b"[" + b"[]," * 2_000_000 + b"[]]",
    "many numbers": b"[" + b"1," * 12_000_000 + b"1]",
    "too long to align": json.dumps(
        {"columns": ["id", "reference", "hypothesis"], "rows": [["a", "x " * 6000, "y " * 6000]]}
    ).encode(),
}


@pytest.mark.parametrize("kind", ABSURD)
def test_what_cannot_be_scored_is_told_once_and_stops_nothing(
    where: Places, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    good = heard_runs.run(1, texts(("a b", "a c")))
    runs = archive(where, good, (heard_runs.run(2, texts(("a", "a")))[0], ABSURD[kind]))
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            found = record(where, runs[1], runs)

    assert found["sets"] == []
    assert found["trouble"].startswith("utterances.json: ") or "test set" in found["trouble"]
    assert "\n" not in found["trouble"]
    assert str(where.data) not in found["trouble"]
    assert caplog.text.count("its utterances are not scored") == 1
    assert record(where, runs[0], runs)["sets"][0]["wer"] == 0.5


def test_a_file_too_large_to_score_is_not_read(where: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_scores, "MAX_BYTES", 1000)
    runs = archive(where, heard_runs.run(1, invented(50, 1)))

    assert "at most 1000 are scored" in record(where, runs[0], runs)["trouble"]


@pytest.mark.parametrize("kind", ["a link", "a pipe", "a directory"])
def test_what_is_no_file_has_no_utterances(where: Places, tmp_path: Path, kind: str) -> None:
    run, data = heard_runs.run(1, texts(("a", "b")))
    runs = archive(where, (run, None))
    path = runs[0].directory / "utterances.json"
    if kind == "a link":
        (tmp_path / "other").write_bytes(data)
        path.symlink_to(tmp_path / "other")
    elif kind == "a pipe":
        os.mkfifo(path)
    else:
        path.mkdir()

    assert measured(where, runs).record(runs[0].id) is None


def test_odd_rows_are_named_once(where: Places, caplog: pytest.LogCaptureFixture) -> None:
    rows = [*texts(("a b", "a b")), ["x", None, None, 7, "a"]]
    run, _ = heard_runs.run(1, rows[:1])
    data = json.dumps({"columns": heard_runs.COLUMNS, "rows": rows}).encode()
    runs = archive(where, (run, data))
    for _ in range(2):
        remark = record(where, runs[0], runs)["remark"]

    assert remark == "1 rows left out, 0 odd: row 2: expected a reference, found 7"
    assert caplog.text.count(remark) == 1


# -- once


def test_a_run_is_scored_once_and_nothing_is_rewritten(where: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = archive(where, *(heard_runs.run(n, invented(40, n)) for n in range(1, 5)))
    scored = count_scored(monkeypatch)
    measured(where, runs)
    before = {name: time for name, (time, _) in kept(where).items() if "index" not in name}
    measured(where, runs)
    more = [*runs, *archive(where, heard_runs.run(5, invented(40, 5)))]
    measured(where, more)

    assert len(scored) == 5
    assert {name: kept(where)[name][0] for name in before} == before


def test_an_edited_file_is_scored_again(where: Places) -> None:
    runs = archive(where, heard_runs.run(1, texts(("a b", "a b"))))
    assert record(where, runs[0], runs)["sets"][0]["wer"] == 0
    (runs[0].directory / "utterances.json").write_bytes(heard_runs.run(1, texts(("a b", "a c")))[1])

    assert record(where, runs[0], runs)["sets"][0]["wer"] == 0.5


@pytest.mark.parametrize("lost", ["index", "runs/*.record", "runs/*.js", "sets/*.js", "sets", "runs", "."])
def test_what_is_lost_is_made_again(where: Places, lost: str) -> None:
    runs = archive(where, *(heard_runs.run(n, invented(40, n)) for n in range(1, 4)))
    measured(where, runs)
    before = {name: data for name, (_, data) in kept(where).items()}
    for path in [where.measured] if lost == "." else list(where.measured.glob(lost)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for _ in range(2):
        measured(where, runs)

    assert {name: data for name, (_, data) in kept(where).items()} == before


@pytest.mark.parametrize("damaged", ["index", "runs/*.record", "runs/*.js", "sets/*.js"])
@pytest.mark.parametrize("content", [b"", b"{}", b"wer.edits(7);\n", b"\x00\xff" * 50])
def test_what_is_damaged_is_made_again(where: Places, damaged: str, content: bytes) -> None:
    made = [heard_runs.run(n, invented(40, n)) for n in range(1, 4)]
    runs = archive(where, *made[:2])
    measured(where, runs)
    for path in where.measured.glob(damaged):
        path.write_bytes(content)
    runs += archive(where, made[2])  # a comparison reads what is damaged, and so does the page
    for _ in range(3):
        measures = measured(where, runs)
        for run in runs:
            measures.record(run.id)
    after = {name: data for name, (_, data) in kept(where).items()}
    shutil.rmtree(where.measured)
    measured(where, runs)

    assert {name: data for name, (_, data) in kept(where).items()} == after
    assert not where.unmeasured.exists()


def test_what_no_run_needs_is_removed(where: Places) -> None:
    runs = archive(where, heard_runs.run(1, invented(30, 1)), heard_runs.run(2, invented(20, 2)))
    measured(where, runs)
    shutil.rmtree(runs[0].directory)
    measured(where, runs[1:])

    assert sorted(path.name for path in (where.measured / "runs").iterdir()) == [
        f"{runs[1].id}{e}" for e in (".js", ".record")
    ]
    assert len(list((where.measured / "sets").glob("*.js"))) == 1


def test_runs_of_an_old_archive_are_scored_newest_first_over_several_ticks(where: Places) -> None:
    runs = archive(where, *(heard_runs.run(n, invented(20, n)) for n in range(1, 4)))
    for waiting in (2, 1):
        found = measured(where, runs, budget_s=0)
        assert found.waiting == waiting
        assert where.unmeasured.exists()
        assert found.record(runs[-1].id)
        assert found.record(runs[0].id) is None
    assert measured(where, runs, budget_s=0).waiting == 0
    assert not where.unmeasured.exists()
    assert against(where, runs[2], runs)["run"] == runs[1].id


# -- compared


def test_a_run_is_compared_with_the_one_before(where: Places) -> None:
    runs = archive(where, heard_runs.run(1, invented(400, 1)), heard_runs.run(2, invented(400, 2, 0.3)))

    found = against(where, runs[1], runs)

    assert (found["run"], found["sha"]) == (runs[0].id, runs[0].merge.sha)
    [test] = found["sets"]
    assert test["difference"] == pytest.approx(0.14, abs=0.02)
    assert test["interval"]["low"] < test["difference"] < test["interval"]["high"]
    assert test["p"] < 0.001
    assert test["worse"] > test["better"] > 0
    assert test["by_noise"] is None
    sentence = found["sentence"]
    assert sentence.startswith("test: ")
    assert f"pp against {runs[0].merge.sha[:8]} (95 % by speaker: +" in sentence
    assert "p < .001). On these recordings the two models differ by more than chance." in sentence
    assert f"{test['worse']} utterances got worse, {test['better']} better; how many noise alone" in sentence


def test_two_trainings_of_one_commit_show_what_noise_changes(where: Places) -> None:
    first = heard_runs.run(1, invented(400, 1))
    again = heard_runs.run(9, invented(400, 9))
    rerun = again[0]._replace(rerun_of=first[0].id, seed=7, merge=first[0].merge), again[1]
    runs = archive(where, first, rerun, heard_runs.run(2, invented(400, 2)))

    [test] = against(where, runs[2], runs)["sets"]

    assert test["basis"] == "2 trainings of one commit"
    assert test["by_noise"] == pytest.approx(test["worse"], rel=0.2)
    assert record(where, runs[1], runs)["against"] is None  # a re-training is no news


def test_without_them_the_comparisons_before_show_it(where: Places) -> None:
    runs = archive(where, *(heard_runs.run(n, invented(300, n)) for n in range(1, 6)))

    [test] = against(where, runs[4], runs)["sets"]

    assert test["basis"] == "the 3 comparisons before"
    assert test["by_noise"] == pytest.approx(test["worse"], rel=0.2)


def test_what_changed_for_good_is_told_with_what_noise_gives(where: Places) -> None:
    made = [heard_runs.run(n, invented(300, n)) for n in range(1, 9)]
    for n in (5, 6, 7):  # from here on, one utterance is never understood
        rows = json.loads(made[n][1])["rows"]
        rows[17][4] = "nonsense"
        made[n] = heard_runs.run(n + 1, rows)
    runs = archive(where, *made)

    [test] = against(where, runs[7], runs)["sets"]

    assert (test["lasting"]["newest"], test["lasting"]["before"]) == (3, 5)
    assert 17 in test["lasting"]["worse_places"]
    assert test["lasting"]["worse"] == len(test["lasting"]["worse_places"])
    assert test["lasting"]["worse_by_noise"] < 10
    assert against(where, runs[4], runs)["sets"][0]["lasting"] is None  # too few runs


def test_the_same_result_is_said_to_be_the_same(where: Places) -> None:
    runs = archive(where, *(heard_runs.run(n, invented(50, 1)) for n in (1, 2)))

    found = against(where, runs[1], runs)

    assert found["sentence"].endswith(": every utterance has as many errors as before.")
    assert "+0.00 pp" in found["sentence"]


@pytest.mark.parametrize(
    ("change", "compared"),
    [({"variables": {"ds_epochs": "9"}}, 0), ({"variables": None}, 1), ({"variables": {"ds_epochs": "5"}}, 1)],
)
def test_only_comparable_runs_are_compared(where: Places, change: dict[str, Any], compared: int) -> None:
    first = {"variables": {"ds_epochs": "5"}}
    runs = archive(
        where,
        heard_runs.run(1, invented(50, 1), **({"variables": {"ds_epochs": "9"}} if not compared else first)),
        heard_runs.run(2, invented(50, 2), **first),
        heard_runs.run(3, invented(50, 3), **change),
    )

    assert against(where, runs[2], runs)["run"] == runs[compared].id


def test_another_scoring_is_not_compared(where: Places) -> None:
    other, data = heard_runs.run(2, invented(50, 2))
    assert other.hyper
    other.hyper["results"]["signature"] = {"normaliser": "lower@1"}
    runs = archive(where, heard_runs.run(1, invented(50, 1)), (other, data))

    assert against(where, runs[1], runs) is None


def test_another_test_set_is_paired_where_it_can_be_and_said(where: Places) -> None:
    runs = archive(where, heard_runs.run(1, invented(50, 1)), heard_runs.run(2, invented(60, 2)))

    assert against(where, runs[1], runs)["sets"][0]["utterances"] < 60
    assert "utterances that both test sets have" in against(where, runs[1], runs)["sentence"]


def test_a_run_that_comes_late_changes_the_comparison_after_it(where: Places) -> None:
    runs = archive(where, heard_runs.run(1, invented(50, 1)), heard_runs.run(3, invented(50, 3)))
    assert against(where, runs[1], runs)["run"] == runs[0].id
    late = archive(where, heard_runs.run(2, invented(50, 2)))
    runs = [*runs, *late]

    assert against(where, runs[1], runs)["run"] == late[0].id
    assert against(where, late[0], runs)["run"] == runs[0].id


def test_several_test_sets_are_each_scored(where: Places) -> None:
    rows = [[*row, name] for name in ("clean", "other") for row in invented(30, 1)]
    data = json.dumps({"columns": [*heard_runs.COLUMNS, "set"], "rows": rows}).encode()
    runs = archive(where, *((heard_runs.run(n, invented(30, n))[0], data) for n in (1, 2)))

    found = record(where, runs[1], runs)

    assert [one["set"] for one in found["sets"]] == ["clean", "other"]
    assert len({one["file"] for one in found["sets"]}) == 1  # the same recordings are kept once
    assert [one["set"] for one in found["against"]["sets"]] == ["clean", "other"]


def test_hostile_texts_are_kept_as_they_are(where: Places) -> None:
    hostile = ["</script><script>alert(1)</script>", "\u202eevil\u2028x", "é" * 10_000, "\ud800", "__proto__", "a\x00b"]
    rows = [[f"{text}{n}", text, 1, f"said {text}", f"heard {text}"] for n, text in enumerate(hostile)]
    runs = archive(where, heard_runs.run(1, rows))
    measures = measured(where, runs)
    data = (where.measured / "runs" / f"{runs[0].id}.js").read_bytes()
    [index] = (where.measured / "sets").glob("*.js")

    assert b"<" not in data
    assert data.isascii()
    assert all(edits.startswith("0 said heard") for edits in published.argument(data)["sets"][0]["edits"])
    assert kept_scores.each(measures, runs[0].id, "test") is not None
    assert "\u202eevil\u20280" in "".join(published.argument(index.read_bytes())["ids"]).replace("x1", "0")


# -- as a tick does it

WITH_UTTERANCES = """cat >"$ds_logs_dir/x/utterances.json" <<END
{"version": 1, "set": "test", "columns": ["id", "speaker", "reference", "hypothesis"], "rows": [
["a", "x", "the cat sat", "the $heard sat"], ["b", "y", "yes", "$heard"]]}
END
"""


def test_a_tick_scores_compares_and_shows_a_run_once(tracked: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    tracked.write({"bin/run-wer-automation.sh": JOB + WITH_UTTERANCES, "wer": "wer=0.25\nheard=yes\n"})
    tracked.commit("with utterances", {})
    assert tick() == 0
    tracked.merge("worse", {"wer": "wer=0.5\nheard=no\n"})
    assert tick() == 0
    log = capsys.readouterr().err
    where = settings.load().places
    newest = archived.in_order(archived.load(where.runs))[-1].id  # both may have started in one second
    page = published_run(where, newest)

    assert page["heard"]["sets"][0]["words"]["reference"] == 4
    assert page["heard"]["against"]["sets"][0]["worse"] == 1
    assert page["heard"]["differs"] == []
    assert "test: 50.00 %, +25.00 pp against" in page["heard"]["against"]["sentence"]
    assert (where.site / "runs" / newest / "edits.js").read_bytes().startswith(b"wer.edits(")
    assert len(list(where.site.glob("sets/*.js"))) == 1
    assert "the job says" not in log
    before = {path: path.stat().st_mtime_ns for path in where.data.rglob("*") if path.name != "lock"}
    assert tick() == 0
    assert {path: path.stat().st_mtime_ns for path in where.data.rglob("*") if path.name != "lock"} == before


def test_a_tick_goes_on_where_utterances_are_absurd(tracked: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    absurd = 'head -c 300000 /dev/urandom >"$ds_logs_dir/x/utterances.json"\n'
    tracked.commit("absurd", {"bin/run-wer-automation.sh": JOB + absurd})
    assert tick() == 0
    assert tick() == 0
    where = settings.load().places

    assert capsys.readouterr().err.count("its utterances are not scored") == 1
    assert published_run(where, archived.names(where.runs)[-1])["heard"]["trouble"].startswith(
        "utterances.json: not UTF-8"
    )


def published_run(where: Places, name: str) -> dict[str, Any]:
    text = (where.site / "runs" / f"{name}.js").read_text()
    found: dict[str, Any] = json.loads(text[len("wer.run(") : -len(");\n")])
    return found
