"""Large records: the page gets a part of each, and building it takes little memory."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import archive_record, cli, hyper
from deepspeech_wer.dashboard import build, kept, large
from deepspeech_wer.records import Run, as_json
from tests import invented_runs
from tests.conftest import Repository
from tests.invented_runs import PROJECT, done
from tests.test_automation import JOB, tick, wers
from tests.test_automation import tracked as tracked  # the fixture

MOST_MB = 250  # a build of the same took 700 MB and more

BUILD = r"""
import re, sys
from pathlib import Path
from deepspeech_wer import dashboard
from deepspeech_wer.dashboard import kept
from tests.invented_runs import PROJECT
root = Path(sys.argv[1])
loaded = kept.load(root / "runs", root / "kept")
dashboard.build(loaded.runs, root / "site", project=PROJECT, line=loaded.line, whole=loaded.whole)
# not ru_maxrss, which begins with the peak of the process that started this one
print(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
"""


def archived(root: Path, ordinal: int, **sections: Any) -> Run:
    """Archive a run whose record has more in some sections."""
    run = done(ordinal, 0.25)
    assert run.hyper
    for name, more in sections.items():
        run.hyper.setdefault(name, {}).update(more)
    [run] = invented_runs.archive([run], root / "runs")
    (run.directory / "hyper.json").write_text(json.dumps(run.hyper))
    fields = {key: value for key, value in as_json(run).items() if key not in ("id", "root", "hyper")}
    (run.directory / "run.json").write_text(json.dumps({"version": 1, "base": None, **fields}))
    return run


LARGE: dict[str, dict[str, Any]] = {
    "a list": {"results": {"curve": list(range(100_000))}},
    "a text": {"parameters": {"note": "x" * 100_000}},
    "many values": {"parameters": {f"p{n}": n for n in range(10_000)}},
    "a nested record": {"context": {"host": {"files": {f"f{n}": {"size": n} for n in range(10_000)}}}},
    "another section": {"more": {"curve": list(range(100_000))}},
}


@pytest.mark.parametrize("kind", LARGE)
def test_the_page_gets_a_part_with_a_note_and_the_file_is_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    run = archived(tmp_path, 1, **LARGE[kind])
    whole = (run.directory / "hyper.json").read_bytes()
    site = tmp_path / "site"
    for _ in range(2):
        with caplog.at_level(logging.WARNING):
            loaded = kept.load(tmp_path / "runs", tmp_path / "kept")
            build(loaded.runs, site, project=PROJECT, line=loaded.line, whole=loaded.whole)
    assert [record.getMessage() for record in caplog.records] == [
        f"{run.id}: hyper.json has {len(whole)} bytes: the page shows a part of it, since it takes at most "
        f"{large.MAX_BYTES} of each; the file is whole"
    ]
    assert len((site / "js" / "hyper.js").read_bytes()) < 3 * large.PART_BYTES
    assert len((site / "runs" / f"{run.id}.js").read_bytes()) < 4 * large.PART_BYTES
    assert (site / "runs" / run.id / "hyper.json").read_bytes() == whole
    assert (run.directory / "hyper.json").read_bytes() == whole
    [line] = (site / "js" / "hyper.js").read_text().splitlines()[1:2]
    record = json.loads(line)
    assert record["results"]["test_wer"] == hyper.test_wer(run.hyper)
    assert record["parameters"]["learning_rate"] == 0.001
    assert record["context"]["time_started"]
    assert record["results"]["left_out"].endswith("too large or too many for this page: see hyper.json")
    page = json.loads((site / "runs" / f"{run.id}.js").read_text()[len("wer.run(") : -3])
    assert ["left_out", record["results"]["left_out"]] in page["results"]
    assert archive_record.read(run.directory).hyper == json.loads(whole)


def test_the_rates_are_kept_though_others_come_first(tmp_path: Path) -> None:
    run = archived(tmp_path, 1)
    record = json.loads((run.directory / "hyper.json").read_text())
    results = {**{f"r{n}": n for n in range(10_000)}, **record["results"]}
    (run.directory / "hyper.json").write_text(json.dumps({**record, "results": results}))
    [shown] = kept.load(tmp_path / "runs", tmp_path / "kept").runs
    assert shown.hyper
    assert [hyper.wer(shown.hyper, name) for name in hyper.WERS] == [results[name] for name in hyper.WERS]


def test_a_record_of_usual_size_is_shown_whole(tmp_path: Path) -> None:
    run = archived(tmp_path, 1, results={"curve": list(range(5_000))})
    assert large.reduced(run) is run
    loaded = kept.load(tmp_path / "runs", tmp_path / "kept")
    assert b"left_out" not in loaded.line(loaded.runs[0])


@pytest.mark.parametrize("kind", ["list", "keys", "text"])
def test_many_large_records_take_little_memory(tmp_path: Path, kind: str) -> None:
    more: dict[str, Any] = {"text": "x" * 8_000_000}
    if kind == "list":
        more = {"curve": list(range(1000, 1_001_000))}
    elif kind == "keys":
        more = {f"p{number}": number for number in range(200_000)}
    run = archived(tmp_path, 1, results=more)
    text = (run.directory / "hyper.json").read_bytes()
    for ordinal in range(2, 31 if kind == "text" else 11):
        (archived(tmp_path, ordinal).directory / "hyper.json").write_bytes(text)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert int(done.stdout) < MOST_MB * 1024
    assert done.stderr.count("the page shows a part of it") in (0, 10, 30)


def test_a_tick_archives_a_large_record_whole(tracked: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    job = JOB.replace('"parameters":{"n":1}', '"parameters":{"n":1,"text":"%s"}').replace(
        '"$wer" >', '"$(head -c 200000 /dev/zero | tr \'\\0\' x)" "$wer" >'
    )
    tracked.commit("large", {"bin/run-wer-automation.sh": job})
    assert tick() == 0
    assert wers() == [0.5]
    assert capsys.readouterr().err.count("the page shows a part of it") == 1
    capsys.readouterr()
    assert cli.main(["build"]) == 0
    assert "the page shows a part of it" not in capsys.readouterr().err
    assert cli.main(["runs"]) == 0
    assert "50.00 %" in capsys.readouterr().out
