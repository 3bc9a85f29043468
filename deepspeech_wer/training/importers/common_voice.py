"""Importer `common_voice`: Mozilla Common Voice, sentences that volunteers read in more than a hundred languages, CC0.

A language's archive can be downloaded only after accepting its terms, so it has no fixed address. Put it into
`ds_dataset_path`, packed or unpacked, or name it in `ds_common_voice_archive` if it is at `ds_mirror_url`. It contains
RELEASE/LANGUAGE/{train,dev,test}.tsv and clips/*.mp3. The sets are used as published; `ds_alphabet` must list the
letters of the language.

Two other layouts are read: the release of 2017 (cv-valid-{train,dev,test}.csv and recordings beside them, without
speakers), and Spontaneous Speech (one ss-corpus-LANGUAGE.tsv and audios/*.mp3), whose rows name their set.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import Trouble, UsageTrouble
from ...files import PARTIAL
from ..corpus import SETS, Corpus, Misshapen, Utterance, sorted_sets, uncut
from ..csv_rows import NO_TEXT, NO_UTF_8, misshapen, names_recording, read_rows
from ..parameters import Parameters
from ..text import Alphabet
from .tools.directories import directory_of
from .tools.download import RECORD, RemoteFile
from .tools.lines import numbered_lines
from .tools.transcripts import spoken
from .tools.unpack import SUFFIXES, obtain, stem, was_obtained

COLUMNS = ("client_id", "path", "sentence")
FIRST_RELEASE = {kind: f"cv-valid-{kind}.csv" for kind in SETS}
SPONTANEOUS, SPONTANEOUS_COLUMNS = "ss-corpus-*.tsv", ("client_id", "audio_file", "transcription", "split")
SPEAKER = re.compile("[0-9a-f]{64}(?:[0-9a-f]{64})?")
ROW_END = rf"\r(?={SPEAKER.pattern}\t)"
TAG = re.compile(r"\[([^][]*)\]")  # [laugh], [disfluency], [noise]
UNINTELLIGIBLE = {"unclear", "inaudible", "unintelligible"}

Row = tuple[int, dict[str, str]]  # number of the line, fields by column


def load(parameters: Parameters) -> Corpus:
    """Load the published sets of the one language in `ds_dataset_path`."""
    root = _language(parameters)
    if (root / FIRST_RELEASE["train"]).is_file():
        named = {kind: root / name for kind, name in FIRST_RELEASE.items()}
        old = {kind: (_read_first(table, parameters.alphabet), table) for kind, table in named.items()}
        return sorted_sets("common_voice", old, tolerant=True)
    if spontaneous := sorted(root.glob(SPONTANEOUS)):
        [table] = spontaneous
        rows = list(uncut(_rows(table, SPONTANEOUS_COLUMNS, "a table of Common Voice Spontaneous Speech")))
        _tell_without_split(table, rows)
        parts = {kind: (_spontaneous(table, rows, kind, parameters.alphabet), f"{table} ({kind})") for kind in SETS}
        return sorted_sets("common_voice", parts, tolerant=True)
    tables = {kind: root / f"{kind}.tsv" for kind in SETS}
    sets = {kind: (_read(table, parameters.alphabet), table) for kind, table in tables.items()}
    return sorted_sets("common_voice", sets, tolerant=True)


def _language(parameters: Parameters) -> Path:
    place = directory_of(parameters)
    _refuse_another_release(place, parameters.common_voice_archive)
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
    if name and (mirror or (place / name).is_file()):
        return RemoteFile(name), place, mirror or str(place)
    archives = _archives(place)
    if len(archives) > 1 and not _languages(place):
        raise UsageTrouble(
            f"{place}: expected one archive, found {', '.join(archives)}: name one in ds_common_voice_archive"
        )
    return (RemoteFile(archives[0]), place, str(place)) if len(archives) == 1 else None


def _archives(place: Path) -> list[str]:
    return sorted(path.name for path in place.glob("[!.]*.t*") if path.name.endswith(SUFFIXES) and path.is_file())


def _refuse_another_release(place: Path, name: str | None) -> None:
    """Raise UsageTrouble where an archive, `name` if given, is wanted beside what another one was unpacked to."""
    obtained = {stem(record.name.removesuffix(RECORD)) for record in place.glob(f"*{RECORD}")}
    old = sorted({top for one in _languages(place) for top in one.relative_to(place).parts[:1] if top in obtained})
    wanted = [name] if name else _archives(place)
    new = [one for one in wanted if not was_obtained(RemoteFile(one), place)]
    if old and new:
        raise UsageTrouble(
            f"{place}: expected one release, found {old[0]}, unpacked, and the archive {new[0]}: to train on the new "
            f"one, move {old[0]} away (a new test set, whose rates do not compare with the old ones); to go on with "
            "the old one, move the archive away"
        )


def _read_first(table: Path, alphabet: Alphabet) -> Iterator[Utterance | Misshapen]:
    """Yield the utterances of a table of 2017; its `filename` is relative to the table, or to the set's directory."""
    required = ("filename", "text")
    for row in read_rows(table, required):
        if isinstance(row, Misshapen):
            yield row
            continue
        line, fields = row
        name = fields["filename"]
        clip = next((one for one in (table.parent / name, table.with_suffix("") / name) if one.is_file()), None)
        if not name or ".." in name.split("/") or clip is None:
            why = f"expected a recording {name!r} in {table.parent}"
            yield misshapen(f"{table}:{line}", why, list(fields), required, is_part=not names_recording([name]))
        else:
            sentence = spoken(fields["text"], alphabet)
            yield Utterance(name.removesuffix(clip.suffix), clip, sentence, where=f"{table}:{line}")


def _spontaneous(
    table: Path, rows: Sequence[Row | Misshapen], kind: str, alphabet: Alphabet
) -> Iterator[Utterance | Misshapen]:
    """Yield the utterances of one set that have a transcription, without the tags in it."""
    unused: Counter[str] = Counter()
    for row in rows:
        if isinstance(row, Misshapen) or _split(row) not in ("", *SETS):
            if kind == SETS[0]:  # which set it is of is not known: it counts once
                yield row if isinstance(row, Misshapen) else _of_no_set(table, row)
            continue
        if _split(row) != kind:
            continue
        number, fields = row
        speaker, name, sentence = (fields[column] for column in SPONTANEOUS_COLUMNS[:3])
        if not sentence.strip():
            unused["without a transcription"] += 1
        elif UNINTELLIGIBLE.intersection(tag.strip().lower() for tag in TAG.findall(sentence)):
            unused["with an unintelligible word"] += 1
        elif not speaker or not name or "/" in name:
            yield Misshapen(f"{table}:{number}", f"expected client_id and audio_file, found {speaker!r}, {name!r}")
        else:
            clip = table.parent / "audios" / name
            said = spoken(TAG.sub(" ", sentence), alphabet)
            yield Utterance(clip.stem, clip, said, speaker[:16], where=f"{table}:{number}")
    for why, count in unused.items():
        print(f"{table}: recordings of {kind} {why}, which are not used: {count}", file=sys.stderr, flush=True)


def _split(row: Row) -> str:
    return row[1]["split"].strip().lower()


def _of_no_set(table: Path, row: Row) -> Misshapen:
    return Misshapen(f"{table}:{row[0]}", f"split {row[1]['split']!r}: expected one of {', '.join(SETS)}, or nothing")


def _tell_without_split(table: Path, rows: Sequence[Row | Misshapen]) -> None:
    """Tell how many recordings are of no set: those that nobody has validated yet."""
    if count := sum(not isinstance(row, Misshapen) and not _split(row) for row in rows):
        print(f"{table}: recordings of no set, which are not used: {count}", file=sys.stderr, flush=True)


def _read(table: Path, alphabet: Alphabet) -> Iterator[Utterance | Misshapen]:
    """Yield the utterances of a table. It knows no quotes, so a line break in a sentence makes two rows of one."""
    for row in _rows(table, COLUMNS, "a table of Common Voice"):
        yield row if isinstance(row, Misshapen) else _utterance(table, *row, alphabet)


def _rows(table: Path, columns: Sequence[str], expected: str) -> Iterator[Row | Misshapen]:
    """Yield (number of the line, its fields by column). Raises Trouble for a missing column."""
    lines = numbered_lines(table, ROW_END)
    names = next(lines, (1, ""))[1].split("\t")
    missing = [column for column in columns if column not in names]
    if missing:
        raise Trouble(f"{table}: no column {', '.join(missing)}: expected {expected}")
    required = columns[1:3]  # the recording and its transcript
    # Between others, each part of a transcript lacks columns: sentences hold no tabs.
    is_outermost = required[-1] in (names[0], names[-1])
    for number, line in lines:
        fields = line.split("\t")
        if len(fields) != len(names):
            why = f"{len(fields)} columns: expected {len(names)}, as in the header"
            is_part = is_outermost and not names_recording(fields) and not any(map(SPEAKER.fullmatch, fields))
            yield misshapen(f"{table}:{number}", why, names, required, is_part=is_part)
            continue
        row = dict(zip(names, fields, strict=True))
        if any(NO_TEXT.search(row[column]) for column in columns):
            yield Misshapen(f"{table}:{number}", f"{row[required[-1]]!r}: {NO_UTF_8}")
        else:
            yield number, row


def _utterance(table: Path, line: int, row: dict[str, str], alphabet: Alphabet) -> Utterance | Misshapen:
    speaker, name, sentence = (row[column] for column in COLUMNS)
    if not speaker or not name or "/" in name:
        found = f"found {speaker!r}, {name!r}, {sentence!r}"
        return Misshapen(f"{table}:{line}", f"expected client_id, path and sentence, {found}")
    clip = table.parent / "clips" / (name if name.endswith(".mp3") else f"{name}.mp3")
    where = f"{table}:{line}"
    return Utterance(clip.stem, clip, spoken(sentence, alphabet), speaker[:16], where=where)  # of 128 hex digits
