"""Importer `common_voice`: Mozilla Common Voice, sentences that volunteers read in more than a hundred languages, CC0.

A language's archive can be downloaded only after accepting its terms, so it has no fixed address. Put it into
`ds_dataset_path`, packed or unpacked, or name it in `ds_common_voice_archive` if it is at `ds_mirror_url`. It contains
RELEASE/LANGUAGE/{train,dev,test}.tsv and clips/*.mp3. The sets are used as published; `ds_alphabet` must list the
letters of the language.

Two other layouts are read: the release of 2017 (cv-valid-{train,dev,test}.csv and recordings beside them, without
speakers), and Spontaneous Speech (one ss-corpus-LANGUAGE.tsv and audios/*.mp3), whose rows name their set.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import Trouble, UsageTrouble
from ...files import PARTIAL
from ..corpus import SETS, Corpus, Misshapen, Utterance, sorted_sets
from ..csv_rows import read_rows
from ..parameters import Parameters
from ..text import Alphabet
from .tools.directories import directory_of
from .tools.download import RemoteFile
from .tools.lines import numbered_lines
from .tools.transcripts import spoken
from .tools.unpack import obtain, was_obtained

COLUMNS = ("client_id", "path", "sentence")
FIRST_RELEASE = {kind: f"cv-valid-{kind}.csv" for kind in SETS}
SPONTANEOUS, SPONTANEOUS_COLUMNS = "ss-corpus-*.tsv", ("client_id", "audio_file", "transcription", "split")


def load(parameters: Parameters) -> Corpus:
    """Load the published sets of the one language in `ds_dataset_path`."""
    root = _language(parameters)
    if (root / FIRST_RELEASE["train"]).is_file():
        named = {kind: root / name for kind, name in FIRST_RELEASE.items()}
        old = {kind: (_read_first(table, parameters.alphabet), table) for kind, table in named.items()}
        return sorted_sets("common_voice", old, tolerant=True)
    if spontaneous := sorted(root.glob(SPONTANEOUS)):
        [table] = spontaneous
        parts = {kind: (_read_spontaneous(table, kind, parameters.alphabet), f"{table} ({kind})") for kind in SETS}
        return sorted_sets("common_voice", parts, tolerant=True)
    tables = {kind: root / f"{kind}.tsv" for kind in SETS}
    sets = {kind: (_read(table, parameters.alphabet), table) for kind, table in tables.items()}
    return sorted_sets("common_voice", sets, tolerant=True)


def _language(parameters: Parameters) -> Path:
    place = directory_of(parameters)
    archive = _archive(parameters, place)
    if archive and (was_obtained(archive[0], place) or not _languages(place)):
        found = _languages(obtain(*archive))
    else:
        found = _languages(place)
    if not archive and not found:
        raise UsageTrouble(
            f"{place}: expected the archive of one language of Common Voice, from https://commonvoice.mozilla.org/, or "
            "what is in it; or set ds_common_voice_archive to its name and ds_mirror_url to where it is"
        )
    if len(found) != 1:
        several = ", ".join(str(path) for path in found) or "none"
        raise UsageTrouble(
            f"ds_dataset_path={str(place)!r}: expected one language of Common Voice (train.tsv and clips, or "
            f"cv-valid-train.csv of 2017, or {SPONTANEOUS} and audios): {several}"
        )
    return found[0]


def _languages(place: Path) -> list[Path]:
    """Return the directories of languages, at most three levels down."""
    depths = ("", "*/", "*/*/", "*/*/*/")
    beside = {"train.tsv": "clips", FIRST_RELEASE["train"]: ".", SPONTANEOUS: "audios"}
    found = {
        table.parent
        for name, recordings in beside.items()
        for depth in depths
        for table in place.glob(f"{depth}{name}")
        if (table.parent / recordings).is_dir()
        and not any(part.endswith(PARTIAL) for part in table.relative_to(place).parts)
    }
    return sorted(found)


def _archive(parameters: Parameters, place: Path) -> tuple[RemoteFile, Path, str] | None:
    """Return `obtain`'s arguments for the archive that is named, or is in the directory; None if there is none."""
    name, mirror = parameters.common_voice_archive, parameters.mirror_url
    if name and mirror:
        return RemoteFile(name), place, mirror
    archives = list(place.glob("*.tar.gz"))
    return (RemoteFile(archives[0].name), place, str(place)) if len(archives) == 1 else None


def _read_first(table: Path, alphabet: Alphabet) -> Iterator[Utterance | Misshapen]:
    """Yield the utterances of a table of 2017; its `filename` is relative to the table, or to the set's directory."""
    for row in read_rows(table, ("filename", "text")):
        if isinstance(row, Misshapen):
            yield row
            continue
        line, fields = row
        name = fields["filename"]
        clip = next((one for one in (table.parent / name, table.with_suffix("") / name) if one.is_file()), None)
        if not name or ".." in name.split("/") or clip is None:
            yield Misshapen(f"{table}:{line}", f"expected a recording {name!r} in {table.parent}")
        else:
            yield Utterance(name.removesuffix(clip.suffix), clip, spoken(fields["text"], alphabet))


def _read_spontaneous(table: Path, kind: str, alphabet: Alphabet) -> Iterator[Utterance | Misshapen]:
    """Yield the utterances of one set that have a transcription."""
    waiting = 0
    for number, row in _rows(table, SPONTANEOUS_COLUMNS, "a table of Common Voice Spontaneous Speech"):
        if isinstance(row, Misshapen):
            if kind == SETS[0]:  # which set it is of is not known: it counts once
                yield row
            continue
        if row["split"] != kind:
            continue
        speaker, name, sentence = (row[column] for column in SPONTANEOUS_COLUMNS[:3])
        if not sentence.strip():
            waiting += 1
        elif not speaker or not name or "/" in name:
            yield Misshapen(f"{table}:{number}", f"expected client_id and audio_file, found {speaker!r}, {name!r}")
        else:
            clip = table.parent / "audios" / name
            yield Utterance(clip.stem, clip, spoken(sentence, alphabet), speaker[:16])
    if waiting:
        print(
            f"{table}: {waiting} recordings of {kind} without a transcription are not used", file=sys.stderr, flush=True
        )


def _read(table: Path, alphabet: Alphabet) -> Iterator[Utterance | Misshapen]:
    """Yield the utterances of a table. It knows no quotes, so a line break in a sentence makes two rows of one."""
    for number, row in _rows(table, COLUMNS, "a table of Common Voice"):
        yield row if isinstance(row, Misshapen) else _utterance(table, number, row, alphabet)


def _rows(table: Path, columns: Sequence[str], expected: str) -> Iterator[tuple[int, dict[str, str] | Misshapen]]:
    """Yield (number of the line, its fields by column). Raises Trouble for a missing column."""
    lines = numbered_lines(table)
    names = next(lines, (1, ""))[1].split("\t")
    missing = [column for column in columns if column not in names]
    if missing:
        raise Trouble(f"{table}: no column {', '.join(missing)}: expected {expected}")
    for number, line in lines:
        fields = line.split("\t")
        if len(fields) != len(names):
            why = f"{len(fields)} columns: expected {len(names)}, as in the header"
            yield number, Misshapen(f"{table}:{number}", why)
        else:
            yield number, dict(zip(names, fields, strict=True))


def _utterance(table: Path, line: int, row: dict[str, str], alphabet: Alphabet) -> Utterance | Misshapen:
    speaker, name, sentence = (row[column] for column in COLUMNS)
    if not speaker or not name or "/" in name:
        found = f"found {speaker!r}, {name!r}, {sentence!r}"
        return Misshapen(f"{table}:{line}", f"expected client_id, path and sentence, {found}")
    clip = table.parent / "clips" / (name if name.endswith(".mp3") else f"{name}.mp3")
    return Utterance(clip.stem, clip, spoken(sentence, alphabet), speaker[:16])  # of 128 hex digits
