"""Importer `csv`: a directory with train.csv, dev.csv and test.csv, the tables DeepSpeech has used since 2016.

The columns are `wav_filename,wav_filesize,transcript` and, optionally, `speaker`. File names are relative to the table;
wav and flac are read. The size, by which other programs sort, is ignored. Semicolons and tabs do as well as commas.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from unicodedata import normalize

from ...errors import UsageTrouble
from ..corpus import SETS, Corpus, Misshapen, Utterance, sort_out, sorted_sets
from ..csv_rows import names_recording, read_rows, without_recording
from ..parameters import Parameters

REQUIRED = ("wav_filename", "transcript")


def load(parameters: Parameters) -> Corpus:
    """Load the corpus in `ds_dataset_path`, with the tables of `ds_test_sets`. Raises UsageTrouble if it is not set."""
    if parameters.dataset_path is None:
        raise UsageTrouble("ds_dataset_path is not set: expected, for importer csv, the directory of train.csv")
    directory = parameters.dataset_path
    return read_tables("csv", {name: directory / f"{name}.csv" for name in (*SETS, *parameters.test_set_names)})


def read_tables(name: str, tables: Mapping[str, Path]) -> Corpus:
    """Read the table of each set. Raises Trouble for a missing table, column or audio file."""
    return sorted_sets(name, {kind: (_rows(table), table) for kind, table in tables.items()})


def read_table(table: Path) -> tuple[Utterance, ...]:
    """Return the utterances of a table, in its order; see `read_tables`."""
    return sort_out(_rows(table), table)[0]


def _rows(table: Path) -> Iterator[Utterance | Misshapen]:
    directory = table.parent
    before = ""
    for row in read_rows(table, REQUIRED):
        if isinstance(row, Misshapen):
            yield row
            continue
        line, fields = row
        name, transcript = fields["wav_filename"], fields["transcript"]
        audio = _audio(directory, name)
        if audio is None:
            yield _without_audio(f"{table}:{line}", fields, directory / name, before)
            continue
        before = name
        yield Utterance(name, audio, transcript, fields.get("speaker") or None, where=f"{table}:{line}")


def _audio(directory: Path, name: str) -> Path | None:
    """Return the recording of a name: as it is written, or as another system writes it.

    Blanks around it, the separators of Windows, and accents that macOS keeps apart from their letters make no other.
    """
    if os.path.isfile(audio := directory / name):  # noqa: PTH113  # Path.is_file takes half a second more of 100,000
        return audio
    plain = name.strip()
    forms = [normalize(form, one) for one in (plain, plain.replace("\\", "/")) for form in ("NFC", "NFD")]
    return next((path for form in forms if (path := directory / form).is_file()), None)


def _without_audio(where: str, fields: dict[str, str], audio: Path, before: str) -> Misshapen:
    name = fields["wav_filename"]
    if names_recording([name], before):
        return Misshapen(where, f"no audio file {audio}: expected the path relative to the table", is_refused=True)
    why = f"no audio file {audio}" if name else "a row without wav_filename or transcript"
    return without_recording(where, why, fields, REQUIRED)
