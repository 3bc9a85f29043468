"""Invented archives for the tests of the page: a year of merges, and hostile runs."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from deepspeech_wer.dashboard import Project
from deepspeech_wer.records import Merge, Run

PROJECT = Project("DeepSpeech", "https://github.com/mozilla/DeepSpeech", "master", "2024-03-01T12:00:00Z")
EPOCH = datetime(2023, 3, 1, 9, 30, tzinfo=UTC)
WORDS = 52_576  # of LibriSpeech test-clean
SUBJECTS = (
    "Merge pull request #{n} from reuben/decoder-beam",
    "Merge pull request #{n} from lissyx/fix-warnings",
    "Merge pull request #{n} from tilmankamp/importer-ted",
    "Merge pull request #{n} from kdavis-mozilla/learning-rate",
)


def iso(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def hyper_record(started: datetime, test: float | None, **parameters: Any) -> dict[str, Any]:
    """Return a record of 2016 with the test WER as a whole number of errors in WORDS words."""
    errors = None if test is None else round(test * WORDS)
    results: dict[str, Any] = {"duration": 3600, "test_wer": None, "last_validation_wer": None, "last_train_wer": None}
    if test is not None and errors is not None:
        counts = {"deletions": errors // 5, "insertions": errors // 7}
        counts |= {"substitutions": errors - sum(counts.values()), "words": WORDS, "utterances": 2620}
        results |= {"test_wer": errors / WORDS, "test_errors": counts}
        results |= {"last_validation_wer": round(test * 0.96, 5), "last_train_wer": round(test * 0.63, 5)}
    defaults = {"learning_rate": 0.001, "dropout_rate": 0.05, "train_batch_size": 16, "total_batches_train": 256}
    defaults |= {"n_hidden_1": 494, "n_hidden_2": 494, "epochs": 30, "data_set": {"name": "ted"}}
    return {
        "context": {"time_started": started.strftime("%Y-%m-%dT%H:%M:%S.%f"), "git_branch": "master"},
        "parameters": defaults | parameters,
        "results": results,
    }


def done(
    ordinal: int, test: float | None, *, started: datetime | None = None, subject: str = "", **parameters: Any
) -> Run:
    """Return a run in memory; `archive` gives it a directory."""
    started = started or EPOCH + timedelta(hours=9 * ordinal)
    sha = f"{random.Random(ordinal).getrandbits(160):040x}"
    text = subject or SUBJECTS[ordinal % 4].format(n=1000 + ordinal)
    merge = Merge(sha, ordinal, text, "Reuben Morais", iso(started - timedelta(minutes=20)), ("b" * 40, "c" * 40))
    record = hyper_record(started, test, **parameters)
    end = started + timedelta(hours=4, minutes=31)
    name = f"{started:%Y%m%d-%H%M%S}-{sha[:12]}"
    return Run(name, Path(), merge, "done", None, "", 1, iso(started), iso(end), "gpu-1", record)


def failed(ordinal: int, failure: str = "timeout", detail: str = "ended after 86400 s, as ds_job_timeout says") -> Run:
    return done(ordinal, None)._replace(status="failed", failure=failure, detail=detail, attempt=2, hyper=None)


def archive(runs: Sequence[Run], root: Path) -> list[Run]:
    """Write the runs as the archive does and return them with their directories."""
    return [_archived(run, root / run.id) for run in runs]


def _archived(run: Run, directory: Path) -> Run:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "run.json").write_text(json.dumps({"version": 1, "id": run.id}))
    (directory / "out.log").write_text("12:00:00 epoch 1\n12:00:09 epoch 2\n")
    (directory / "err.log").write_text("Killed\n" if run.status == "failed" else "")
    if run.hyper:
        (directory / "hyper.json").write_text(json.dumps(run.hyper, indent=2))
        rows = [{"epoch": n, "train_loss": 90 / n, "validation_wer": 0.9 / n, "seconds": 31.2} for n in range(1, 31)]
        (directory / "history.json").write_text(json.dumps({"version": 1, "epochs": rows}))
    return run._replace(root=directory.parent)


def years(count: int, *, failures: bool = True) -> list[Run]:
    """Return `count` merges: slow progress, three regressions, sweeps of one parameter, diverged and failed runs."""
    chance = random.Random(7)
    level, runs, started = 0.56, [], EPOCH
    for ordinal in range(1, count + 1):
        started += timedelta(seconds=chance.randrange(3_600, 60_000))
        level += 0.06 if ordinal in {count // 4, count // 2, count * 6 // 7} and count > 100 else -0.25 / count
        runs.append(_invented(ordinal, level, started, chance, failures=failures))
    return runs


def _invented(ordinal: int, level: float, started: datetime, chance: random.Random, *, failures: bool) -> Run:
    kind = chance.random()
    if failures and kind < 0.02:
        failure = chance.choice(["timeout", "exit 1", "signal 9", "no-hyper", "out-of-memory"])
        lost = done(ordinal, None, started=started)
        return lost._replace(status="failed", failure=failure, detail=f"ended with {failure}", hyper=None)
    wer, parameters = level + chance.gauss(0, 0.008), {}
    if kind > 0.9:
        name, value, effect = chance.choice(
            [
                ("learning_rate", 0.01, 0.05),
                ("learning_rate", 0.0001, -0.01),
                ("dropout_rate", 0.3, 0.02),
                ("dropout_rate", 0.5, 0.07),
                ("train_batch_size", 64, 0.03),
                ("epochs", 10, 0.06),
                ("epochs", 75, -0.02),
                ("n_hidden_1", 1024, -0.015),
            ]
        )
        parameters, wer = {name: value} | _dragged(name, value), wer + effect
    if kind > 0.998:
        wer = 1.3
    return done(ordinal, wer, started=started, **parameters)


def _dragged(name: str, value: Any) -> dict[str, Any]:
    """Return parameters that depend on others."""
    if name == "train_batch_size":
        return {"total_batches_train": 4096 // value}
    return {"n_hidden_2": value} if name == "n_hidden_1" else {}
