"""Importer `csv`: a directory with train.csv, dev.csv and test.csv, the tables DeepSpeech has used since 2016.

The columns are `wav_filename,wav_filesize,transcript` and, optionally, `speaker`. File names are relative to the table;
wav and flac are read. The size, by which other programs sort, is ignored.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import Trouble, UsageTrouble
from ..corpus import SETS, Corpus, Utterance
from ..csv_rows import Row, read_rows
from ..parameters import Parameters

REQUIRED = ("wav_filename", "transcript")


def load(parameters: Parameters) -> Corpus:
    """Load the corpus in `ds_dataset_path`. Raises UsageTrouble if that is not set."""
    if parameters.dataset_path is None:
        raise UsageTrouble("ds_dataset_path is not set: expected, for importer csv, the directory of train.csv")
    directory = parameters.dataset_path
    return Corpus("csv", *(read_table(directory / f"{name}.csv") for name in SETS))


def read_table(table: Path) -> tuple[Utterance, ...]:
    """Read the utterances of a table, in its order. Raises Trouble for a missing table, column or audio file."""
    utterances = tuple(_utterance(table, line, row) for line, row in read_rows(table, REQUIRED))
    if not utterances:
        raise Trouble(f"{table}: holds no utterance: expected at least one row under the header")
    _refuse_duplicates(table, utterances)
    return utterances


def _utterance(table: Path, line: int, row: Row) -> Utterance:
    name, transcript = row["wav_filename"], row["transcript"]
    if not name or transcript is None:
        raise Trouble(f"{table}:{line}: a row without wav_filename or transcript: {row}")
    audio = table.parent / name
    if not audio.is_file():
        raise Trouble(f"{table}:{line}: no audio file {audio}: expected the path relative to the table")
    return Utterance(name, audio, transcript, row.get("speaker") or None)


def _refuse_duplicates(table: Path, utterances: tuple[Utterance, ...]) -> None:
    seen: set[str] = set()
    for utterance in utterances:
        if utterance.id in seen:
            raise Trouble(f"{table}: {utterance.id} is listed twice: expected every wav_filename once")
        seen.add(utterance.id)
