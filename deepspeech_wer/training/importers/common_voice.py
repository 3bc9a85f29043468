"""Importer `common_voice`: Mozilla Common Voice, sentences that volunteers read in more than a hundred languages, CC0.

The archive of a language is given out after its terms are accepted, so it has no fixed address: unpack it to
`ds_dataset_path`, put it there, or name it by `ds_common_voice_archive` where `ds_mirror_url` has it. In it lie
RELEASE/LANGUAGE/{train,dev,test}.tsv and clips/*.mp3. Its sets are used as published; `ds_alphabet` has to have the
letters of the language.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from ...errors import Trouble, UsageTrouble
from ...files import PARTIAL
from ..corpus import SETS, Corpus, Utterance
from ..parameters import Parameters
from ..text import Alphabet
from .tools.directories import directory_of
from .tools.download import RemoteFile
from .tools.transcripts import spoken
from .tools.unpack import obtain

COLUMNS = ("client_id", "path", "sentence")


def load(parameters: Parameters) -> Corpus:
    """The published sets of the one language that lies in `ds_dataset_path`."""
    root = _language(parameters)
    sets = {kind: tuple(_read(root / f"{kind}.tsv", parameters.alphabet)) for kind in SETS}
    return Corpus("common_voice", **sets, tolerant=True)


def _language(parameters: Parameters) -> Path:
    place = directory_of(parameters)
    found = _languages(place) or _languages(obtain(*_archive(parameters, place)))
    if len(found) != 1:
        several = ", ".join(str(path) for path in found) or "none"
        raise UsageTrouble(
            f"ds_dataset_path={str(place)!r}: expected train.tsv and clips of one language of Common Voice: {several}"
        )
    return found[0]


def _languages(place: Path) -> list[Path]:
    """The directories of languages, at most three levels down."""
    tables = (path for depth in ("", "*/", "*/*/", "*/*/*/") for path in place.glob(f"{depth}train.tsv"))
    whole = (path for path in tables if not any(part.endswith(PARTIAL) for part in path.relative_to(place).parts))
    return sorted(path.parent for path in whole if (path.parent / "clips").is_dir())


def _archive(parameters: Parameters, place: Path) -> tuple[RemoteFile, Path, str]:
    """The archive that is named, or lies there: what it is, where it goes, where it comes from."""
    name, mirror = parameters.common_voice_archive, parameters.mirror_url
    if name and mirror:
        return RemoteFile(name), place, mirror
    lying = sorted(place.glob("*.tar.gz"))
    if len(lying) != 1:
        raise UsageTrouble(
            f"{place}: expected the archive of one language of Common Voice, from https://commonvoice.mozilla.org/, or "
            "what is in it; or set ds_common_voice_archive to its name and ds_mirror_url to where it is"
        )
    return RemoteFile(lying[0].name), place, str(place)


def _read(table: Path, alphabet: Alphabet) -> Iterator[Utterance]:
    try:
        with table.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise Trouble(f"{table}: no column {', '.join(missing)}: expected a table of Common Voice")
            for row in reader:
                yield _utterance(table, reader.line_num, row, alphabet)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Trouble(f"{table}: cannot be read as a table of Common Voice: {error}") from error


def _utterance(table: Path, line: int, row: dict[str, str | None], alphabet: Alphabet) -> Utterance:
    speaker, name, sentence = (row[column] for column in COLUMNS)
    if not speaker or not name or sentence is None or "/" in name:
        raise Trouble(
            f"{table}:{line}: expected client_id, path and sentence, found {speaker!r}, {name!r}, {sentence!r}"
        )
    clip = table.parent / "clips" / (name if name.endswith(".mp3") else f"{name}.mp3")
    return Utterance(clip.stem, clip, spoken(sentence, alphabet), speaker[:16])  # of 128 hex digits
