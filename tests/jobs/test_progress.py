"""How far a running job has come: what jobs write, and what they should not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from deepspeech_wer.jobs import progress
from deepspeech_wer.jobs.progress import Progress
from deepspeech_wer.jobs.work import Work


@pytest.fixture
def work(tmp_path: Path) -> Work:
    found = Work(tmp_path / "work")
    found.logs.mkdir(parents=True)
    return found


def history(work: Work, *epochs: object, name: str = "x") -> Path:
    (work.logs / name).mkdir(exist_ok=True)
    path = work.logs / name / "history.json"
    path.write_text(json.dumps({"version": 1, "epochs": epochs}))
    return path


def test_a_job_that_wrote_nothing_says_nothing(work: Work) -> None:
    assert progress.read(work) == Progress()


def test_the_shipped_training_says_where_it_is(work: Work) -> None:
    work.out_log.write_text(
        "2026-01-01T00:00:10Z epoch 1/14, train loss 66.7348, validation loss 41.6203, 1.7 CPU-s\n"
        "2026-01-01T00:00:30Z epoch 2/14, train loss 38.8056, train WER 12.00%, validation loss 36.89, 0.7 CPU-s\n"
        "2026-01-01T00:00:31Z WER: 0.75, loss: 6.1\n"
    )
    assert progress.read(work) == Progress(2, 14, 38.8056, 36.89, "2026-01-01T00:04:30Z", "WER: 0.75, loss: 6.1")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Epoch 3 of 10: loss 1.5e-1", (3, 10, 0.15)),
        ("[epoch 3] loss=2.5", (3, None, 2.5)),
        ("Epoch: 3/10 training_loss: 4", (3, 10, 4.0)),
        ("epochs are counted from 0", (None, None, None)),
    ],
)
def test_other_jobs_count_epochs_too(
    work: Work, line: str, expected: tuple[int | None, int | None, float | None]
) -> None:
    work.out_log.write_text(f"2026-01-01T00:00:10Z {line}\n")
    found = progress.read(work)
    assert (found.epoch, found.epochs, found.train_loss) == expected
    assert found.ends_at is None  # one epoch, which may have begun at any time, says nothing of the others
    assert found.last_line == line


def test_a_resumed_training_is_extrapolated_from_its_own_epochs(work: Work) -> None:
    lines = [f"2026-01-01T00:{minute:02}:00Z epoch {epoch}/10" for minute, epoch in ((0, 6), (1, 7), (2, 8))]
    work.out_log.write_text("\n".join(lines))
    assert progress.read(work).ends_at == "2026-01-01T00:04:00Z"


def test_a_clock_that_was_set_back_gives_no_end_before_now(work: Work) -> None:
    work.out_log.write_text("2026-01-01T00:05:00Z epoch 1/9\n2026-01-01T00:01:00Z epoch 2/9\n")
    assert progress.read(work).ends_at == "2026-01-01T00:01:00Z"


def test_the_newest_history_counts(work: Work) -> None:
    os.utime(history(work, {"epoch": 9, "train_loss": 9.0}, name="old"), (1, 1))
    history(work, {"epoch": 1}, {"epoch": 2, "train_loss": 0.5, "validation_loss": None})
    assert progress.read(work) == Progress(epoch=2, train_loss=0.5)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"epochs": []}', '{"epochs": 3}', '{"epochs": [3]}', '{"epochs": [{"epoch": "3"}]}', "[" * 5000],
)
def test_a_damaged_history_says_nothing(work: Work, text: str) -> None:
    (work.logs / "history.json").write_text(text)
    assert progress.read(work) == Progress()


def test_a_number_that_is_none_is_not_shown(work: Work) -> None:
    (work.logs / "history.json").write_text(
        '{"epochs": [{"epoch": true, "train_loss": NaN, "validation_loss": 1e999}]}'
    )
    assert progress.read(work) == Progress()


def test_links_and_pipes_are_not_read(work: Work, tmp_path: Path) -> None:
    secret = history(work, {"epoch": 7}).rename(tmp_path / "secret.json")
    (work.logs / "x" / "history.json").symlink_to(secret)
    (work.logs / "y").mkdir()
    os.mkfifo(work.logs / "y" / "history.json")
    os.mkfifo(work.out_log)
    assert progress.read(work) == Progress()
    work.out_log.unlink()
    (tmp_path / "lines").write_text("2026-01-01T00:00:10Z epoch 1/2\n")
    work.out_log.symlink_to(tmp_path / "lines")
    assert progress.read(work) == Progress()


def test_of_a_long_log_the_end_counts(work: Work) -> None:
    work.out_log.write_text("2026-01-01T00:00:10Z epoch 1/2\n" + "x" * 400_000 + "\n2026-01-01T00:00:11Z end\n")
    assert progress.read(work) == Progress(last_line="end")
