"""compare A B, and what show says of a run's utterances."""

from __future__ import annotations

import json
import re
import shutil
from typing import Any

import pytest

from deepspeech_wer import archive, cli, exit_codes
from deepspeech_wer.commands import alignment
from deepspeech_wer.configuration import settings
from deepspeech_wer.records import Run
from tests import heard_runs
from tests.conftest import Repository
from tests.heard_runs import invented, texts
from tests.test_automation import tick
from tests.test_automation import tracked as tracked  # the fixture

BEFORE = texts(("the cat sat on", "the cat sat on"), ("one two", "one too"), ("yes", None), names="xyx")
AFTER = texts(("the cat sat on", "a hat sat"), ("one two", "one two"), ("yes", "oh yes"), names="xyx")


def archived(*runs: tuple[Run, bytes | None]) -> list[Run]:
    return heard_runs.archive(settings.load().places, *runs)


def two() -> list[Run]:
    return archived(heard_runs.run(1, BEFORE), heard_runs.run(2, AFTER, parameters={"dropout_rate": 0.3}))


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert cli.main(list(arguments)) == 0
    return capsys.readouterr().out


def compared(capsys: pytest.CaptureFixture[str], *names: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output(capsys, "compare", *names, "--json"))
    return found


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert cli.main(list(arguments)) == exit_codes.TROUBLE
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_two_runs_are_compared_by_id_or_commit(capsys: pytest.CaptureFixture[str]) -> None:
    runs = two()
    by_id = compared(capsys, runs[0].id, runs[1].id)

    assert compared(capsys, runs[0].merge.sha[:7], runs[1].merge.sha) == by_id
    assert (by_id["before"]["run"], by_id["after"]["sha"]) == (runs[0].id, runs[1].merge.sha)
    assert by_id["difference_pp"] == pytest.approx(100 * (4 / 7 - 2 / 7), abs=1e-3)
    assert by_id["parameters"] == [{"name": "dropout_rate", "before": 0.05, "after": 0.3}]
    [test] = by_id["sets"]
    assert (test["worse"], test["better"], test["utterances"]) == (1, 1, 3)
    assert {"said": "the", "heard": "a", "before": 0, "after": 1} in test["words"]
    [worse] = test["worse_utterances"]
    assert (worse["id"], worse["errors_before"], worse["errors_after"]) == ("a", 0, 3)
    assert worse["after"] == [["the", "a"], ["cat", "hat"], ["sat", "sat"], ["on", None]]
    assert worse["reference"] == "the cat sat on"


def test_people_read_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    runs = two()
    text = output(capsys, "compare", runs[0].id, runs[1].id)

    assert "change  +28.57 pp" in text
    assert "1 utterance got worse, 1 better" in text
    assert "  0 -> 1 times: the heard as a" in text
    assert "      said    the cat   sat on\n      before  the cat   sat on\n      after   [a] [hat] sat ***\n" in text
    assert "dropout_rate 0.05 -> 0.3" in text
    assert f"{runs[1].merge.sha[:12]} Merge pull request #1002" in text
    assert "never that a merge did it" in text


def test_markdown_can_be_pasted_and_no_text_becomes_markup(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [["a|b`c", "<s>", 1, "the [link](x) cat", "the **bold** cat"]]
    first, second = heard_runs.run(1, [[*rows[0][:4], rows[0][3]]]), heard_runs.run(2, rows)
    hostile = second[0].merge._replace(subject="<img src=x> `a` *b* | c\n# d")
    runs = archived(first, (second[0]._replace(merge=hostile), second[1]))

    text = output(capsys, "compare", runs[0].id, runs[1].id, "--markdown")

    assert text.startswith("### WER of ")
    assert "| test | 0.00 % | 33.33 % | +33.33 pp |" in text
    outside = [line for line in text.splitlines() if not line.startswith("    ")]
    assert not re.search(r"(?<!\\)(<img|`|\*b)", "\n".join(outside))
    assert r"\<img src=x\> \`a\` \*b\* \| c \# d" in text
    assert "after   the [**bold**] cat" in text


@pytest.mark.parametrize("state", ["within noise", "worse", "better", "identical"])
def test_the_verdict_counts_the_noise_of_a_training_in(capsys: pytest.CaptureFixture[str], state: str) -> None:
    other = {"within noise": invented(400, 2), "worse": invented(400, 2, 0.4), "identical": invented(400, 1)}
    rows = other.get(state) or invented(400, 2, 0.02)
    runs = archived(heard_runs.run(1, invented(400, 1)), heard_runs.run(2, rows))

    record = compared(capsys, runs[0].id, runs[1].id)

    assert record["sets"][0]["verdict"] == state
    assert record["noise"]["between_pp"] > 0


def test_the_noise_of_one_test_set_says_nothing_of_another(capsys: pytest.CaptureFixture[str]) -> None:
    made = []
    for number in (1, 2):
        rows = [[*row, name] for name in ("other", "test") for row in invented(100, number)]
        data = json.dumps({"columns": [*heard_runs.COLUMNS, "set"], "rows": rows}).encode()
        made.append((heard_runs.run(number, invented(100, number))[0], data))
    runs = archived(*made)

    record = compared(capsys, runs[0].id, runs[1].id)

    assert {one["set"]: one["verdict"] for one in record["sets"]} == {"other": "noise unknown", "test": "within noise"}


def test_what_does_not_compare_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    first, other = heard_runs.run(1, invented(50, 1)), heard_runs.run(2, invented(50, 2))
    assert other[0].hyper
    other[0].hyper["results"]["signature"] = {"normaliser": "lower@1"}
    runs = archived(
        (first[0]._replace(variables={"ds_epochs": "5"}), first[1]),
        (other[0]._replace(variables={"ds_epochs": "6"}), other[1]),
    )

    record = compared(capsys, runs[0].id, runs[1].id)

    assert record["comparable"] is False
    assert record["sets"][0]["verdict"] == "not comparable"
    assert record["notes"] == [
        "the test set, normaliser or decoder is another one",
        "the operator changed ds_epochs",
    ]


@pytest.mark.parametrize("data", [None, b"{"])
def test_without_words_the_rates_are_compared(capsys: pytest.CaptureFixture[str], data: bytes | None) -> None:
    runs = archived(heard_runs.run(1, BEFORE), (heard_runs.run(2, AFTER)[0], data))

    record = compared(capsys, runs[0].id, runs[1].id)

    assert record["sets"] == []
    assert record["difference_pp"] == pytest.approx(28.57, abs=0.01)
    assert record["notes"][-1].startswith(f"no words are compared: {runs[1].id}: utterances.json: ")
    assert "| test | 28.57 % | 57.14 % | +28.57 pp | |" in output(
        capsys, "compare", runs[0].id, runs[1].id, "--markdown"
    )


def test_a_failed_or_unknown_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    runs = two()
    lost = heard_runs.run(3, AFTER)[0]._replace(status="failed", failure="timeout", hyper=None)
    [failed] = archived((lost, None))

    assert "failed (timeout): nothing to compare" in refusal(capsys, "compare", runs[0].id, failed.id)
    assert "no run 'abc'" in refusal(capsys, "compare", "abc", runs[0].id)


def test_what_is_kept_and_what_is_not_give_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    runs = two()
    before = compared(capsys, runs[0].id, runs[1].id)
    assert cli.main(["build"]) == 0

    assert settings.load().places.measured.is_dir()
    assert compared(capsys, runs[0].id, runs[1].id) == before


def test_show_has_the_figures_and_the_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    runs = two()
    line = "WER 57.14 % (95 % by speaker: 0.00 to "
    assert line in output(capsys, "show", runs[1].id)
    assert cli.main(["build"]) == 0
    text = output(capsys, "show", runs[1].id)

    assert line in text
    assert "4 errors in 7 words: 2 substitutions, 1 deletions, 1 insertions; CER " in text
    assert f"test: 57.14 %, +28.57 pp against {runs[0].merge.sha[:8]}" in text


def test_the_merges_between_come_from_the_repository(tracked: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    assert tick() == 0
    tracked.merge("one", {"wer": "wer=0.4\n"})
    tip = tracked.merge("two", {"wer": "wer=0.3\n"})
    assert tick("run", "--sha", tip) == 0
    places = settings.load().places
    for name in archive.names(places.runs)[1:-1]:
        shutil.rmtree(places.runs / name)  # the archive lacks a merge

    record = compared(capsys, archive.names(places.runs)[0], tip[:12])

    assert [merge["sha"] for merge in record["merges"]][-1] == tip
    assert len(record["merges"]) == 2


def test_long_utterances_are_broken_into_blocks() -> None:
    pairs = [[f"word{n}", f"word{n}" if n % 9 else None] for n in range(60)]
    lines = list(alignment.rows(pairs, [*pairs, [None, "end"]]))

    assert len(lines) % 3 == 0
    assert len(lines) > 3
    assert max(map(len, lines)) <= 110
    assert lines[-1].endswith("[end]")
